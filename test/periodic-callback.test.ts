import * as assert from 'uvu/assert';

import { IOLoop, IOLoopError, PeriodicCallback, type TimerHandle } from '../src/index.ts';
import { runSource, startSource } from './support/child.ts';
import { signal } from './support/driven.ts';
import { suite } from './support/suite.ts';
import { within } from './support/within.ts';

/** A loop whose clock stands until it is moved: time itself is the subject here. */
class ClockedLoop extends IOLoop {
  nowMs = 1_000;
  #timer: { readonly whenMs: number; readonly callback: () => unknown } | undefined;
  readonly #handles: TimerHandle[] = [];

  constructor() {
    super({ drive: 'manual', current: false });
  }

  override time(): number {
    return this.nowMs;
  }

  override callAt<A extends readonly unknown[]>(
    whenMs: number,
    callback: (...args: A) => void | Promise<void>,
    ...args: A
  ): TimerHandle {
    this.#timer = { whenMs, callback: () => callback(...args) };
    const handle = this.callLater(Number.POSITIVE_INFINITY, () => {});
    this.#handles.push(handle);
    return handle;
  }

  /** When the call that waits is due. */
  get whenMs(): number {
    return this.#timer?.whenMs ?? Number.NaN;
  }

  /** The loop was held up: the call that waits comes `lateMs` after its time. Returns when it came. */
  async fire(lateMs = 0): Promise<number> {
    const timer = this.#timer;
    if (timer === undefined) throw new Error('no call waits');
    this.#timer = undefined;
    this.nowMs = timer.whenMs + lateMs;
    const cameMs = this.nowMs;
    await timer.callback();
    return cameMs;
  }

  override async close(): Promise<void> {
    for (const handle of this.#handles) handle.cancel();
    await super.close();
  }
}

suite("PeriodicCallback's grid", (test) => {
  // Tornado's table (PeriodicCallbackMathTest): how long the call took, when the next one comes.
  const table: readonly (readonly [string, readonly number[], readonly number[]])[] = [
    ['calls that take no time', [0, 0, 0, 0], [1010, 1020, 1030, 1040, 1050]],
    ['calls that take less than a period', [5, 9, 3], [1010, 1020, 1030, 1040]],
    ['one that takes a period exactly', [10, 0], [1010, 1030, 1040]],
    ['ones that take more', [10.1, 12, 25, 99.9], [1010, 1030, 1050, 1080, 1180]],
  ];
  for (const [what, tookMs, dueMs] of table)
    test(`${what} leave the grid where it is`, async ({ defer }) => {
      const loop = new ClockedLoop();
      defer(() => loop.close());
      let call = 0;
      const periodic = new PeriodicCallback(
        () => {
          loop.nowMs += tookMs[call++] ?? 0;
        },
        10,
        { loop },
      );
      periodic.start();
      const seen = [loop.whenMs];
      for (const _ of tookMs) {
        await loop.fire();
        seen.push(loop.whenMs);
      }
      assert.equal(seen, dueMs);
      periodic.stop();
    });

  test('a loop that was held up calls once, not once for each point it missed', async ({ defer }) => {
    const loop = new ClockedLoop();
    defer(() => loop.close());
    let calls = 0;
    const periodic = new PeriodicCallback(() => void calls++, 10, { loop });
    periodic.start();
    await loop.fire(5_003);
    assert.is(calls, 1);
    assert.is(loop.whenMs, 1_000 + 5_020);
    periodic.stop();
  });

  for (const jitter of [0.1, 0.5, 1])
    test(`jitter ${jitter} moves a call by half of it either way, and never uses a point twice`, async ({
      defer,
    }) => {
      const loop = new ClockedLoop();
      defer(() => loop.close());
      const periodic = new PeriodicCallback(() => {}, 10, { loop, jitter });
      periodic.start();
      let least = 0;
      let most = 0;
      for (let point = 1; point <= 2_000; point++) {
        const offset = (loop.whenMs - (1_000 + point * 10)) / 10;
        assert.ok(Math.abs(offset) <= jitter / 2 + 1e-9, `call ${point} is ${offset} periods off`);
        least = Math.min(least, offset);
        most = Math.max(most, offset);
        await loop.fire();
      }
      assert.ok(most - least > jitter * 0.9, 'the whole range is used');
      periodic.stop();
    });
});

suite('PeriodicCallback', (test) => {
  test('is never early, and never has two calls for one point of the grid', async ({ loop }) => {
    const times: number[] = [];
    const { promise, fire } = signal();
    const periodMs = 4;
    const startedMs = loop.time();
    const periodic = new PeriodicCallback(() => {
      const now = loop.time();
      times.push(now);
      // Some of them take more than a period.
      if (times.length % 5 === 0) while (loop.time() < now + 2.5 * periodMs);
      if (times.length === 20) fire();
    }, periodMs);
    periodic.start();
    assert.is(periodic.isRunning(), true);
    await within(10_000, promise, 'twenty calls');
    periodic.stop();
    assert.is(periodic.isRunning(), false);
    times.forEach((time, i) => {
      assert.ok(time >= startedMs + (i + 1) * periodMs - 1e-6, `call ${i} came at ${time - startedMs}`);
      const third = times[i + 2];
      // The second of three may come soon after a late first; the third is a whole period further.
      if (third !== undefined) assert.ok(third - time >= periodMs - 1e-6, `a burst at call ${i}`);
    });
  });

  test('does not overlap: points that pass while a promise is pending go unused', async ({ loop }) => {
    let running = 0;
    let calls = 0;
    const { promise, fire } = signal();
    const periodic = new PeriodicCallback(async () => {
      assert.is(++running, 1);
      await new Promise((resolve) => loop.callLater(7, () => resolve(undefined)));
      running--;
      if (++calls === 5) fire();
    }, 2);
    periodic.start();
    await within(10_000, promise, 'five calls');
    periodic.stop();
  });

  test('goes on after a throw and a rejection, which are reported', async ({ defer }) => {
    const errors: unknown[] = [];
    const loop = new IOLoop({ current: false, onError: (error) => errors.push(error) });
    defer(() => loop.close());
    const { promise, fire } = signal();
    let calls = 0;
    const periodic = new PeriodicCallback(
      () => {
        calls++;
        if (calls === 1) throw new Error('thrown');
        if (calls === 2) return Promise.reject(new Error('rejected'));
        fire();
        return Promise.resolve();
      },
      1,
      { loop },
    );
    periodic.start();
    await within(10_000, promise, 'the third call');
    periodic.stop();
    assert.equal(errors.map(String), ['Error: thrown', 'Error: rejected']);
  });

  test('stopped in its callback is not called again; started there, it begins anew', async ({ loop }) => {
    let calls = 0;
    const { promise, fire } = signal();
    const periodic = new PeriodicCallback(() => {
      calls++;
      periodic.stop();
      if (calls === 1) periodic.start();
      else fire();
    }, 1);
    periodic.start();
    periodic.start();
    await within(10_000, promise, 'the second call');
    assert.is(periodic.isRunning(), false);
    assert.is(calls, 2);
    assert.is(loop.metrics().timers, 0);
  });

  test('begun anew while a promise is pending does not overlap with that', async ({ loop }) => {
    const { promise, fire } = signal();
    let pending = 0;
    let most = 0;
    let calls = 0;
    const periodic = new PeriodicCallback(async () => {
      most = Math.max(most, ++pending);
      if (++calls === 1) {
        periodic.stop();
        periodic.start();
        await new Promise<void>((resolve) => loop.callLater(10, resolve));
      } else {
        periodic.stop();
        fire();
      }
      pending--;
    }, 1);
    periodic.start();
    await within(10_000, promise, 'the second call');
    assert.equal([calls, most], [2, 1]);
  });

  test('does not run when its loop was closed before its start', async () => {
    const loop = new IOLoop({ current: false });
    await loop.close();
    const periodic = new PeriodicCallback(() => {}, 1, { loop });
    assert.throws(
      () => periodic.start(),
      (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_CLOSED'),
    );
    assert.is(periodic.isRunning(), false);
  });

  test('closing the loop in its callback ends it without an error', async () => {
    const result = await runSource(`
      import { IOLoop, PeriodicCallback } from './src/index.ts';
      const loop = new IOLoop();
      const periodic = new PeriodicCallback(() => {
        const closed = loop.close();
        closed.then(() => setImmediate(() => console.log(periodic.isRunning())));
        return closed;
      }, 1);
      periodic.start();
    `);
    assert.equal([result.stdout, result.stderr, result.code], ['false\n', '', 0]);
  });

  test('bad arguments are refused by their names', () => {
    const call = (): void => {};
    const refused = (name: string) => (error: Error) =>
      IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT') && error.message.startsWith(`${name} `);
    for (const periodMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
      assert.throws(() => new PeriodicCallback(call, periodMs), refused('periodMs'));
    for (const jitter of [-0.1, 1.1, Number.NaN])
      assert.throws(() => new PeriodicCallback(call, 1, { jitter }), refused('options.jitter'));
    // @ts-expect-error what only JavaScript can pass
    assert.throws(() => new PeriodicCallback(null, 1), refused('callback'));
  });

  test('a process that was stopped does not make up for it when it goes on', async () => {
    const child = startSource(
      `
      import { IOLoop, PeriodicCallback } from './src/index.ts';
      const loop = IOLoop.current();
      const times = [];
      const periodic = new PeriodicCallback(() => {
        times.push(loop.time());
        if (times.length === 3) console.log('ready');
        if (times.length < 40) return;
        periodic.stop();
        const gaps = times.slice(1).map((time, i) => time - times[i]);
        const pairs = times.slice(2).map((time, i) => time - times[i]);
        console.log(JSON.stringify([Math.max(...gaps), Math.min(...pairs)]));
      }, 10);
      periodic.start();
    `,
      { limitMs: 30_000 },
    );
    await new Promise((resolve) => child.process.stdout?.once('data', resolve));
    child.process.kill('SIGSTOP');
    // How long it is stopped is the subject.
    await new Promise((resolve) => setTimeout(resolve, 300));
    child.process.kill('SIGCONT');
    const { stdout, code } = await child.result;
    const [longest, leastOfTwo] = JSON.parse(stdout.split('\n')[1] ?? '') as [number, number];
    assert.ok(longest >= 290, `the longest gap was ${longest} ms`);
    assert.ok(leastOfTwo >= 10 - 1e-6, `three calls within ${leastOfTwo} ms`);
    assert.is(code, 0);
  });
});
