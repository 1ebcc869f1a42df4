// Echo on Bun.listen. Run by Bun.
import type { BunRuntime, BunSocket } from './bun-runtime.ts';

declare const Bun: BunRuntime;

const nothing = new Uint8Array(0);

/** Bun does not queue what the kernel did not take: it is kept here until `drain`. */
function echo(socket: BunSocket<Uint8Array>, data: Uint8Array): void {
  const sent = socket.write(data);
  if (sent < 0 || sent === data.length) return;
  const rest = data.slice(sent);
  const kept = new Uint8Array(socket.data.length + rest.length);
  kept.set(socket.data);
  kept.set(rest, socket.data.length);
  socket.data = kept;
  socket.pause();
}

const server = Bun.listen<Uint8Array>({
  hostname: '127.0.0.1',
  port: 0,
  socket: {
    open(socket) {
      socket.data = nothing;
    },
    data: echo,
    drain(socket) {
      const rest = socket.data;
      if (rest.length === 0) return;
      socket.data = nothing;
      echo(socket, rest);
      if (socket.data.length === 0) socket.resume();
    },
    error() {},
  },
});
console.log(server.port);
