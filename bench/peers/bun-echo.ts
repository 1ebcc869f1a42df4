// Echo on Bun.listen. Run by Bun; types of what is used of it, so that it is checked with the rest.
interface BunSocket {
  data: Uint8Array;
  /** Bytes taken; -1 when the socket is closed. */
  write(data: Uint8Array): number;
  pause(): void;
  resume(): void;
}
interface BunHandlers {
  open(socket: BunSocket): void;
  data(socket: BunSocket, data: Uint8Array): void;
  drain(socket: BunSocket): void;
  error(socket: BunSocket, error: Error): void;
}
declare const Bun: {
  listen(options: { hostname: string; port: number; socket: BunHandlers }): { readonly port: number };
};

const nothing = new Uint8Array(0);

/** Bun does not queue what the kernel did not take: it is kept here until `drain`. */
function echo(socket: BunSocket, data: Uint8Array): void {
  const sent = socket.write(data);
  if (sent < 0 || sent === data.length) return;
  const rest = data.slice(sent);
  const kept = new Uint8Array(socket.data.length + rest.length);
  kept.set(socket.data);
  kept.set(rest, socket.data.length);
  socket.data = kept;
  socket.pause();
}

const server = Bun.listen({
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

export {};
