import * as assert from 'uvu/assert';

import { Interest, IOLoop, Ready } from '../../src/index.ts';
import { drain, poke, Sockets } from '../support/sockets.ts';
import { suite } from '../support/suite.ts';
import { neverCalled, nextTurn } from '../support/turns.ts';

// Which of two descriptors a batch has first is the backend's affair, so each handler does to the
// other what the test is about: whoever comes first does it, and the other must not be told.
for (const backend of IOLoop.backends) {
  suite(`dispatch of a batch on ${backend}`, { backend }, (test) => {
    test('does not call a handler that another of the batch removed', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [a, farA] = sockets.pair();
      const [b, farB] = sockets.pair();
      const called: number[] = [];
      const removeOther = (fd: number): void => {
        called.push(fd);
        assert.is(loop.removeHandler(fd === a ? b : a), true);
      };
      loop.addHandler(a, removeOther, Interest.READ);
      loop.addHandler(b, removeOther, Interest.READ);
      poke(farA);
      poke(farB);
      await nextTurn(loop);
      assert.is(called.length, 1);
      assert.is(loop.metrics().staleEvents, 1);
      assert.is(loop.metrics().handlers, 1);
      loop.removeHandler(called[0] ?? -1);
    });

    test('does not tell a reused number of what its predecessor was ready for', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [a, farA] = sockets.pair();
      const [b, farB] = sockets.pair();
      const called: number[] = [];
      const fresh: number[] = [];
      const replaceOther = (fd: number): void => {
        called.push(fd);
        drain(fd);
        const other = fd === a ? b : a;
        loop.removeHandler(other);
        sockets.close(other);
        assert.is(sockets.pairAt(other)[0], other);
        loop.addHandler(other, (reused) => void fresh.push(reused), Interest.READ);
      };
      loop.addHandler(a, replaceOther, Interest.READ);
      loop.addHandler(b, replaceOther, Interest.READ);
      poke(farA);
      poke(farB);
      await nextTurn(loop);
      await nextTurn(loop);
      assert.is(called.length, 1);
      assert.equal(fresh, []);
      assert.is(loop.metrics().staleEvents, 1);
      loop.removeHandler(a);
      loop.removeHandler(b);
    });

    test('does not tell a reused number whose predecessor was never removed', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [a, farA] = sockets.pair();
      const [b, farB] = sockets.pair();
      const fresh: number[] = [];
      let called = 0;
      const replaceOther = (fd: number): void => {
        called++;
        drain(fd);
        const other = fd === a ? b : a;
        sockets.close(other);
        const [, far] = sockets.pairAt(other);
        loop.addHandler(other, (reused) => void fresh.push(drain(reused)), Interest.READ);
        loop.addCallback(poke, far);
      };
      loop.addHandler(a, replaceOther, Interest.READ);
      loop.addHandler(b, replaceOther, Interest.READ);
      poke(farA);
      poke(farB);
      await nextTurn(loop);
      assert.is(called, 1);
      assert.equal(fresh, []);
      assert.is(loop.metrics().handlers, 2);
      await nextTurn(loop);
      await nextTurn(loop);
      assert.equal(fresh, [1]);
      loop.removeHandler(a);
      loop.removeHandler(b);
    });

    test('lets a handler close, reopen and register its own number', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [fd, far] = sockets.pair();
      const fresh: number[] = [];
      let called = 0;
      let newFar = -1;
      loop.addHandler(
        fd,
        () => {
          called++;
          loop.removeHandler(fd);
          sockets.close(fd);
          [, newFar] = sockets.pairAt(fd);
          loop.addHandler(fd, (reused) => void fresh.push(drain(reused)), Interest.READ);
        },
        Interest.READ,
      );
      poke(far);
      await nextTurn(loop);
      await nextTurn(loop);
      assert.is(called, 1);
      assert.equal(fresh, []);
      poke(newFar);
      await nextTurn(loop);
      assert.equal(fresh, [1]);
      loop.removeHandler(fd);
    });

    test('shows only the new interest once a handler of the batch changed it', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [a, farA] = sockets.pair();
      const [b, farB] = sockets.pair();
      const seen: [number, number][] = [];
      const changeOther = (fd: number, events: number): void => {
        if (seen.length === 0) loop.updateHandler(fd === a ? b : a, Interest.WRITE);
        seen.push([fd, events]);
        loop.updateHandler(fd, 0);
      };
      loop.addHandler(a, changeOther, Interest.READ);
      loop.addHandler(b, changeOther, Interest.READ);
      poke(farA);
      poke(farB);
      await nextTurn(loop);
      assert.is(seen.length, 1);
      assert.is(seen[0]?.[1], Ready.READ);
      await nextTurn(loop);
      assert.is(seen.length, 2);
      assert.is.not(seen[1]?.[0], seen[0]?.[0]);
      assert.is(seen[1]?.[1], Ready.WRITE);
      loop.removeHandler(a);
      loop.removeHandler(b);
    });

    test('calls a replaced handler never and its replacement in the next turn', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [a, farA] = sockets.pair();
      const [b, farB] = sockets.pair();
      const order: string[] = [];
      const replaceOther = (fd: number): void => {
        order.push('old');
        loop.removeHandler(fd);
        const other = fd === a ? b : a;
        loop.removeHandler(other);
        loop.addHandler(other, () => void (order.push('new') && loop.removeHandler(other)), Interest.READ);
        loop.addCallback(() => void order.push('next turn'));
      };
      loop.addHandler(a, replaceOther, Interest.READ);
      loop.addHandler(b, replaceOther, Interest.READ);
      poke(farA);
      poke(farB);
      await nextTurn(loop);
      assert.equal(order, ['old']);
      await nextTurn(loop);
      assert.equal(order, ['old', 'new', 'next turn']);
    });

    test('lets a handler remove itself', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const fd = sockets.ended();
      let called = 0;
      loop.addHandler(
        fd,
        () => {
          called++;
          assert.is(loop.removeHandler(fd), true);
          assert.is(loop.removeHandler(fd), false);
        },
        Interest.READ,
      );
      await nextTurn(loop);
      await nextTurn(loop);
      assert.is(called, 1);
    });

    // select(2) takes numbers below FD_SETSIZE, 1024, and other descriptors are open too.
    const many = backend === 'select' ? 800 : 2500;
    test(`calls one of ${many} ready handlers when that one closes the others`, async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      assert.ok(loop.fd >= 0);
      const fds = Array.from({ length: many }, () => sockets.ended());
      let called = 0;
      const closeOthers = (first: number): void => {
        called++;
        for (const fd of fds) {
          assert.is(loop.removeHandler(fd), true);
          if (fd !== first) sockets.close(fd);
        }
      };
      for (const fd of fds) loop.addHandler(fd, closeOthers, Interest.READ);
      for (let turn = 0; turn < many / 256 + 2; turn++) await nextTurn(loop);
      assert.is(called, 1);
      assert.is(loop.metrics().handlers, 0);
      assert.is(loop.metrics().spuriousEvents, 0);
    });

    test(`tells each of ${many} ready handlers once in as few turns as they fit in`, async ({
      loop,
      defer,
    }) => {
      const sockets = new Sockets(defer);
      assert.ok(loop.fd >= 0);
      const fds = Array.from({ length: many }, () => sockets.ended());
      const told = new Map<number, number>();
      for (const fd of fds)
        loop.addHandler(fd, () => void told.set(fd, (told.get(fd) ?? 0) + 1), Interest.READ);
      for (let turn = 0; turn < Math.ceil(many / 256); turn++) await nextTurn(loop);
      assert.is(told.size, many);
      for (const fd of fds) loop.removeHandler(fd);
    });
  });

  suite(`registration on ${backend}`, { backend }, (test) => {
    test('refuses a descriptor that is watched already, which stays watched', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [fd, far] = sockets.pair();
      const heard: number[] = [];
      loop.addHandler(fd, () => void heard.push(drain(fd)), Interest.READ);
      for (const interest of [Interest.READ, Interest.WRITE, 0]) {
        assert.throws(
          () => loop.addHandler(fd, neverCalled, interest),
          (error: NodeJS.ErrnoException) =>
            error.code === 'EEXIST' && error.message.includes(`addHandler, fd ${fd}`),
        );
      }
      poke(far);
      await nextTurn(loop);
      assert.equal(heard, [1]);
      loop.updateHandler(fd, 0);
      assert.throws(() => loop.addHandler(fd, neverCalled, Interest.READ), /EEXIST/);
      assert.is(loop.metrics().handlers, 1);
      loop.removeHandler(fd);
    });

    test('says that an unknown descriptor is unknown', ({ loop, defer }) => {
      const [fd] = new Sockets(defer).pair();
      assert.is(loop.removeHandler(fd), false);
      assert.is(loop.removeHandler(0x7fffffff), false);
      for (const unknown of [fd, 99_999, 0x7fffffff]) {
        assert.throws(
          () => loop.updateHandler(unknown, Interest.READ),
          (error: NodeJS.ErrnoException) =>
            error.code === 'ENOENT' && error.message.includes(`fd ${unknown}`),
        );
        assert.throws(() => loop.setHandlerRef(unknown, false), /ENOENT.*fd \d+/);
      }
    });

    test('refuses what is not open', ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [fd] = sockets.pair();
      sockets.close(fd);
      for (const closed of [fd, 0x7fffffff])
        for (const interest of [Interest.READ, 0])
          assert.throws(
            () => loop.addHandler(closed, neverCalled, interest),
            (error: NodeJS.ErrnoException) =>
              error.code === 'EBADF' && error.message.includes(`fd ${closed}`),
          );
      assert.is(loop.metrics().handlers, 0);
    });

    test('watches nothing, hang-ups included, while the interest is 0', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const fd = sockets.ended();
      let called = 0;
      loop.addHandler(fd, () => void called++, 0);
      await nextTurn(loop);
      await nextTurn(loop);
      assert.is(called, 0);
      loop.updateHandler(fd, Interest.READ);
      await nextTurn(loop);
      assert.is(called, 1);
      loop.updateHandler(fd, 0);
      await nextTurn(loop);
      assert.is(called, 1);
      loop.removeHandler(fd);
    });
  });
}
