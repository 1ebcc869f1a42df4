import * as assert from 'uvu/assert';

import { IOLoop, type TimerHandle } from '../../src/index.ts';
import { driven, signal } from '../support/driven.ts';
import { Random } from '../support/random.ts';
import { suite } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { neverCalled } from '../support/turns.ts';

/** Milliseconds are doubles: the last bit of a sum is not ours. */
const ROUNDING_MS = 1e-6;

/** What must come after what: exact deadlines by (deadline, when made), others between two clock readings. */
interface ModelTimer {
  readonly handle: TimerHandle;
  readonly sequence: number;
  leastMs: number;
  mostMs: number;
}

/** The sorted model of the loop's timers, and what it holds the loop to. */
class TimerModel {
  readonly loop: IOLoop;
  readonly pending: ModelTimer[] = [];
  readonly #fired: ModelTimer[] = [];
  #made = 0;
  total = 0;

  constructor(loop: IOLoop) {
    this.loop = loop;
  }

  insert(whenMs: number): void {
    const handle = this.loop.callAt(whenMs, () => void this.#fired.push(timer));
    const timer: ModelTimer = { handle, sequence: this.#made++, leastMs: whenMs, mostMs: whenMs };
    this.pending.push(timer);
  }

  cancel(index: number): void {
    this.#take(index)?.handle.cancel();
  }

  reschedule(index: number, delayMs: number): void {
    const timer = this.pending[index];
    if (timer === undefined) return;
    // A negative delay means now.
    const atLeastNow = Math.max(0, delayMs);
    timer.leastMs = this.loop.time() + atLeastNow - ROUNDING_MS;
    timer.handle.reschedule(delayMs);
    timer.mostMs = this.loop.time() + atLeastNow + ROUNDING_MS;
  }

  /** One turn, held against the model. */
  turn(): void {
    const beforeMs = this.loop.time();
    this.loop.runOnce();
    const afterMs = this.loop.time();
    let latestMs = Number.NEGATIVE_INFINITY;
    for (const timer of this.#fired) {
      assert.ok(timer.leastMs <= afterMs + ROUNDING_MS, `early by ${timer.leastMs - afterMs} ms`);
      assert.ok(timer.mostMs >= latestMs, 'one fired before an earlier one');
      latestMs = Math.max(latestMs, timer.leastMs);
      assert.ok(this.#take(this.pending.indexOf(timer)) !== undefined, 'one fired that did not wait');
    }
    const exact = this.#fired.filter(({ leastMs, mostMs }) => leastMs === mostMs);
    const sorted = exact.toSorted((a, b) => a.leastMs - b.leastMs || a.sequence - b.sequence);
    assert.ok(
      exact.every((timer, i) => timer === sorted[i]),
      'the order is not that of the model',
    );
    // A turn fires 1,024 at most.
    if (this.#fired.length < 1_024)
      for (const timer of this.pending) assert.ok(timer.mostMs > beforeMs, 'one that was due did not fire');
    this.total += this.#fired.length;
    this.#fired.length = 0;
    assert.is(this.loop.metrics().timers, this.pending.length);
  }

  #take(index: number): ModelTimer | undefined {
    const timer = this.pending[index];
    const last = this.pending.pop();
    if (timer !== undefined && last !== undefined && last !== timer) this.pending[index] = last;
    return timer;
  }
}

for (const backend of IOLoop.backends) {
  suite(`timers on ${backend}`, { backend, drive: 'manual', limitMs: count(60_000, 1_200_000) }, (test) => {
    test('inserts, cancels and reschedules keep the order of a sorted model', ({ loop }) => {
      const seed = Date.now() | 0;
      const random = new Random(seed);
      const model = new TimerModel(loop);
      try {
        for (let step = 0; step < count(100_000, 1_000_000); step++) {
          const action = random.below(10);
          const index = random.below(Math.max(1, model.pending.length));
          // Whole milliseconds, so that many deadlines are equal.
          const whenMs = Math.floor(loop.time()) + random.below(30) - 5;
          if (action < 5 || model.pending.length === 0) model.insert(whenMs);
          else if (action < 7) model.cancel(index);
          else model.reschedule(index, random.below(2_000) / 100 - 2);
          if (step % 50 === 0) model.turn();
        }
        assert.ok(model.total > 100, 'hardly any fired');
      } catch (error) {
        throw new Error(`seed ${seed}: ${error}`, { cause: error });
      }
      for (const { handle } of model.pending) handle.cancel();
    });
  });

  for (const drive of ['node', 'manual'] as const)
    suite(`deadlines on ${backend} with drive '${drive}'`, {
      backend,
      drive,
      limitMs: count(60_000, 1_200_000),
    }, (test) => {
      test('are never early, not by a nanosecond', async ({ loop }) => {
        const random = new Random(7);
        const samples = count(4_000, 1_000_000);
        const { promise, fire } = signal();
        let left = samples;
        let earliestMs = Number.POSITIVE_INFINITY;
        const sample = (): void => {
          const dueMs = loop.time() + random.below(3_000_000) / 1e6;
          loop.callLater(dueMs - loop.time(), () => {
            earliestMs = Math.min(earliestMs, loop.time() - dueMs);
            if (--left === 0) fire();
            else if (left >= 50) sample();
          });
        };
        for (let i = 0; i < 50; i++) sample();
        await driven(loop, promise, `${samples} deadlines`, count(30_000, 1_000_000));
        assert.ok(earliestMs >= -ROUNDING_MS, `early by ${-earliestMs} ms`);
      });

      test('wake a loop that sleeps, whatever was armed before', async ({ loop }) => {
        const far = loop.callLater(1e8, neverCalled);
        for (let round = 0; round < 30; round++) {
          const { promise, fire } = signal();
          const doomed = loop.callLater(0.3, neverCalled);
          loop.callLater(0.5 + round / 20, fire);
          doomed.cancel();
          await driven(loop, promise, `deadline ${round}`);
        }
        far.cancel();
      });
    });
}
