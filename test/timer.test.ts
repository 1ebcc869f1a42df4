import * as assert from 'uvu/assert';

import { IOLoop, IOLoopError, type TimerHandle } from '../src/index.ts';
import { driven, onEmptyStack, signal } from './support/driven.ts';
import { drain, poke, Sockets } from './support/sockets.ts';
import { suite } from './support/suite.ts';
import { neverCalled } from './support/turns.ts';
import { within } from './support/within.ts';

/** Timers that no test may see fire. */
const FAR_MS = 1e7;

for (const drive of ['node', 'manual'] as const) {
  suite(`timers with drive '${drive}'`, { drive }, (test) => {
    test('calls due together run in the order they were made', async ({ loop }) => {
      const whenMs = loop.time() + 3;
      const order: number[] = [];
      const { promise, fire } = signal();
      for (let i = 0; i < 500; i++) loop.callAt(whenMs, () => void order.push(i));
      loop.callAt(whenMs, fire);
      await driven(loop, promise, 'the last of them');
      assert.equal(
        order,
        Array.from({ length: 500 }, (_, i) => i),
      );
    });

    test('more timers than one turn takes all fire once, in their order', async ({ loop }) => {
      const whenMs = loop.time() + 1;
      const order: number[] = [];
      const { promise, fire } = signal();
      for (let i = 5_000; i > 0; i--) loop.callAt(whenMs - i * 1e-3, () => void order.push(i));
      loop.callAt(whenMs, fire);
      await driven(loop, promise, 'the last of them');
      assert.equal(
        order,
        Array.from({ length: 5_000 }, (_, i) => 5_000 - i),
      );
    });

    // The log of timer operations holds 1,024: this carries it out in the middle of a batch.
    test('a due timer may make and cancel thousands beside others that are due', async ({ loop }) => {
      const whenMs = loop.time() + 1;
      const order: number[] = [];
      const { promise, fire } = signal();
      loop.callAt(whenMs, () => {
        const made = Array.from({ length: 3_000 }, (_, i) => loop.callAt(whenMs, () => void order.push(i)));
        for (let i = 0; i < made.length; i += 2) made[i]?.cancel();
        for (const timer of due) timer.cancel();
        loop.callAt(whenMs, fire);
      });
      const due = Array.from({ length: 200 }, () => loop.callAt(whenMs, neverCalled));
      await driven(loop, promise, 'the last of them');
      assert.equal(
        order,
        Array.from({ length: 1_500 }, (_, i) => 2 * i + 1),
      );
    });

    test('no delay and a negative one mean the next turn, never the one under way', async ({ loop }) => {
      const turns: number[] = [];
      const { promise, fire } = signal<string[]>();
      loop.callLater(0, () => {
        const order: string[] = [];
        turns.push(loop.metrics().turns);
        for (const delayMs of [0, -0, -1, Number.NEGATIVE_INFINITY, Number.MIN_VALUE])
          loop.callLater(delayMs, () => {
            turns.push(loop.metrics().turns);
            if (order.push(String(delayMs)) === 5) fire(order);
          });
      });
      const order = await driven(loop, promise, 'all five');
      assert.ok(turns.slice(1).every((turn) => turn > (turns[0] ?? 0)));
      // A deadline is the clock's reading plus the delay; the shortest delay there is rounds up to 1 ns.
      assert.equal(order.slice(0, 4), ['0', '0', '-1', '-Infinity']);
    });

    test('a delay that is no number is refused by its name', ({ loop }) => {
      for (const bad of [Number.NaN, '5', null, undefined, {}, 5n]) {
        const refused = (error: Error): boolean =>
          IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT') && error.message.startsWith('delayMs ');
        // @ts-expect-error what only JavaScript can pass
        assert.throws(() => loop.callLater(bad, neverCalled), refused);
        const timer = loop.callLater(FAR_MS, neverCalled);
        // @ts-expect-error what only JavaScript can pass
        assert.throws(() => timer.reschedule(bad), refused);
        assert.is(timer.active, true, 'what is refused changes nothing');
        timer.cancel();
      }
      // @ts-expect-error no callback
      assert.throws(() => loop.callLater(1), /callback must be a function/);
      assert.throws(() => loop.callAt(Number.NaN, neverCalled), /whenMs must be a number of milliseconds/);
    });

    test('delays beyond every integer neither fire early nor spin', async ({ loop }) => {
      const delays = [2 ** 31, 2 ** 32, 2 ** 53, 0xffff_ffff_ffff, 1e300, Number.MAX_VALUE, Infinity];
      const timers = delays.map((delayMs) => loop.callLater(delayMs, neverCalled));
      timers.push(...delays.map((delayMs) => loop.callAt(delayMs, neverCalled)));
      const { promise, fire } = signal();
      const before = loop.metrics().turns;
      loop.callLater(20, fire);
      await driven(loop, promise, 'the near one');
      if (drive === 'node') assert.ok(loop.metrics().turns - before < 20);
      assert.ok(timers.every((timer) => timer.active));
      for (const timer of timers) timer.cancel();
      assert.is(loop.timeoutMs(), Number.POSITIVE_INFINITY);
    });

    test('one that never comes is no deadline', ({ loop }) => {
      const timer = loop.callLater(Number.POSITIVE_INFINITY, neverCalled);
      assert.is(loop.timeoutMs(), Number.POSITIVE_INFINITY);
      timer.reschedule(FAR_MS);
      assert.ok(loop.timeoutMs() > FAR_MS / 2 && loop.timeoutMs() <= FAR_MS);
      timer.cancel();
    });

    test('cancelling one that is due in the same turn keeps it from firing', async ({ loop }) => {
      const whenMs = loop.time() + 1;
      const victims: TimerHandle[] = [];
      const { promise, fire } = signal();
      loop.callAt(whenMs, () => {
        for (const victim of victims) victim.cancel();
      });
      for (let i = 0; i < 3; i++) victims.push(loop.callAt(whenMs, neverCalled));
      loop.callAt(whenMs, fire);
      await driven(loop, promise, 'the last of the turn');
      assert.ok(victims.every((victim) => !victim.active));
    });

    test('a number freed in a turn is not mistaken for the timer that gets it next', async ({ loop }) => {
      const whenMs = loop.time() + 1;
      let first = 0;
      const { promise, fire } = signal();
      loop.callAt(whenMs, () => {
        victim.cancel();
        for (let i = 0; i < 10; i++) fresh.push(loop.callLater(FAR_MS, neverCalled));
        first = loop.metrics().turns;
      });
      const fresh: TimerHandle[] = [];
      const victim = loop.callAt(whenMs, neverCalled);
      loop.callAt(whenMs, fire);
      await driven(loop, promise, 'the last of the turn');
      assert.is(loop.metrics().turns, first, 'they were due together');
      assert.ok(fresh.every((timer) => timer.active));
      for (const timer of fresh) timer.cancel();
    });

    test('rescheduling one that is due in the same turn moves it to a later one', async ({ loop }) => {
      const whenMs = loop.time() + 1;
      const turns: number[] = [];
      const { promise, fire } = signal();
      loop.callAt(whenMs, () => {
        turns.push(loop.metrics().turns);
        moved.reschedule(0);
        assert.is(moved.active, true);
      });
      const moved = loop.callAt(whenMs, () => {
        turns.push(loop.metrics().turns);
        fire();
      });
      await driven(loop, promise, 'the one that was moved');
      assert.is(turns.length, 2);
      assert.ok((turns[1] ?? 0) > (turns[0] ?? 0));
    });

    test('one that has fired can be armed again, from within its callback and later', async ({ loop }) => {
      let calls = 0;
      const third = signal();
      const fourth = signal();
      const timer = loop.callLater(0, () => {
        assert.is(timer.active, false, 'it has fired');
        calls++;
        if (calls < 3) timer.reschedule(0);
        else (calls === 3 ? third : fourth).fire();
      });
      await driven(loop, third.promise, 'the third call');
      assert.is(timer.active, false);
      timer.reschedule(1);
      assert.is(timer.active, true);
      await driven(loop, fourth.promise, 'the fourth call');
      assert.is(calls, 4);
    });

    test('arguments reach the callback; cancelling twice, or after it fired, does nothing', async ({
      loop,
    }) => {
      const { promise, fire } = signal<unknown[]>();
      const timer = loop.callLater(0, (...args: unknown[]) => fire(args), 1, 'two', null);
      assert.equal(await driven(loop, promise, 'the call'), [1, 'two', null]);
      timer.cancel();
      timer.cancel();
      assert.is(timer.active, false);
      {
        using scoped = loop.callLater(FAR_MS, neverCalled);
        assert.is(scoped.active, true);
      }
      assert.is(loop.metrics().timers, 0);
    });

    test('a timer that closes the loop ends the turn after it', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      loop.addHandler(sockets.ended(), neverCalled, 1);
      const { promise, fire } = signal();
      const whenMs = loop.time();
      loop.callAt(whenMs, () => {
        loop.addCallback(neverCalled);
        void loop.close().then(fire);
      });
      const later = loop.callAt(whenMs, neverCalled);
      await driven(loop, promise, 'the end of the loop');
      assert.is(later.active, false);
      later.cancel();
      assert.throws(
        () => later.reschedule(0),
        (error: Error) => IOLoopError.is(error, 'ERR_IOLOOP_CLOSED'),
      );
      assert.throws(
        () => loop.callLater(0, neverCalled),
        (error: Error) => IOLoopError.is(error, 'ERR_IOLOOP_CLOSED'),
      );
    });
  });
}

suite('a timer that re-arms itself at 0', (test) => {
  test('starves neither descriptors nor callbacks, nor Node', async ({ loop, defer }) => {
    const sockets = new Sockets(defer);
    const [near, far] = sockets.pair();
    const timer: TimerHandle = loop.callLater(0, () => timer.reschedule(0));
    let heard = 0;
    const done = signal();
    loop.addHandler(
      near,
      () => {
        drain(near);
        if (++heard === 20) done.fire();
        else poke(far);
      },
      1,
    );
    poke(far);
    await within(10_000, done.promise, 'twenty events');
    for (let i = 0; i < 20; i++)
      await within(
        10_000,
        onEmptyStack(() => {}),
        'an immediate',
      );
    await within(10_000, new Promise((resolve) => setTimeout(resolve, 1)), "Node's timer");
    await within(10_000, new Promise<void>((resolve) => loop.addCallback(resolve)), 'a callback');
    timer.cancel();
    loop.removeHandler(near);
  });
});

suite('deadlines', (test) => {
  test('one made while a later one is armed comes first', async () => {
    const loop = new IOLoop({ current: false });
    const far = loop.callLater(FAR_MS, neverCalled);
    // Only a settle between them arms the first.
    await onEmptyStack(() => {});
    const { promise, fire } = signal();
    loop.callLater(1, fire);
    await within(5_000, promise, 'the near one');
    far.cancel();
    await loop.close();
  });

  test('cancelling the earliest costs one empty turn at most', async ({ loop }) => {
    const doomed = loop.callLater(2, neverCalled);
    await onEmptyStack(() => {});
    doomed.cancel();
    const { promise, fire } = signal();
    const before = loop.metrics().turns;
    loop.callLater(30, fire);
    await within(5_000, promise, 'the one that stays');
    assert.ok(loop.metrics().turns - before <= 3, `${loop.metrics().turns - before} turns`);
  });
});
