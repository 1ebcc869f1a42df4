import { once } from 'node:events';
import { writeSync } from 'node:fs';
import type { Worker } from 'node:worker_threads';
import * as assert from 'uvu/assert';

import { IOLoop, IOLoopError, Waker } from '../src/index.ts';
import { driven, signal } from './support/driven.ts';
import { startWorker } from './support/package.ts';
import { suite } from './support/suite.ts';
import { count } from './support/tier.ts';
import { neverCalled, passes } from './support/turns.ts';
import { within } from './support/within.ts';

/** Wakes `wakes` times, each time after one more was counted in the shared memory. */
const COUNT_AND_WAKE = `
  const { handle, memory, wakes } = workerData;
  const counter = new Int32Array(memory);
  const waker = ioloop.Waker.from(handle);
  let refused = 0;
  for (let i = 0; i < wakes; i++) {
    Atomics.add(counter, 0, 1);
    if (!waker.wake()) refused++;
  }
  parentPort.postMessage(refused);
`;

for (const drive of ['node', 'manual'] as const) {
  suite(`wakers with drive '${drive}'`, { drive, limitMs: count(60_000, 600_000) }, (test) => {
    test('many wakes from several threads are fewer calls, and none is lost', async ({ loop }) => {
      const memory = new SharedArrayBuffer(4);
      const counter = new Int32Array(memory);
      const wakes = count(20_000, 1_000_000);
      const threads = count(4, 8);
      const total = wakes * threads;
      const all = signal();
      let calls = 0;
      const waker = loop.createWaker(() => {
        calls++;
        // What was counted before a wake is seen by the call that follows it.
        if (Atomics.load(counter, 0) === total) all.fire();
      });
      const workers = Array.from({ length: threads }, () =>
        startWorker(COUNT_AND_WAKE, { workerData: { handle: waker.handle, memory, wakes } }),
      );
      const refused = workers.map((worker) => once(worker, 'message'));
      const ended = workers.map((worker) => once(worker, 'exit'));
      const last = Promise.race([all.promise, failure(workers)]);
      await driven(loop, last, 'the call after the last wake', count(30_000, 500_000));
      assert.equal((await Promise.all(refused)).flat(), Array(threads).fill(0));
      assert.ok(calls >= 1 && calls <= total, `${calls} calls`);
      await Promise.all(ended);
      waker.close();
    });

    test('wakes before a turn are one call, and the next wake is another', async ({ loop }) => {
      let next = signal();
      let calls = 0;
      const waker = loop.createWaker(() => {
        calls++;
        next.fire();
      });
      for (let round = 1; round <= 3; round++) {
        next = signal();
        // More than a pipe holds.
        for (let i = 0; i < 100_000; i++) assert.is(waker.wake(), true);
        await driven(loop, next.promise, `call ${round}`);
        await driven(loop, turn(loop), 'a further turn');
        assert.is(calls, round);
      }
      waker.close();
    });

    test('a wake from within its own callback is heard in the next turn', async ({ loop }) => {
      const turns: number[] = [];
      const { promise, fire } = signal();
      const waker = loop.createWaker(() => {
        if (turns.push(loop.metrics().turns) === 3) fire();
        else waker.wake();
      });
      waker.wake();
      await driven(loop, promise, 'the third call');
      assert.equal(
        turns.map((turn) => turn - (turns[0] ?? 0)),
        [0, 1, 2],
      );
      waker.close();
    });

    test('native code may wake by writing the integer 1 to its descriptor', async ({ loop }) => {
      const { promise, fire } = signal();
      const waker = loop.createWaker(fire);
      writeSync(waker.fd, new BigUint64Array([1n]));
      await driven(loop, promise, 'the call');
      waker.close();
    });
  });
}

suite('a waker that is gone', (test) => {
  test('says so, whoever wakes it', async ({ loop }) => {
    const waker = loop.createWaker(neverCalled);
    const remote = Waker.from(structuredClone(waker.handle));
    assert.is(remote.fd, waker.fd);
    waker.wake();
    waker.close();
    waker.close();
    await passes(3);
    assert.equal([waker.wake(), remote.wake(), Waker.from(waker.handle).fd], [false, false, -1]);
    waker.ref().unref();
  });

  test('went with its loop', async () => {
    const loop = new IOLoop({ current: false });
    const waker = loop.createWaker(neverCalled);
    const remote = Waker.from(waker.handle);
    await loop.close();
    assert.is(remote.wake(), false);
    assert.throws(
      () => loop.createWaker(neverCalled),
      (error: Error) => IOLoopError.is(error, 'ERR_IOLOOP_CLOSED'),
    );
  });

  test('does not lend its number to the next one', async ({ loop }) => {
    const first = loop.createWaker(neverCalled);
    first.close();
    const { promise, fire } = signal();
    const second = loop.createWaker(fire);
    assert.is.not(first.handle.wakerId, second.handle.wakerId);
    assert.is(first.wake(), false);
    second.wake();
    await within(5_000, promise, 'the call');
    second.close();
  });

  test('is no danger to a thread that wakes it while its loop closes', async () => {
    const memory = new SharedArrayBuffer(8);
    const words = new Int32Array(memory);
    // Wakes whatever waker the first word names, until the second says to end.
    const worker = startWorker(
      `
      const words = new Int32Array(workerData);
      let heard = 0;
      while (Atomics.load(words, 1) === 0) {
        const wakerId = Atomics.load(words, 0);
        if (wakerId !== 0 && ioloop.Waker.from({ wakerId }).wake()) heard++;
      }
      parentPort.postMessage(heard);
    `,
      { workerData: memory },
    );
    const heard = once(worker, 'message');
    const failed = failure([worker]);
    const cycles = count(60, 1_000);
    for (let cycle = 0; cycle < cycles; cycle++) {
      const loop = new IOLoop({ current: false });
      const { promise, fire } = signal();
      const waker = loop.createWaker(fire);
      Atomics.store(words, 0, waker.handle.wakerId);
      await within(10_000, Promise.race([promise, failed]), `the wake of cycle ${cycle}`);
      await within(5_000, loop.close(), 'the end of the loop');
    }
    Atomics.store(words, 1, 1);
    const [wakes] = await within(5_000, heard, 'the end of the thread');
    assert.ok(wakes >= cycles, `${wakes} wakes in ${cycles} cycles`);
    await worker.terminate();
  });
});

suite('Waker.from', (test) => {
  test('refuses what is no handle, by its name', () => {
    const bad = [
      null,
      undefined,
      7,
      'waker',
      {},
      { wakerId: 0 },
      { wakerId: -1 },
      { wakerId: 1.5 },
      { wakerId: 2 ** 32 },
      { wakerId: '1' },
    ];
    for (const handle of bad)
      assert.throws(
        // @ts-expect-error what only JavaScript can pass
        () => Waker.from(handle),
        (error: Error) =>
          IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT') && error.message.startsWith('handle'),
      );
  });

  test('takes a handle that names nobody: it wakes nothing', () => {
    const stranger = Waker.from({ wakerId: 0xffff_ffff });
    assert.equal([stranger.wake(), stranger.fd], [false, -1]);
    stranger.close();
  });

  test("only wakes: closing it leaves the maker's open", async ({ loop }) => {
    const { promise, fire } = signal();
    const waker = loop.createWaker(fire);
    Waker.from(waker.handle).close();
    assert.is(waker.wake(), true);
    await within(5_000, promise, 'the call');
    waker.close();
  });
});

/** Rejects when a thread fails, so that its error is told and not the silence after it. */
function failure(workers: readonly Worker[]): Promise<never> {
  return Promise.race(
    workers.map(async (worker) => {
      const [error] = await once(worker, 'error');
      throw error;
    }),
  );
}

function turn(loop: IOLoop): Promise<void> {
  return new Promise((resolve) => loop.addCallback(resolve));
}
