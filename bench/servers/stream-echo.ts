// Echo by IOStream: what most servers on ioloop look like.
//
// usage: stream-echo.ts BACKEND ondata|await
import { IOLoop, type StreamHandler, TCPServer } from 'ioloop';

const [backend, mode] = process.argv.slice(2);
const loop = new IOLoop({ backend });

/** Each chunk as it comes; the promise of a full write queue pauses the stream. */
const pushed: StreamHandler = (stream) => {
  stream.onData((chunk) => stream.write(chunk));
};

/** The same in a loop of its own, which ends with the stream. */
const pulled: StreamHandler = async (stream) => {
  for (;;) void stream.write(await stream.readBytes(65_536, { partial: true }));
};

const handlers = new Map([
  ['ondata', pushed],
  ['await', pulled],
]);
const handler = handlers.get(mode ?? '');
if (handler === undefined) throw new TypeError(`no mode '${mode}'; there are ${[...handlers.keys()]}`);

const server = new TCPServer(handler, { loop });
const { port } = await server.listen(0, '127.0.0.1');
console.log(port);
process.once('SIGTERM', () => process.exit(0));
