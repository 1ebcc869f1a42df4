// Lines on Node's own net, split by hand: each is sent back by a write of its own, those of one chunk
// corked together.
import { createServer } from 'node:net';

const lineFeed = 0x0a;

const server = createServer({ noDelay: true }, (socket) => {
  /** What has come of a line without its end. Only new chunks are searched. */
  let begun: Buffer[] = [];
  socket.on('data', (chunk) => {
    let start = 0;
    let taken = true;
    socket.cork();
    for (let end = chunk.indexOf(lineFeed); end >= 0; end = chunk.indexOf(lineFeed, start)) {
      const rest = chunk.subarray(start, end + 1);
      taken = socket.write(begun.length === 0 ? rest : Buffer.concat([...begun, rest]));
      begun = [];
      start = end + 1;
    }
    socket.uncork();
    if (start < chunk.length) begun.push(chunk.subarray(start));
    if (!taken) {
      socket.pause();
      socket.once('drain', () => socket.resume());
    }
  });
  socket.on('error', () => socket.destroy());
});

server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') console.log(address.port);
});
process.once('SIGTERM', () => process.exit(0));
