import * as assert from 'uvu/assert';

import { deferred } from '../src/deferred.ts';
import { AbortError, delay, IOLoop, IOLoopError, TimeoutError, timeout } from '../src/index.ts';
import { runSource } from './support/child.ts';
import { simNetwork } from './support/sim.ts';
import { suite } from './support/suite.ts';
import { within } from './support/within.ts';

const DAY_MS = 86_400_000;
const index = JSON.stringify(new URL('../src/index.ts', import.meta.url));

function rejection(promise: Promise<unknown>): Promise<unknown> {
  return within(
    5_000,
    promise.then(
      () => assert.unreachable('nothing was thrown'),
      (error: unknown) => error,
    ),
    'the rejection',
  );
}

for (const backend of IOLoop.backends)
  suite(`delay() and timeout() on ${backend}`, { backend }, (test) => {
    test('delay no less than they say', async ({ loop }) => {
      const begunMs = loop.time();
      await within(5_000, delay(5.5), 'the end of the delay');
      assert.ok(loop.time() - begunMs >= 5.5);
    });

    test('give what the promise gives in time, or its error', async ({ loop }) => {
      assert.is(await timeout(Promise.resolve(42), 60_000, { loop }), 42);
      const error = new Error('its own');
      assert.is(await rejection(timeout(Promise.reject(error), 60_000)), error);
      assert.is(
        await timeout(Promise.resolve('as long as it takes'), Number.POSITIVE_INFINITY),
        'as long as it takes',
      );
    });

    test('end the waiting when the time is over', async ({ loop }) => {
      const begunMs = loop.time();
      const error = await rejection(timeout(new Promise(() => {}), 5));
      assert.ok(error instanceof TimeoutError && loop.time() - begunMs >= 5);
      assert.is(error.message, 'the promise took more than 5 ms');
    });

    test('end with the signal, and leave no timer', async ({ loop }) => {
      for (const wait of [
        (signal: AbortSignal) => delay(DAY_MS, { signal, loop }),
        (signal: AbortSignal) => timeout(new Promise(() => {}), DAY_MS, { signal, loop }),
      ]) {
        const controller = new AbortController();
        const rejected = rejection(wait(controller.signal));
        controller.abort('enough');
        const error = await rejected;
        assert.ok(error instanceof Error);
        assert.equal([error.name, error.cause], ['AbortError', 'enough']);
        assert.is(((await rejection(wait(AbortSignal.abort()))) as Error).name, 'AbortError');
      }
      assert.is(loop.metrics().timers, 0);
    });

    test('refuse what is no time, no promise, no signal and no loop', async ({ loop }) => {
      const never = new Promise(() => {});
      for (const [call, named] of [
        [() => delay(Number.NaN), 'delayMs'],
        [() => delay(1, { signal: 'now' as never }), 'options.signal'],
        [() => delay(1, { ref: 1 as never }), 'options.ref'],
        [() => delay(1, { loop: {} as never }), 'options.loop'],
        [() => timeout(7 as never, 1), 'promise'],
        [() => timeout(never, -1), 'timeoutMs'],
        [() => timeout(never, 1, 2 as never), 'options'],
      ] as const) {
        const error = await rejection(call());
        assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'), named);
        assert.ok(error.message.startsWith(`${named} must be `), error.message);
      }
      assert.is(loop.metrics().timers, 0);
    });
  });

suite('delay() and timeout()', (test) => {
  test('follow the clock of a simulated loop', async (context) => {
    const network = simNetwork(context);
    const loop = network.createLoop();
    const begunMs = network.timeMs;
    await network.run(async () => {
      await delay(DAY_MS, { loop });
      const late = timeout(delay(3 * DAY_MS, { loop }), 2 * DAY_MS, { loop });
      assert.ok((await late.catch((error: unknown) => error)) instanceof TimeoutError);
    });
    assert.is(Math.floor((network.timeMs - begunMs) / DAY_MS), 3);
    await network.advance(2 * DAY_MS);
  });

  test('do not turn the error of a promise that came too late into an unhandledRejection', async ({
    loop,
  }) => {
    const unhandled: unknown[] = [];
    const listener = (reason: unknown): void => void unhandled.push(reason);
    process.on('unhandledRejection', listener);
    const late = deferred<never>();
    assert.ok((await rejection(timeout(late.promise, 0, { loop }))) instanceof TimeoutError);
    assert.ok(
      (await rejection(timeout(late.promise, 0, { loop, signal: AbortSignal.abort() }))) instanceof
        AbortError,
    );
    late.reject(new Error('too late'));
    const neverAwaited = Promise.reject(new Error('not waited for'));
    await rejection(timeout(neverAwaited, 0, { loop, signal: AbortSignal.abort() }));
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', listener);
    assert.equal(unhandled, []);
  });

  test('keep the process alive, unless they are told not to', async () => {
    const source = (ref: boolean): string => `
      import { delay } from ${index};
      process.on('exit', () => console.log('exit'));
      void delay(20, { ref: ${ref} }).then(() => console.log('delayed'));
    `;
    assert.equal(
      [(await runSource(source(true))).stdout, (await runSource(source(false))).stdout],
      ['delayed\nexit\n', 'exit\n'],
    );
  });

  test('say that a loop is closed', async () => {
    const loop = new IOLoop({ current: false });
    await loop.close();
    assert.ok(IOLoopError.is(await rejection(delay(1, { loop })), 'ERR_IOLOOP_CLOSED'));
    assert.ok(
      IOLoopError.is(await rejection(timeout(new Promise(() => {}), 1, { loop })), 'ERR_IOLOOP_CLOSED'),
    );
  });
});
