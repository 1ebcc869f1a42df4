// Echo of UDP datagrams on Bun.udpSocket. Run by Bun.
import type { BunRuntime } from './bun-runtime.ts';

declare const Bun: BunRuntime;

const socket = await Bun.udpSocket({
  hostname: '127.0.0.1',
  port: 0,
  socket: {
    data(socket, data, port, address) {
      // What the kernel has no room for is lost, as a datagram may be.
      socket.send(data, port, address);
    },
  },
});
console.log(socket.port);
