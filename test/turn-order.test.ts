import { pbkdf2 } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';

import { IOLoop, type TimerHandle } from '../src/index.ts';
import { driven, onEmptyStack, signal } from './support/driven.ts';
import { Sockets } from './support/sockets.ts';
import { suite } from './support/suite.ts';
import { neverCalled, passes } from './support/turns.ts';
import { within } from './support/within.ts';

for (const drive of ['node', 'manual'] as const) {
  suite(`a turn with drive '${drive}'`, { drive }, (test) => {
    test('is timers, handlers, callbacks; then ticks, then microtasks', async ({ loop, defer }) => {
      const fd = new Sockets(defer).ended();
      const order: string[] = [];
      const { promise, fire } = signal();
      const note = (name: string): void => {
        order.push(name);
        process.nextTick(() => order.push(`${name}: tick`));
        void Promise.resolve().then(() => order.push(`${name}: microtask`));
      };
      loop.addCallback(() => {
        note('callback');
        fire();
      });
      loop.addHandler(
        fd,
        () => {
          loop.removeHandler(fd);
          note('handler');
        },
        1,
      );
      loop.callLater(0, () => note('timer'));
      await driven(loop, promise, 'the turn');
      await passes(1);
      const names = ['timer', 'handler', 'callback'];
      assert.equal(order, [
        ...names,
        ...names.map((name) => `${name}: tick`),
        ...names.map((name) => `${name}: microtask`),
      ]);
    });

    test('is over before what its callbacks asked for: the next turn, an immediate', async ({ loop }) => {
      const order: string[] = [];
      const { promise, fire } = signal();
      loop.addCallback(async () => {
        const turn = loop.metrics().turns;
        loop.addCallback(() => {
          order.push(`callback ${loop.metrics().turns - turn}`);
          fire();
        });
        setImmediate(() => order.push('immediate'));
        for (let i = 0; i < 20; i++) await null;
        order.push(`continuation ${loop.metrics().turns - turn}`);
      });
      await driven(loop, promise, 'the second callback');
      assert.is(order[0], 'continuation 0', 'an await resumes in the same turn');
      assert.ok(order.includes('callback 1'));
    });

    for (const phase of ['timer', 'handler', 'waker'] as const)
      test(`leaves the callbacks that a ${phase} asks for to the next, and each runs once`, async ({
        loop,
        defer,
      }) => {
        const fd = new Sockets(defer).ended();
        const turns: number[] = [];
        const { promise, fire } = signal();
        const ask = (): void => {
          loop.removeHandler(fd);
          const asked = loop.metrics().turns;
          const note = (): void => {
            turns.push(loop.metrics().turns - asked);
          };
          loop.addCallback(() => {
            note();
            loop.addCallback(note);
          });
          loop.addCallback(note);
          loop.callLater(10, fire);
        };
        if (phase === 'timer') loop.callLater(0, ask);
        if (phase === 'handler') loop.addHandler(fd, ask, 1);
        const waker = loop.createWaker(ask);
        if (phase === 'waker') waker.wake();
        await driven(loop, promise, 'what came after them');
        waker.close();
        assert.equal(turns, [1, 1, 2]);
      });

    test('settles after its microtasks: a promise that is done by then pauses nothing', async ({
      loop,
      defer,
    }) => {
      const fd = new Sockets(defer).ended();
      let calls = 0;
      const { promise, fire } = signal();
      const before = loop.metrics().systemCalls;
      loop.addHandler(
        fd,
        async () => {
          for (let i = 0; i < 10; i++) await null;
          if (++calls === 10) fire();
        },
        1,
      );
      await driven(loop, promise, 'ten calls');
      const { systemCalls, turns } = loop.metrics();
      loop.removeHandler(fd);
      // One to watch it, one a turn to wait; a pause would be two more for each call.
      assert.ok(systemCalls - before <= turns + 5, `${systemCalls - before} system calls in ${turns} turns`);
    });
  });
}

suite('callbacks asked for outside of a turn', (test) => {
  test('run at once, also when nothing else happens', async ({ loop }) => {
    const order: string[] = [];
    const { promise, fire } = signal();
    await onEmptyStack(() => {
      loop.addCallback(() => {
        order.push('callback');
        fire();
      });
      process.nextTick(() => order.push('tick'));
      void Promise.resolve().then(() => order.push('microtask'));
    });
    await within(5_000, promise, 'the callback');
    assert.equal(order, ['tick', 'microtask', 'callback']);
  });

  test('and what a callback and its continuations change costs one system call', async ({ loop }) => {
    await passes(2);
    const before = loop.metrics().systemCalls;
    const timers = await new Promise<TimerHandle[]>((resolve) => {
      setImmediate(async () => {
        const made: TimerHandle[] = [];
        for (let i = 0; i < 5; i++) {
          made.push(loop.callLater(1e6 - i, neverCalled));
          await null;
        }
        resolve(made);
      });
    });
    await passes(2);
    assert.is(loop.metrics().systemCalls - before, 1, 'the earliest deadline was armed once');
    for (const timer of timers) timer.cancel();
  });

  for (const where of ['tick', 'microtask', 'immediate', 'timer'] as const)
    test(`from a ${where}, too`, async () => {
      const loop = new IOLoop({ current: false });
      const { promise, fire } = signal();
      const ask = (): void => loop.addCallback(fire);
      if (where === 'tick') process.nextTick(ask);
      else if (where === 'microtask') queueMicrotask(ask);
      else if (where === 'immediate') setImmediate(ask);
      else setTimeout(ask, 1);
      await within(5_000, promise, 'the callback');
      await loop.close();
    });
});

suite("long work in Node's thread pool and a busy loop", (test) => {
  test('leave each other turns', async ({ loop, defer }) => {
    const fd = new Sockets(defer).ended();
    let events = 0;
    loop.addHandler(fd, () => void events++, 1);
    const turns: number[] = [];
    const begin = loop.metrics().turns;
    const work = Array.from(
      { length: 8 },
      () =>
        new Promise<void>((resolve, reject) => {
          pbkdf2('secret', 'salt', 20_000, 64, 'sha512', (error) => {
            turns.push(loop.metrics().turns - begin);
            if (error === null) resolve();
            else reject(error);
          });
        }),
    );
    const file = readFile(fileURLToPath(import.meta.url)).then((bytes) => assert.ok(bytes.length > 0));
    await within(10_000, Promise.all([...work, file]), 'the work');
    loop.removeHandler(fd);
    // The first to be done may be told in the very pass of Node's loop that has the first turn, before it.
    assert.ok((turns.at(-1) ?? 0) > 0, 'the loop turned while the pool worked');
    assert.ok(events > 0);
  });

  test('a computation in one turn delays the others, and loses nothing', async ({ loop }) => {
    const order: string[] = [];
    const { promise, fire } = signal();
    setTimeout(() => order.push("Node's timer"), 1);
    loop.callLater(1, () => {
      order.push('our timer');
    });
    loop.addCallback(() => {
      const end = loop.time() + 30;
      while (loop.time() < end);
      setTimeout(fire, 1);
    });
    await within(5_000, promise, 'what came after it');
    await new Promise<void>((resolve) => loop.addCallback(resolve));
    assert.equal(order.toSorted(), ["Node's timer", 'our timer']);
  });
});
