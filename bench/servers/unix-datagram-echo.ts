// Echo of Unix datagrams by UnixDatagramSocket, at an abstract name: it leaves no file behind.
//
// usage: unix-datagram-echo.ts BACKEND onmessages|sendmany|await
import { IOLoop, UnixDatagramSocket } from 'ioloop';

const [backend, mode] = process.argv.slice(2);
const loop = new IOLoop({ backend });
const socket = new UnixDatagramSocket({ loop });
const name = `ioloop-bench-${process.pid}`;

const modes = new Map<string | undefined, () => void>([
  ['onmessages', replyToEach],
  ['sendmany', sendBatchesBack],
  ['await', () => void awaitEach()],
]);

function replyToEach(): void {
  socket.onMessages((batch) => {
    for (let i = 0; i < batch.length; i++) batch.reply(i, batch.data(i));
  });
}

function sendBatchesBack(): void {
  socket.onMessages((batch) => void socket.sendMany(batch));
}

async function awaitEach(): Promise<void> {
  // Nobody waits for a send: each leaves at once, or waits in the send queue, which has its limit.
  for await (const { data, path } of socket) void socket.send(data, path);
}

const serve = modes.get(mode);
if (serve === undefined) throw new TypeError(`no mode '${mode}'; there are ${[...modes.keys()]}`);
await socket.bind(`\0${name}`);
serve();
console.log(`@${name}`);
process.once('SIGTERM', () => process.exit(0));
