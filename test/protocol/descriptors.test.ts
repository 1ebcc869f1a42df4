import * as assert from 'uvu/assert';

import { IOLoop, IOLoopError, SystemError } from '../../src/index.ts';
import {
  addReader,
  addWriter,
  ConnectionDone,
  ConnectionLost,
  getReaders,
  getWriters,
  type Reason,
  removeAll,
  removeReader,
  removeWriter,
} from '../../src/protocol/index.ts';
import { recv } from '../../src/raw.ts';
import { Arrivals } from '../support/datagrams.ts';
import { drain, poke, Sockets } from '../support/sockets.ts';
import { suite } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

/** An object with a descriptor, that notes what it is told. */
class Noting {
  fd: number;
  readonly events = new Arrivals<string>();
  readonly reasons: Reason[] = [];
  /** What doRead() and doWrite() do. */
  read: () => Error | undefined = () => undefined;
  write: () => Error | undefined = () => undefined;

  constructor(fd: number) {
    this.fd = fd;
  }

  fileno(): number {
    return this.fd;
  }

  doRead(): Error | undefined {
    this.events.add('read');
    return this.read();
  }

  doWrite(): Error | undefined {
    this.events.add('write');
    return this.write();
  }

  connectionLost(reason: Reason): void {
    this.reasons.push(reason);
    this.events.add('lost');
  }

  logPrefix(): string {
    return 'a noting object';
  }
}

/** One that reads what comes, once, and then is done with that. */
function readOnce(noting: Noting, loop: IOLoop): void {
  noting.read = () => {
    drain(noting.fd);
    removeReader(noting, loop);
    return undefined;
  };
}

/** One that only goes on reading. */
function halfCloseable(fd: number): Noting & { readonly halves: ConnectionDone[] } {
  const halves: ConnectionDone[] = [];
  const readConnectionLost = (reason: ConnectionDone): void => void halves.push(reason);
  return Object.assign(new Noting(fd), { halves, readConnectionLost });
}

for (const backend of IOLoop.backends) {
  suite(`readers and writers on ${backend}`, { backend }, (test) => {
    test('are told while they are ready, each of its own', async ({ loop, defer }) => {
      const [near, far] = new Sockets(defer).pair();
      const noting = new Noting(near);
      readOnce(noting, loop);
      noting.write = () => {
        removeWriter(noting);
        poke(far);
        return undefined;
      };
      addReader(noting);
      addWriter(noting);
      assert.equal([getReaders(), getWriters()], [[noting], [noting]]);
      assert.equal(await noting.events.first(2, 'calls'), ['write', 'read']);
      assert.equal([getReaders(), getWriters(), loop.resources()], [[], [], []]);
      poke(far);
      await nextTurn(loop);
      assert.equal(noting.events.all, ['write', 'read']);
    });

    test('are told again what they leave unread', async ({ loop, defer }) => {
      const [near, far] = new Sockets(defer).pair();
      const noting = new Noting(near);
      noting.read = () => (noting.events.all.length === 3 ? new ConnectionDone() : undefined);
      addReader(noting, loop);
      poke(far);
      assert.equal(await noting.events.first(4, 'calls'), ['read', 'read', 'read', 'lost']);
    });

    test('may be added twice, and removed twice, without effect', async ({ loop, defer }) => {
      const [near, far] = new Sockets(defer).pair();
      const noting = new Noting(near);
      readOnce(noting, loop);
      for (let i = 0; i < 2; i++) {
        addReader(noting, loop);
        addWriter(noting, loop);
      }
      assert.equal([getReaders(loop), getWriters(loop)], [[noting], [noting]]);
      removeWriter(noting, loop);
      removeWriter(noting, loop);
      poke(far);
      await noting.events.first(1, 'call');
      removeReader(noting, loop);
      await nextTurn(loop);
      assert.equal(noting.events.all, ['read']);
    });

    test('may be added again by another: they are told in the same turn', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const notings = [new Noting(sockets.ended()), new Noting(sockets.ended())];
      for (const noting of notings) {
        noting.read = () => {
          for (const other of notings.filter((one) => one.events.all.length === 0)) addReader(other, loop);
          removeReader(noting, loop);
          return undefined;
        };
        addReader(noting, loop);
      }
      for (const { events } of notings) assert.equal(await events.first(1, 'call'), ['read']);
      assert.is(loop.metrics().staleEvents, 0);
    });

    test('are two objects at one descriptor, if they are', async ({ loop, defer }) => {
      const [near, far] = new Sockets(defer).pair();
      const [reader, writer] = [new Noting(near), new Noting(near)];
      readOnce(reader, loop);
      writer.write = () => new ConnectionDone();
      addReader(reader, loop);
      addWriter(writer, loop);
      await writer.events.first(2, 'calls');
      poke(far);
      await reader.events.first(1, 'call');
      assert.equal([reader.events.all, writer.events.all], [['read'], ['write', 'lost']]);
    });

    test('do not take the place of another', ({ loop, defer }) => {
      const [near] = new Sockets(defer).pair();
      const [first, second] = [new Noting(near), new Noting(near)];
      addReader(first, loop);
      addWriter(first, loop);
      const isTaken = (error: unknown): boolean => error instanceof SystemError && error.code === 'EEXIST';
      assert.throws(() => addReader(second, loop), isTaken);
      assert.throws(() => addWriter(second, loop), isTaken);
      assert.throws(() => loop.addHandler(near, () => {}, 1), isTaken);
      assert.equal([getReaders(loop), getWriters(loop)], [[first], [first]]);
      removeReader(second, loop);
      assert.equal(removeAll(loop), [first]);
    });

    test('are told no more when another has removed them in the same turn', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const notings = Array.from({ length: 5 }, () => new Noting(sockets.ended()));
      for (const noting of notings) {
        noting.read = () => {
          assert.equal(new Set(removeAll(loop)), new Set(notings));
          return undefined;
        };
        noting.write = noting.read;
        addReader(noting, loop);
        addWriter(noting, loop);
      }
      await Promise.race(notings.map(({ events }) => events.first(1, 'call')));
      await nextTurn(loop);
      assert.is(notings.flatMap(({ events }) => events.all).length, 1);
      assert.is(notings.flatMap(({ reasons }) => reasons).length, 0);
    });

    test('are told no more when their own doRead() removes the writer', async ({ loop, defer }) => {
      const [near, far] = new Sockets(defer).pair();
      const noting = new Noting(near);
      noting.read = () => {
        removeAll(loop);
        return undefined;
      };
      poke(far);
      addReader(noting, loop);
      addWriter(noting, loop);
      await noting.events.first(1, 'call');
      await nextTurn(loop);
      assert.equal(noting.events.all, ['read']);
    });

    test('are refused when they are none', ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [near] = sockets.pair();
      const isInvalid = (error: unknown): boolean => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT');
      const { doRead: _, ...half } = { fileno: () => near, connectionLost() {}, doRead() {} };
      // @ts-expect-error for those who have no compiler
      assert.throws(() => addReader(half, loop), isInvalid);
      // @ts-expect-error likewise
      assert.throws(() => addWriter(near, loop), isInvalid);
      assert.throws(() => addReader(new Noting(-1), loop), isInvalid);
      // @ts-expect-error likewise
      assert.throws(() => addReader(new Noting(near), 'loop'), isInvalid);
      sockets.close(near);
      assert.throws(
        () => addReader(new Noting(near), loop),
        (error: unknown) => error instanceof SystemError && error.code === 'EBADF',
      );
      assert.equal([getReaders(loop), getWriters(loop)], [[], []]);
    });
  });

  suite(`the end of readers and writers on ${backend}`, { backend }, (test) => {
    for (const how of ['doRead', 'doWrite'] as const) {
      const add = (noting: Noting, end: () => Error | undefined, loop: IOLoop): void => {
        if (how === 'doRead') noting.read = end;
        else noting.write = end;
        addReader(noting, loop);
        addWriter(noting, loop);
      };

      test(`is what ${how}() returns, told once, and ends both`, async ({ loop, defer }) => {
        const [near, far] = new Sockets(defer).pair();
        for (const reason of [new ConnectionDone(), new ConnectionLost()]) {
          const noting = new Noting(near);
          if (how === 'doRead') poke(far);
          add(noting, () => reason, loop);
          await within(2_000, until(noting, 'lost'), 'the end');
          await nextTurn(loop);
          assert.equal(noting.reasons, [reason]);
          assert.is(noting.reasons[0], reason);
          assert.equal([getReaders(loop), getWriters(loop)], [[], []]);
        }
      });

      test(`has what ${how}() returns for its cause, if that is another error`, async ({ loop, defer }) => {
        const [near, far] = new Sockets(defer).pair();
        const noting = new Noting(near);
        const error = new SystemError(-104, 'recv');
        poke(far);
        add(noting, () => error, loop);
        await within(2_000, until(noting, 'lost'), 'the end');
        const [reason] = noting.reasons;
        assert.ok(reason instanceof ConnectionLost && reason.cause === error);
      });

      test(`is what ${how}() throws, which the loop is told as well`, async ({ defer }) => {
        const told: unknown[] = [];
        const loop = new IOLoop({ backend, onError: (error) => void told.push(error) });
        defer(() => loop.close());
        const [near, far] = new Sockets(defer).pair();
        const noting = new Noting(near);
        const error = new Error('thrown');
        poke(far);
        const fail = (): never => {
          throw error;
        };
        add(noting, fail, loop);
        await within(2_000, until(noting, 'lost'), 'the end');
        await nextTurn(loop);
        const [reason, ...more] = noting.reasons;
        assert.ok(reason instanceof ConnectionLost && reason.cause === error);
        assert.equal([more.length, told], [0, [error]]);
      });
    }

    test('leaves the writing to who has readConnectionLost()', async ({ loop, defer }) => {
      const noting = halfCloseable(new Sockets(defer).ended());
      const done = new ConnectionDone();
      noting.read = () => (recv(noting.fd, Buffer.alloc(1)) === 0 ? done : undefined);
      addReader(noting, loop);
      await within(2_000, until(noting, 'read'), 'the end of reading');
      assert.equal([noting.halves, noting.reasons, getReaders(loop)], [[done], [], []]);
      noting.write = () => new ConnectionLost();
      addWriter(noting, loop);
      await within(2_000, until(noting, 'lost'), 'the end');
      assert.equal(noting.halves, [done]);
    });

    for (const number of ['-1', 'another'] as const)
      test(`is told to who has ${number} for its number`, async ({ loop, defer }) => {
        const sockets = new Sockets(defer);
        const [near, far] = sockets.pair();
        const noting = new Noting(near);
        addReader(noting, loop);
        addWriter(noting, loop);
        noting.fd = number === '-1' ? -1 : far;
        assert.equal(await noting.events.first(1, 'call'), ['lost']);
        const [reason] = noting.reasons;
        assert.ok(reason instanceof ConnectionLost);
        assert.match(reason.message, 'a noting object');
        assert.equal([getReaders(loop), getWriters(loop)], [[], []]);
      });

    test('comes to who has lost its number to another', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [near] = sockets.pair();
      const old = new Noting(near);
      addReader(old, loop);
      sockets.close(near);
      old.fd = -1;
      const [fd, far] = sockets.pairAt(near);
      const noting = new Noting(fd);
      readOnce(noting, loop);
      addReader(noting, loop);
      poke(far);
      await noting.events.first(1, 'call');
      assert.equal(await old.events.first(1, 'call'), ['lost']);
      assert.equal(noting.events.all, ['read']);
    });

    test('comes to a writer whose peer has left, even if it does not notice', async ({ loop, defer }) => {
      const noting = new Noting(new Sockets(defer).ended());
      addWriter(noting, loop);
      if (loop.backend === 'select') noting.write = () => new ConnectionLost();
      await within(2_000, until(noting, 'lost'), 'the end');
      assert.ok(noting.reasons[0] instanceof ConnectionLost);
      assert.is(noting.reasons.length, 1);
    });

    test('may throw, and the loop is told', async ({ defer }) => {
      const told = new Arrivals<unknown>();
      const loop = new IOLoop({ backend, onError: told.add });
      defer(() => loop.close());
      const noting = new Noting(new Sockets(defer).ended());
      const error = new Error('thrown at the end');
      noting.read = () => new ConnectionDone();
      noting.connectionLost = () => {
        throw error;
      };
      addReader(noting, loop);
      assert.equal(await told.first(1, 'error'), [error]);
      assert.equal(getReaders(loop), []);
    });

    test('comes exactly once, whatever ends it, on numbers that come again', async ({ defer }) => {
      const told: unknown[] = [];
      const loop = new IOLoop({ backend, onError: (error) => void told.push(error) });
      defer(() => loop.close());
      const sockets = new Sockets(defer);
      const rounds = count(300, 9_999);
      for (let round = 0; round < rounds; round++) {
        const [near, far] = sockets.pair();
        const noting = new Noting(near);
        const end = (): Error => {
          if (round % 3 === 0) throw new Error('thrown');
          return round % 3 === 1 ? new ConnectionDone() : new Error('returned');
        };
        if (round % 2 === 0) noting.read = end;
        else noting.write = end;
        poke(far);
        addReader(noting, loop);
        if (round % 5 !== 0 || round % 2 === 1) addWriter(noting, loop);
        await within(2_000, until(noting, 'lost'), 'the end');
        sockets.close(near);
        sockets.close(far);
        assert.is(noting.reasons.length, 1);
      }
      assert.is(told.length, rounds / 3);
      assert.equal([getReaders(loop), getWriters(loop)], [[], []]);
    });
  });
}

/** Settles when `event` has happened to `noting`. */
async function until(noting: Noting, event: string): Promise<void> {
  while (!noting.events.all.includes(event)) await noting.events.first(noting.events.all.length + 1, 'calls');
}
