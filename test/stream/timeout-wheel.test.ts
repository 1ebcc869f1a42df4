import * as assert from 'uvu/assert';

import type { IOLoop } from '../../src/index.ts';
import { NEVER, TICK_MS, TimeoutWheel, type WheelEntry } from '../../src/stream/timeout-wheel.ts';
import type { SimNetwork } from '../../src/testing/sim.ts';
import { Random } from '../support/random.ts';
import { simNetwork } from '../support/sim.ts';
import { suite, type TestContext } from '../support/suite.ts';

/** An entry that notes when it is looked at, and goes on as `next` says. */
class Watch implements WheelEntry {
  wheelTick: number = NEVER;
  readonly looks: number[] = [];
  next: (tick: number) => number = () => NEVER;

  expire(tick: number): number {
    this.looks.push(tick);
    return this.next(tick);
  }
}

/** A wheel by the virtual clock. */
function setUp(context: TestContext): { network: SimNetwork; loop: IOLoop; wheel: TimeoutWheel } {
  const network = simNetwork(context);
  const loop = network.createLoop();
  return { network, loop, wheel: new TimeoutWheel(loop) };
}

suite('a timeout wheel', (test) => {
  test('looks at an entry never early, and at most a tick late', async (context) => {
    const { network, loop, wheel } = setUp(context);
    const random = new Random(3);
    const lateness: number[] = [];
    for (let i = 0; i < 500; i++) {
      const dueMs = loop.time() + random.below(5_000) + random.below(1_000) / 1_000;
      const watch = new Watch();
      watch.next = () => {
        lateness.push(loop.time() - dueMs);
        return NEVER;
      };
      wheel.schedule(watch, wheel.after(dueMs - loop.time()));
    }
    await network.advance(6_000);
    assert.is(lateness.length, 500);
    assert.ok(Math.min(...lateness) >= 0, `${Math.min(...lateness)} ms early`);
    assert.ok(Math.max(...lateness) <= TICK_MS, `${Math.max(...lateness)} ms late`);
  });

  test('looks sooner when an entry asks for it, and once', async (context) => {
    const { network, wheel } = setUp(context);
    const watch = new Watch();
    wheel.schedule(watch, wheel.after(3_000));
    wheel.schedule(watch, wheel.after(500));
    wheel.schedule(watch, wheel.after(2_000));
    await network.advance(600);
    assert.is(watch.looks.length, 1);
    await network.advance(5_000);
    assert.is(watch.looks.length, 1);
    assert.is(watch.wheelTick, NEVER);
  });

  test('looks again when the entry says so, and not in the same tick', async (context) => {
    const { network, wheel } = setUp(context);
    const watch = new Watch();
    watch.next = (tick) => (watch.looks.length < 4 ? tick : NEVER);
    wheel.schedule(watch, wheel.after(100));
    await network.advance(2_000);
    assert.is(watch.looks.length, 4);
    assert.equal(
      watch.looks,
      watch.looks.map((_, at) => (watch.looks[0] ?? 0) + at),
    );
  });

  test('has one timer, which keeps nothing alive, for all entries', (context) => {
    const { loop, wheel } = setUp(context);
    for (let i = 1; i <= 1_000; i++) wheel.schedule(new Watch(), wheel.after(i * 10));
    const timers = loop.resources().filter(({ kind }) => kind === 'timer');
    assert.equal(timers, [{ kind: 'timer', fd: -1, referenced: false }]);
    wheel.clear();
    assert.equal(
      loop.resources().filter(({ kind }) => kind === 'timer'),
      [],
    );
  });

  test('forgets one, and holds it no longer', async (context) => {
    const { network, wheel } = setUp(context);
    const [first, second] = [new Watch(), new Watch()];
    for (const watch of [first, second]) wheel.schedule(watch, wheel.after(100));
    first.next = () => {
      wheel.forget(second);
      return NEVER;
    };
    await network.advance(1_000);
    assert.is(first.looks.length, 1);
    assert.is(second.looks.length, 0);
    assert.is(second.wheelTick, NEVER);
  });

  test('forgets everybody, also while it looks', async (context) => {
    const { network, wheel } = setUp(context);
    const [first, second] = [new Watch(), new Watch()];
    first.next = () => {
      wheel.clear();
      return NEVER;
    };
    wheel.schedule(first, wheel.after(100));
    wheel.schedule(second, wheel.after(100));
    await network.advance(1_000);
    assert.is(first.looks.length, 1);
    assert.is(second.looks.length, 0);
    assert.is(second.wheelTick, NEVER);
    wheel.schedule(second, wheel.after(100));
    await network.advance(1_000);
    assert.is(second.looks.length, 1);
  });
});
