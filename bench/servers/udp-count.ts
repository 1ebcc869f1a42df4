// Counts UDP datagrams by DatagramSocket; one of less than 16 bytes asks how many there were.
//
// usage: udp-count.ts BACKEND onmessages|await
import { DatagramSocket, IOLoop } from 'ioloop';

const leastSize = 16;
const [backend, mode] = process.argv.slice(2);
const loop = new IOLoop({ backend });
const socket = new DatagramSocket({ type: 'udp4', loop });
let datagrams = 0;
let bytes = 0;

const modes = new Map<string | undefined, () => void>([
  ['onmessages', countBatches],
  ['await', () => void awaitEach()],
]);

function count(data: Buffer): void {
  datagrams++;
  bytes += data.length;
}

const tell = (question: Buffer): string => `${question} ${datagrams} ${bytes}`;

function countBatches(): void {
  socket.onMessages((batch) => {
    for (let i = 0; i < batch.length; i++) {
      const data = batch.data(i);
      if (data.length < leastSize) batch.reply(i, tell(data));
      else count(data);
    }
  });
}

async function awaitEach(): Promise<void> {
  for await (const { data, port, address } of socket) {
    if (data.length < leastSize) void socket.send(tell(data), port, address);
    else count(data);
  }
}

const serve = modes.get(mode);
if (serve === undefined) throw new TypeError(`no mode '${mode}'; there are ${[...modes.keys()]}`);
const { port } = await socket.bind(0, '127.0.0.1');
serve();
console.log(port);
process.once('SIGTERM', () => process.exit(0));
