/**
 * Four threads that serve one byte each on one port, in a process that runs out of descriptors. A line
 * on standard input is answered with what they have open and have dropped.
 */
import { createInterface } from 'node:readline';
import { isMainThread, Worker, workerData } from 'node:worker_threads';

import { Interest, IOLoop } from '../../src/index.ts';
import { addon, closeStream, send } from '../../src/native.ts';
import { bindSockets } from '../../src/net/bind-sockets.ts';
import { Listener } from '../../src/net/listener.ts';
import { leaveDescriptors } from '../support/scarcity.ts';

const OPEN = 0;
const DROPPED = 1;
const LISTENING = 2;

// A thread does not inherit what lets Node read TypeScript.
const THREAD = `
  import('tsx/esm/api').then(({ register }) => {
    register();
    return import(${JSON.stringify(import.meta.url)});
  });
`;

async function serve(backend: string, port: number, counts: Int32Array): Promise<void> {
  const loop = new IOLoop({ backend });
  const [fd = -1] = await bindSockets(port, '127.0.0.1', { reusePort: true });
  new Listener(loop, fd, {
    hasRoom: () => true,
    onConnection(accepted) {
      Atomics.add(counts, OPEN, 1);
      send(accepted, Buffer.from('+'));
      const onEnd = (): void => {
        loop.removeHandler(accepted);
        closeStream(accepted);
        Atomics.sub(counts, OPEN, 1);
      };
      loop.addHandler(accepted, onEnd, Interest.READ);
    },
    onDrop: () => Atomics.add(counts, DROPPED, 1),
    onError: (error) => {
      throw error;
    },
  });
  Atomics.add(counts, LISTENING, 1);
}

async function startThreads(backend: string): Promise<void> {
  const counts = new Int32Array(new SharedArrayBuffer(12));
  // Bound, it keeps the port; nobody accepts here, so it is closed before the first client comes.
  const [fd = -1] = await bindSockets(0, '127.0.0.1', { reusePort: true });
  const address = addon().socketAddress(fd);
  const port = 'port' in address ? address.port : 0;
  for (let thread = 0; thread < 4; thread++)
    new Worker(THREAD, { eval: true, execArgv: [], workerData: { backend, port, counts } });
  while (Atomics.load(counts, LISTENING) < 4) await new Promise((resolve) => setImmediate(resolve));
  closeStream(fd);
  leaveDescriptors(80);
  for await (const _ of createInterface(process.stdin))
    console.log(JSON.stringify({ port, open: counts[OPEN], dropped: counts[DROPPED] }));
  process.exit();
}

if (isMainThread) await startThreads(process.argv[2] ?? '');
else await serve(workerData.backend, workerData.port, workerData.counts);
