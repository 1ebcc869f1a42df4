import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';
import * as assert from 'uvu/assert';

import { newFds, openFds } from '../support/fds.ts';
import { startWorker } from '../support/package.ts';
import { suite } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { within } from '../support/within.ts';

const CYCLES = count(10, 500);

/** What a thread is doing when it is ended. */
const OCCUPATIONS: Readonly<Record<string, string>> = {
  'waits for datagrams': `
    socket.onMessages(() => {});
    parentPort.postMessage('ready');`,
  'is answering them': `
    socket.onMessages((batch) => {
      void socket.sendMany(batch);
      for (let i = 0; i < batch.length; i++) batch.reply(i, batch.data(i));
      if (batch.length > 1) parentPort.postMessage('ready');
    });
    await socket.send('x', socket.local.port);`,
  'iterates, and sends': `
    const iterate = async () => {
      for await (const { data } of socket) {
        await socket.sendMany([{ data, port }, { data, port }]);
        parentPort.postMessage('ready');
      }
    };
    const { port } = socket.local;
    void iterate();
    await socket.send('x', port);`,
  'opens and closes sockets': `
    for (let i = 0; ; i++) {
      const short = new DatagramSocket({ type: 'udp6', loop });
      await short.bind(0, '::1');
      short.onMessages(() => {});
      await short.send('x', short.local.port);
      await short.close();
      if (i === 3) parentPort.postMessage('ready');
    }`,
};

/** A thread with a bound socket, which says 'ready' when it is at it. */
function start(occupation: string): Worker {
  return startWorker(`(async () => {
    const { DatagramSocket, IOLoop } = ioloop;
    const loop = new IOLoop();
    const socket = new DatagramSocket({ type: 'udp4', loop, onError: () => {} });
    await socket.bind(0, '127.0.0.1');
    ${occupation}
  })();`);
}

suite('a thread with UDP sockets', { limitMs: count(60_000, 1_800_000) }, (test) => {
  for (const [what, occupation] of Object.entries(OCCUPATIONS)) {
    test(`leaves no descriptor when it is ended while it ${what}`, async () => {
      const cycle = async (): Promise<void> => {
        const worker = start(occupation);
        await within(20_000, once(worker, 'message'), 'the thread');
        await within(20_000, worker.terminate(), 'its end');
      };
      // What Node opens for its first thread stays.
      await cycle();
      const before = openFds();
      for (let i = 0; i < CYCLES; i++) await cycle();
      assert.equal(newFds(before, openFds()), []);
    });
  }
});
