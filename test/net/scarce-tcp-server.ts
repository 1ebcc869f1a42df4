/**
 * A TCP server that greets, in a process that runs out of descriptors: in one thread, or with a second
 * argument in as many threads as it says. It obeys lines on its standard input and answers each with
 * a line of JSON.
 */
import { closeSync, openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { isMainThread, Worker, workerData } from 'node:worker_threads';

import { IOLoop, TCPServer } from '../../src/index.ts';
import { listenSocket, socketAddress } from '../../src/raw.ts';
import { leaveDescriptors } from '../support/scarcity.ts';

/** What the threads count together. */
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

function makeServer(loop: IOLoop, counts: Int32Array): TCPServer {
  return new TCPServer(
    (stream) => {
      Atomics.add(counts, OPEN, 1);
      stream.onClose(() => Atomics.sub(counts, OPEN, 1));
      void stream.write('+');
    },
    { loop, onDrop: () => Atomics.add(counts, DROPPED, 1) },
  );
}

async function startThreads(
  backend: string,
  threads: number,
  port: number,
  counts: Int32Array,
): Promise<void> {
  for (let thread = 0; thread < threads; thread++)
    new Worker(THREAD, { eval: true, execArgv: [], workerData: { backend, port, counts } });
  while (Atomics.load(counts, LISTENING) < threads) await delay(1);
}

async function obey(backend: string, threads: number): Promise<void> {
  const counts = new Int32Array(new SharedArrayBuffer(12));
  const loop = new IOLoop({ backend });
  const server = makeServer(loop, counts);
  const hoard: number[] = [];
  const fd = listenSocket({ host: '127.0.0.1', port: 0, reusePort: true });
  const address = socketAddress(fd);
  const port = 'port' in address ? address.port : 0;
  if (threads > 0) {
    await startThreads(backend, threads, port, counts);
    // Nobody accepts here.
    closeSync(fd);
  }
  leaveDescriptors(40 + 10 * threads);
  const commands: Record<string, () => unknown> = {
    listen: () => server.listenFd(fd),
    // Opens files until there are no descriptors left.
    hoard: () => {
      try {
        for (;;) hoard.push(openSync('/dev/null', 'r'));
      } catch {
        return hoard.length;
      }
    },
    free: () => {
      for (const held of hoard.splice(0, 8)) closeSync(held);
    },
    // The turns of a while in which nobody asks for any.
    turns: async () => {
      const before = loop.metrics().turns;
      await delay(500);
      return loop.metrics().turns - before;
    },
    report: () => {
      const shed = loop.metrics().acceptsShed;
      return { open: counts[OPEN], dropped: counts[DROPPED], shed, errors: [], port };
    },
  };
  for await (const line of createInterface(process.stdin))
    console.log(JSON.stringify((await commands[line]?.()) ?? null));
  process.exit();
}

if (isMainThread) {
  const [backend = '', threads = '0'] = process.argv.slice(2);
  await obey(backend, Number(threads));
} else {
  const { backend, port, counts } = workerData;
  await makeServer(new IOLoop({ backend }), counts).listen(port, '127.0.0.1', { reusePort: true });
  Atomics.add(counts, LISTENING, 1);
}
