// Lines by IOStream, each awaited and sent back by a write of its own.
//
// usage: stream-lines.ts BACKEND [MAX_BYTES]
//
// MAX_BYTES of a line, with a read buffer of that size; without it the limits are ioloop's own.
import { IOLoop, type StreamHandler, TCPServer } from 'ioloop';

const [backend, maxText] = process.argv.slice(2);
const loop = new IOLoop({ backend });
const maxBytes = maxText === undefined ? undefined : Number(maxText);
const limit = maxBytes === undefined ? undefined : { maxBytes };

const answerLines: StreamHandler = async (stream) => {
  for (;;) {
    const line = await stream.readUntil('\n', limit);
    // Nobody waits for it: the writes of a turn leave together, and the write queue has its limit.
    void stream.write(line);
  }
};

const server = new TCPServer(answerLines, { loop, maxBufferSize: maxBytes });
const { port } = await server.listen(0, '127.0.0.1');
console.log(port);
process.once('SIGTERM', () => process.exit(0));
