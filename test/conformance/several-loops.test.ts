import * as assert from 'uvu/assert';

import { type BackendName, Interest, IOLoop } from '../../src/index.ts';
import { drain, poke, Sockets } from '../support/sockets.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { neverCalled, passes, turnsIn } from '../support/turns.ts';
import { within } from '../support/within.ts';

/** Another loop beside the test's, closed with the test. */
function anotherLoop(
  defer: TestContext['defer'],
  backend: BackendName,
  drive: 'node' | 'manual' = 'node',
): IOLoop {
  const loop = new IOLoop({ backend, drive, current: false });
  defer(() => loop.close());
  return loop;
}

/** Resolves when `loop` has bounced a byte between `near` and `far` `rounds` times. */
function pingPong(loop: IOLoop, [near, far]: readonly [number, number], rounds: number): Promise<void> {
  return new Promise((resolve) => {
    let left = rounds;
    const bounce = (fd: number): void => {
      drain(fd);
      if (--left > 0) {
        poke(fd);
        return;
      }
      loop.removeHandler(near);
      loop.removeHandler(far);
      resolve();
    };
    loop.addHandler(near, bounce, Interest.READ);
    loop.addHandler(far, bounce, Interest.READ);
    poke(near);
  });
}

for (const backend of IOLoop.backends) {
  for (const other of IOLoop.backends) {
    suite(`a loop on ${backend} beside one on ${other}`, { backend }, (test) => {
      test('makes progress while that one does', async ({ loop, defer }) => {
        const sockets = new Sockets(defer);
        const second = anotherLoop(defer, other);
        const both = [pingPong(loop, sockets.pair(), 500), pingPong(second, sockets.pair(), 500)];
        await within(10_000, Promise.all(both), 'the end of both games');
      });

      test('does not spin while that one works, nor does that one', async ({ loop, defer }) => {
        const sockets = new Sockets(defer);
        const second = anotherLoop(defer, other);
        loop.callLater(3_600_000, neverCalled).unref();
        const [quiet] = sockets.pair();
        loop.addHandler(quiet, neverCalled, Interest.READ);
        await passes(2);
        const { turns } = loop.metrics();
        await within(10_000, pingPong(second, sockets.pair(), 500), 'the end of the game');
        assert.ok(loop.metrics().turns - turns <= 3);
        assert.ok((await turnsIn(100, second)) <= 3);
        loop.removeHandler(quiet);
        await loop.close();
      });

      test('watches the same descriptor, each until its own removal', async ({ loop, defer }) => {
        const sockets = new Sockets(defer);
        const second = anotherLoop(defer, other);
        const [fd, far] = sockets.pair();
        const told: string[] = [];
        loop.addHandler(fd, () => void told.push('first'), Interest.READ);
        second.addHandler(fd, () => void told.push('second'), Interest.READ);
        poke(far);
        await passes(10);
        assert.ok(told.includes('first') && told.includes('second'));
        loop.removeHandler(fd);
        told.length = 0;
        await passes(10);
        assert.ok(told.length > 0 && !told.includes('first'));
        await second.close();
        assert.is(drain(fd), 1);
      });

      // The second never hears that its descriptor is gone; see the tests of forgotten descriptors.
      test('survives that a descriptor of both is closed by its other owner', async ({ loop, defer }) => {
        const sockets = new Sockets(defer);
        const second = anotherLoop(defer, other);
        const [fd, far] = sockets.pair();
        loop.addHandler(fd, neverCalled, Interest.READ);
        second.addHandler(fd, () => void second.removeHandler(fd), Interest.READ);
        loop.removeHandler(fd);
        sockets.close(fd);
        sockets.close(far);
        await passes(5);
        assert.ok((await turnsIn(100, second)) <= 3);
        await within(10_000, pingPong(second, sockets.pair(), 10), 'the end of the game');
      });

      test('watches the descriptor of that one, which has turns of its own', async ({ loop, defer }) => {
        const sockets = new Sockets(defer);
        const inner = anotherLoop(defer, other);
        let nested = 0;
        loop.addHandler(inner.fd, () => void nested++, Interest.READ);
        await within(10_000, pingPong(inner, sockets.pair(), 20), 'the end of the game');
        await passes(5);
        assert.ok((await turnsIn(100, loop)) <= 3);
        loop.removeHandler(inner.fd);
      });

      const work: Record<string, (inner: IOLoop, sockets: Sockets, done: () => void) => void> = {
        handler: (inner, sockets, done) => {
          const fd = sockets.ended();
          inner.addHandler(fd, () => void (inner.removeHandler(fd) && done()), Interest.READ);
        },
        deadline: (inner, _, done) => void inner.callLater(5, done),
        callback: (inner, _, done) => inner.addCallback(done),
        'callback of a callback': (inner, _, done) => inner.addCallback(() => inner.addCallback(done)),
      };
      for (const [kind, give] of Object.entries(work))
        test(`hears by its descriptor that it has to drive that one, for a ${kind}`, async ({
          loop,
          defer,
        }) => {
          const inner = anotherLoop(defer, other, 'manual');
          const sockets = new Sockets(defer);
          loop.addHandler(inner.fd, () => void inner.runOnce(), Interest.READ);
          const done = new Promise<void>((resolve) => give(inner, sockets, resolve));
          await within(10_000, done, `the ${kind}`);
          await passes(5);
          assert.ok((await turnsIn(100, loop)) <= 3);
          loop.removeHandler(inner.fd);
        });

      test('may watch that one, which is driven by hand and sleeps, before and after', async ({
        loop,
        defer,
      }) => {
        const inner = anotherLoop(defer, other, 'manual');
        assert.is(inner.runOnce(1), 0);
        loop.addHandler(inner.fd, neverCalled, Interest.READ);
        await passes(3);
        assert.is(inner.runOnce(1), 0);
        loop.removeHandler(inner.fd);
      });

      test('may be watched by that one while it is driven by hand', async ({ loop, defer }) => {
        const sockets = new Sockets(defer);
        const outer = anotherLoop(defer, other, 'manual');
        const [fd, far] = sockets.pair();
        let told = 0;
        loop.addHandler(fd, neverCalled, 0);
        loop.updateHandler(fd, Interest.READ);
        outer.addHandler(loop.fd, () => void told++, Interest.READ);
        assert.is(outer.runOnce(), 0);
        poke(far);
        assert.is(outer.runOnce(10_000), 1);
        assert.is(told, 1);
        assert.is(loop.removeHandler(fd), true);
        assert.is(outer.runOnce(), 0);
      });
    });
  }
}
