// Echo of UDP datagrams by DatagramSocket.
//
// usage: udp-echo.ts BACKEND onmessages|sendmany|await
import { DatagramSocket, IOLoop } from 'ioloop';

const [backend, mode] = process.argv.slice(2);
const loop = new IOLoop({ backend });
const socket = new DatagramSocket({ type: 'udp4', loop });

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
  for await (const { data, port, address } of socket) void socket.send(data, port, address);
}

const serve = modes.get(mode);
if (serve === undefined) throw new TypeError(`no mode '${mode}'; there are ${[...modes.keys()]}`);
const { port } = await socket.bind(0, '127.0.0.1');
serve();
console.log(port);
process.once('SIGTERM', () => process.exit(0));
