import * as assert from 'uvu/assert';

import { Interest, IOLoop, IOLoopError } from '../../src/index.ts';
import { Sockets } from '../support/sockets.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { passes } from '../support/turns.ts';

/** Every way user code fails, by its name. */
const failures: Record<string, (value: unknown) => void | Promise<void>> = {
  'a throw': (value) => {
    throw value;
  },
  'a rejection': (value) => Promise.reject(value),
  'a rejection after an await': async (value) => {
    await null;
    throw value;
  },
};

/** Collects what arrives as uncaughtException while the test runs. */
function catchUncaught(defer: TestContext['defer']): unknown[] {
  const caught: unknown[] = [];
  const note = (error: unknown): void => void caught.push(error);
  process.on('uncaughtException', note);
  defer(() => process.off('uncaughtException', note));
  return caught;
}

function loopWith(backend: string, defer: TestContext['defer'], onError?: (error: unknown) => void): IOLoop {
  const loop = new IOLoop({ backend, current: false, onError });
  defer(() => loop.close());
  return loop;
}

/** Makes `each` of ten handlers, ten timers and ten callbacks run in one turn. */
function fillTurn(loop: IOLoop, sockets: Sockets, each: (index: number) => void | Promise<void>): void {
  for (let index = 0; index < 10; index++) {
    const fd = sockets.ended();
    const handler = (): void | Promise<void> => {
      loop.removeHandler(fd);
      return each(index);
    };
    loop.addHandler(fd, handler, Interest.READ);
    loop.callLater(0, each, 10 + index);
    loop.addCallback(each, 20 + index);
  }
}

const everyone = Array.from({ length: 30 }, (_, index) => index);
const ascending = (a: number, b: number): number => a - b;

for (const backend of IOLoop.backends) {
  suite(`errors of user code on ${backend}`, { backend }, (test) => {
    for (const [kind, fail] of Object.entries(failures)) {
      test(`let all others of the turn run once: ${kind}`, async ({ defer }) => {
        const reported: unknown[] = [];
        const loop = loopWith(backend, defer, (error) => void reported.push(error));
        const ran: number[] = [];
        const errors = new Map([5, 15, 25].map((index) => [index, new Error(`number ${index}`)]));
        fillTurn(loop, new Sockets(defer), (index) => {
          ran.push(index);
          const error = errors.get(index);
          return error === undefined ? undefined : fail(error);
        });
        await passes(10);
        assert.equal(ran.sort(ascending), everyone);
        assert.is(reported.length, 3);
        for (const error of errors.values()) assert.ok(reported.includes(error));
      });

      test(`are uncaught exceptions, each once, without onError: ${kind}`, async ({ defer }) => {
        const caught = catchUncaught(defer);
        const loop = loopWith(backend, defer);
        const ran: number[] = [];
        const values = [new Error('an error'), 'a string', undefined, null, 42, Object.create(null)];
        fillTurn(loop, new Sockets(defer), (index) => {
          ran.push(index);
          return index % 5 === 0 ? fail(values[index / 5]) : undefined;
        });
        await passes(10);
        assert.equal(ran.sort(ascending), everyone);
        assert.is(caught.length, values.length);
        for (const value of values) assert.ok(caught.includes(value));
      });
    }

    test('are reported after the microtasks of their turn, in the order they were thrown', async ({
      defer,
    }) => {
      const order: string[] = [];
      const loop = loopWith(backend, defer, (error) => void order.push(`${error}`));
      for (const name of ['first', 'second'])
        loop.addCallback(() => {
          queueMicrotask(() => order.push(`microtask of the ${name}`));
          throw name;
        });
      await passes(5);
      assert.equal(order, ['microtask of the first', 'microtask of the second', 'first', 'second']);
    });

    test('are uncaught exceptions when onError throws them or others, and all are reported', async ({
      defer,
    }) => {
      const caught = catchUncaught(defer);
      const seen: unknown[] = [];
      const loop = loopWith(backend, defer, (error) => {
        seen.push(error);
        throw `onError of ${error}`;
      });
      for (const name of ['first', 'second', 'third'])
        loop.addCallback(() => {
          throw name;
        });
      await passes(5);
      assert.equal(seen, ['first', 'second', 'third']);
      assert.equal(caught, ['onError of first', 'onError of second', 'onError of third']);
    });

    test('of a waker are reported like others, and it wakes again', async ({ defer }) => {
      const reported: unknown[] = [];
      const loop = loopWith(backend, defer, (error) => void reported.push(error));
      let woken = 0;
      const waker = loop.createWaker(() => {
        throw `wake ${++woken}`;
      });
      for (const wake of [1, 2]) {
        waker.wake();
        await passes(5);
        assert.is(woken, wake);
      }
      assert.equal(reported, ['wake 1', 'wake 2']);
    });

    test('reach onError when the loop is closed before a promise rejects', async ({ defer }) => {
      const reported: unknown[] = [];
      const loop = loopWith(backend, defer, (error) => void reported.push(error));
      let reject: (error: unknown) => void = () => {};
      const fd = new Sockets(defer).ended();
      const pending = new Promise<void>((_, onReject) => {
        reject = onReject;
      });
      loop.addHandler(fd, () => pending, Interest.READ);
      await passes(3);
      await loop.close();
      reject('late');
      await passes(3);
      assert.equal(reported, ['late']);
    });

    test('reach onError when their own callback closed the loop', async ({ defer }) => {
      const reported: unknown[] = [];
      const loop = loopWith(backend, defer, (error) => void reported.push(error));
      loop.addCallback(() => {
        throw 'before the close';
      });
      loop.addCallback(() => {
        void loop.close();
        throw 'after the close';
      });
      await passes(5);
      assert.equal(reported, ['before the close', 'after the close']);
    });

    test('of a promise-like that throws when it is awaited are reported once', async ({ defer }) => {
      const reported: unknown[] = [];
      const loop = loopWith(backend, defer, (error) => void reported.push(error));
      const fd = new Sockets(defer).ended();
      let called = 0;
      const hostile = {
        // biome-ignore lint/suspicious/noThenProperty: a promise-like is the subject
        then: (_: unknown, reject: (error: unknown) => void): void => {
          reject('rejected');
          throw 'thrown';
        },
      } as Promise<void>;
      loop.addHandler(fd, () => (called++ === 0 ? hostile : void loop.removeHandler(fd)), Interest.READ);
      loop.addCallback(() => hostile);
      await passes(5);
      assert.equal(reported, ['rejected', 'rejected']);
      assert.is(called, 2);
    });
  });

  suite(`a turn inside a turn on ${backend}`, { backend }, (test) => {
    test('is refused in every kind of callback, and in the microtasks of the turn', async ({ defer }) => {
      const loop = new IOLoop({ backend, drive: 'manual', current: false });
      defer(() => loop.close());
      const fd = new Sockets(defer).ended();
      const refused: string[] = [];
      const enter = (kind: string): void => {
        assert.throws(
          () => loop.runOnce(),
          (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_REENTRANT'),
        );
        refused.push(kind);
      };
      loop.callLater(0, enter, 'timer');
      loop.addHandler(fd, () => void (loop.removeHandler(fd) && enter('handler')), Interest.READ);
      loop.addCallback(enter, 'callback');
      loop.addCallback(() => process.nextTick(enter, 'tick'));
      assert.is(loop.runOnce(), 4);
      assert.equal(refused, ['timer', 'handler', 'callback', 'tick']);
      assert.is(loop.runOnce(), 0);
    });
  });
}
