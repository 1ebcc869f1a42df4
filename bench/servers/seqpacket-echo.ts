// Echo of seqpacket connections by SeqpacketSocket, at an abstract name: it leaves no file behind.
//
// usage: seqpacket-echo.ts BACKEND onmessages|await
import { IOLoop, SeqpacketServer, type SeqpacketSocket } from 'ioloop';

const [backend, mode] = process.argv.slice(2);
const loop = new IOLoop({ backend });
const name = `ioloop-bench-${process.pid}`;

const modes = new Map<string | undefined, (socket: SeqpacketSocket) => void | Promise<void>>([
  ['onmessages', replyToEach],
  ['await', awaitEach],
]);

function replyToEach(socket: SeqpacketSocket): void {
  socket.onMessages((batch) => {
    for (let i = 0; i < batch.length; i++) batch.reply(i, batch.data(i));
  });
}

async function awaitEach(socket: SeqpacketSocket): Promise<void> {
  // Nobody waits for a send: each leaves at once, or waits in the send queue, which has its limit.
  for await (const { data } of socket) void socket.send(data);
}

const handler = modes.get(mode);
if (handler === undefined) throw new TypeError(`no mode '${mode}'; there are ${[...modes.keys()]}`);
const server = new SeqpacketServer(handler, { loop });
await server.listen(`\0${name}`);
console.log(`@${name}`);
process.once('SIGTERM', () => process.exit(0));
