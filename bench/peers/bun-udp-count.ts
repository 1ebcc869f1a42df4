// Counts UDP datagrams on Bun.udpSocket; one of less than 16 bytes asks how many there were. Run by Bun.
import type { BunRuntime } from './bun-runtime.ts';

declare const Bun: BunRuntime;

const leastSize = 16;
let datagrams = 0;
let bytes = 0;

const socket = await Bun.udpSocket({
  hostname: '127.0.0.1',
  port: 0,
  socket: {
    data(socket, data, port, address) {
      if (data.length < leastSize) {
        socket.send(`${data} ${datagrams} ${bytes}`, port, address);
        return;
      }
      datagrams++;
      bytes += data.length;
    },
  },
});
console.log(socket.port);
