// Lines on Bun.listen, split by hand: each is put into a sink, and those of one chunk are sent
// together, as Bun's manual says for many small writes. Run by Bun.
import type { BunRuntime, BunSocket } from './bun-runtime.ts';

declare const Bun: BunRuntime;

interface Connection {
  /** What has come of a line without its end. Only new chunks are searched. */
  begun: Uint8Array[];
  /** Bytes that the kernel did not take, until `drain`. */
  unsent: Uint8Array;
}

const lineFeed = 0x0a;
const nothing = new Uint8Array(0);
const sink = new Bun.ArrayBufferSink();
sink.start({ asUint8Array: true, stream: true });

function answerLines(socket: BunSocket<Connection>, data: Uint8Array): void {
  const { begun } = socket.data;
  let start = 0;
  for (let end = data.indexOf(lineFeed); end >= 0; end = data.indexOf(lineFeed, start)) {
    for (const part of begun.splice(0)) sink.write(part);
    sink.write(data.subarray(start, end + 1));
    start = end + 1;
  }
  if (start < data.length) begun.push(data.slice(start));
  if (start > 0) send(socket, sink.flush());
}

/** Nothing more is read until the peer has taken this: `unsent` is one answer at most. */
function send(socket: BunSocket<Connection>, data: Uint8Array): void {
  const sent = socket.write(data);
  if (sent < 0 || sent === data.length) return;
  socket.data.unsent = data.slice(sent);
  socket.pause();
}

const server = Bun.listen<Connection>({
  hostname: '127.0.0.1',
  port: 0,
  socket: {
    open(socket) {
      socket.data = { begun: [], unsent: nothing };
    },
    data: answerLines,
    drain(socket) {
      const { unsent } = socket.data;
      if (unsent.length === 0) return;
      socket.data.unsent = nothing;
      send(socket, unsent);
      if (socket.data.unsent.length === 0) socket.resume();
    },
    error() {},
  },
});
console.log(server.port);
