import * as assert from 'uvu/assert';

import { Interest, IOLoop } from '../../src/index.ts';
import { drain, poke, Sockets } from '../support/sockets.ts';
import { suite } from '../support/suite.ts';
import { nextTurn, passes, turnsIn } from '../support/turns.ts';

/** A promise and its resolver. */
function gate(): { opened: Promise<void>; open: () => void } {
  let open: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

for (const backend of IOLoop.backends) {
  suite(`a handler's promise on ${backend}`, { backend }, (test) => {
    test('pauses its descriptor until it settles, and no other', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [fd, far] = sockets.pair();
      const [other, farOther] = sockets.pair();
      const { opened, open } = gate();
      let called = 0;
      const heard: number[] = [];
      loop.addHandler(fd, () => (called++ === 0 ? opened : void drain(fd)), Interest.READ);
      loop.addHandler(other, () => void heard.push(drain(other)), Interest.READ);
      poke(far);
      await passes(5);
      assert.is(called, 1);
      assert.ok((await turnsIn(100, loop)) <= 3);
      poke(farOther);
      await passes(5);
      assert.equal(heard, [1]);
      assert.is(called, 1);
      open();
      await passes(5);
      assert.is(called, 2);
      loop.removeHandler(fd);
      loop.removeHandler(other);
    });

    test('resumes its descriptor when it rejects, and the error is told once', async ({ defer }) => {
      const reported: unknown[] = [];
      const loop = new IOLoop({ backend, current: false, onError: (error) => void reported.push(error) });
      defer(() => loop.close());
      const fd = new Sockets(defer).ended();
      let called = 0;
      const handler = async (): Promise<void> => {
        if (++called === 3) loop.removeHandler(fd);
        await passes(2);
        throw called;
      };
      loop.addHandler(fd, handler, Interest.READ);
      await passes(30);
      assert.equal(reported, [1, 2, 3]);
    });

    test('costs no change of the interest when it settles within the turn', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [fd, far] = sockets.pair();
      const tallies: number[] = [];
      for (const handler of [
        () => void drain(fd),
        async () => void drain(fd),
        async () => {
          for (let step = 0; step < 20; step++) await null;
          drain(fd);
        },
      ]) {
        loop.addHandler(fd, handler, Interest.READ);
        await passes(3);
        const before = loop.metrics();
        for (let round = 0; round < 50; round++) {
          poke(far);
          await passes(2);
        }
        const after = loop.metrics();
        assert.is(after.events - before.events, 50);
        // Waiting takes one call a turn; all others were made for the interest.
        tallies.push(after.systemCalls - before.systemCalls - (after.polls - before.polls));
        loop.removeHandler(fd);
      }
      assert.equal(tallies, [0, 0, 0]);
    });

    test('costs two changes of the interest when it settles later', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [fd, far] = sockets.pair();
      const handler = async (): Promise<void> => {
        await passes(1);
        drain(fd);
      };
      loop.addHandler(fd, handler, Interest.READ);
      await passes(3);
      const before = loop.metrics();
      for (let round = 0; round < 10; round++) {
        poke(far);
        await passes(6);
      }
      const after = loop.metrics();
      assert.is(after.events - before.events, 10);
      assert.is(after.systemCalls - before.systemCalls - (after.polls - before.polls), 20);
      loop.removeHandler(fd);
    });

    test('lets the interest be changed meanwhile, for when it has settled', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [fd, far] = sockets.pair();
      const { opened, open } = gate();
      const seen: number[] = [];
      loop.addHandler(
        fd,
        (_, events) => {
          seen.push(events);
          if (seen.length > 1) loop.updateHandler(fd, 0);
          return seen.length === 1 ? opened : undefined;
        },
        Interest.READ,
      );
      poke(far);
      await passes(5);
      loop.updateHandler(fd, Interest.WRITE);
      await passes(5);
      assert.equal(seen, [Interest.READ]);
      open();
      await passes(5);
      assert.equal(seen, [Interest.READ, Interest.WRITE]);
      loop.removeHandler(fd);
    });

    test('lets an interest be refused meanwhile, as at any time', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [fd, far] = sockets.pair();
      const { opened, open } = gate();
      let called = 0;
      loop.addHandler(fd, () => (++called === 1 ? opened : void loop.removeHandler(fd)), Interest.READ);
      poke(far);
      await passes(5);
      const impossible = Interest.READ | Interest.EXCLUSIVE | Interest.ONESHOT;
      assert.throws(() => loop.updateHandler(fd, impossible), /EINVAL|ENOTSUP|EOPNOTSUPP/);
      await passes(5);
      assert.is(called, 1);
      open();
      await passes(5);
      assert.is(called, 2);
    });

    test('lets the handler be removed meanwhile, and a new one is not paused', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [fd, far] = sockets.pair();
      const { opened, open } = gate();
      loop.addHandler(fd, () => opened, Interest.READ);
      poke(far);
      await passes(5);
      assert.is(loop.removeHandler(fd), true);
      const heard: number[] = [];
      loop.addHandler(fd, () => void heard.push(drain(fd)), Interest.READ);
      await passes(3);
      assert.equal(heard, [1]);
      open();
      poke(far);
      await passes(3);
      assert.equal(heard, [1, 1]);
      loop.removeHandler(fd);
    });

    test('says that its descriptor was closed meanwhile and never removed', async ({ defer }) => {
      const reported: unknown[] = [];
      const loop = new IOLoop({ backend, current: false, onError: (error) => void reported.push(error) });
      defer(() => loop.close());
      const sockets = new Sockets(defer);
      const fd = sockets.ended();
      const { opened, open } = gate();
      loop.addHandler(fd, () => opened, Interest.READ);
      await passes(5);
      sockets.close(fd);
      open();
      await passes(5);
      assert.is(reported.length, 1);
      assert.match(`${reported[0]}`, new RegExp(`EBADF.*fd ${fd}`));
      assert.is(loop.removeHandler(fd), true);
    });

    test('does not keep it from being removed while it was closed by its handler', async ({
      loop,
      defer,
    }) => {
      const sockets = new Sockets(defer);
      const [fd] = sockets.pair();
      const { opened, open } = gate();
      loop.addHandler(
        fd,
        () => {
          sockets.close(fd);
          return opened;
        },
        Interest.WRITE,
      );
      await nextTurn(loop);
      await passes(3);
      open();
      assert.is(loop.removeHandler(fd), true);
      assert.ok((await turnsIn(100, loop)) <= 3);
    });
  });
}
