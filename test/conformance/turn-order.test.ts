import * as assert from 'uvu/assert';

import { Interest, IOLoop } from '../../src/index.ts';
import { drain, poke, Sockets } from '../support/sockets.ts';
import { suite } from '../support/suite.ts';
import { nextTurn, passes, turnsIn } from '../support/turns.ts';
import { within } from '../support/within.ts';

for (const backend of IOLoop.backends) {
  suite(`one turn on ${backend}`, { backend }, (test) => {
    test('calls due timers, then ready handlers, then callbacks, then ticks and microtasks', async (context) => {
      const { loop, defer } = context;
      const fd = new Sockets(defer).ended();
      const order: string[] = [];
      const note = (what: string): void => {
        order.push(what);
        process.nextTick(() => order.push(`tick of ${what}`));
        queueMicrotask(() => order.push(`microtask of ${what}`));
      };
      loop.addCallback(note, 'callback');
      loop.addHandler(fd, () => void (loop.removeHandler(fd) && note('handler')), Interest.READ);
      loop.callLater(-1, note, 'timer');
      await passes(5);
      const kinds = ['timer', 'handler', 'callback'];
      assert.equal(order, [
        ...kinds,
        ...kinds.map((kind) => `tick of ${kind}`),
        ...kinds.map((kind) => `microtask of ${kind}`),
      ]);
    });

    test('goes on with what a handler awaited before the next turn begins', async ({ loop, defer }) => {
      const fd = new Sockets(defer).ended();
      const turns: number[] = [];
      const handler = async (): Promise<void> => {
        loop.removeHandler(fd);
        turns.push(loop.metrics().turns);
        for (let step = 0; step < 10; step++) await null;
        turns.push(loop.metrics().turns);
        await new Promise<void>((resolve) => process.nextTick(resolve));
        turns.push(loop.metrics().turns);
      };
      loop.addHandler(fd, handler, Interest.READ);
      await passes(5);
      assert.is(turns.length, 3);
      assert.is(new Set(turns).size, 1);
    });

    test('leaves the callbacks and timers made in it to the next', async ({ loop, defer }) => {
      const fd = new Sockets(defer).ended();
      const turnOf = new Map<string, number>();
      const note = (what: string): void => void turnOf.set(what, loop.metrics().turns);
      const make = (maker: string): void => {
        note(maker);
        loop.addCallback(note, `callback of ${maker}`);
        loop.callLater(0, note, `timer of ${maker}`);
        queueMicrotask(() => loop.addCallback(note, `late callback of ${maker}`));
      };
      const makers = ['timer', 'handler', 'callback'];
      loop.addCallback(make, 'callback');
      loop.callLater(0, make, 'timer');
      loop.addHandler(fd, () => void (loop.removeHandler(fd) && make('handler')), Interest.READ);
      await passes(10);
      assert.is(turnOf.size, 12);
      for (const maker of makers) {
        const made = turnOf.get(maker) ?? 0;
        for (const kind of ['callback', 'timer', 'late callback'])
          assert.is(turnOf.get(`${kind} of ${maker}`), made + 1, `${kind} of ${maker}`);
      }
    });

    test('calls callbacks in the order they were queued, with their arguments', async ({ loop }) => {
      const calls: unknown[][] = [];
      for (let index = 0; index < 100; index++)
        loop.addCallback((...args: unknown[]) => void calls.push(args), index, 'text', null);
      await nextTurn(loop);
      assert.equal(
        calls,
        Array.from({ length: 100 }, (_, index) => [index, 'text', null]),
      );
    });

    test('comes at once for what is queued outside of one, when nothing else happens', async ({ loop }) => {
      // From a timer, an immediate, a tick and a microtask of Node's; the limit is the only clock.
      const outsides: ((queue: () => void) => void)[] = [
        (queue) => void setTimeout(queue, 1),
        setImmediate,
        process.nextTick,
        queueMicrotask,
      ];
      for (const outside of outsides) {
        await passes(3);
        const called = new Promise<number>((resolve) => {
          outside(() => loop.addCallback(() => resolve(loop.metrics().turns)));
        });
        await within(5_000, called, 'the callback');
      }
      assert.ok((await turnsIn(100, loop)) <= 3);
    });

    test('comes at once for a timer made outside of one', async ({ loop }) => {
      for (const delayMs of [-1, 0, 0.01, 2]) {
        await passes(3);
        const begunMs = loop.time();
        const fired = new Promise<void>((resolve) => void loop.callLater(delayMs, resolve));
        await within(5_000, fired, 'the timer');
        assert.ok(loop.time() >= begunMs + delayMs);
      }
      assert.ok((await turnsIn(100, loop)) <= 3);
    });

    test('does not come while nothing happens', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const pairs = Array.from({ length: 50 }, () => sockets.pair());
      for (const [fd] of pairs) loop.addHandler(fd, () => void drain(fd), Interest.READ);
      const far = Array.from({ length: 50 }, () => loop.callLater(3_600_000, () => {}));
      assert.ok((await turnsIn(300, loop)) <= 3);
      poke(pairs[0]?.[1] ?? -1);
      assert.ok((await turnsIn(300, loop)) <= 2);
      for (const [fd] of pairs) loop.removeHandler(fd);
      for (const timer of far) timer.cancel();
    });
  });
}
