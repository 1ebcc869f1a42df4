import { once } from 'node:events';
import { connect } from 'node:net';
import * as assert from 'uvu/assert';

import { Interest, IOLoop, IOLoopError } from '../src/index.ts';
import { onEmptyStack, signal } from './support/driven.ts';
import { runInProject } from './support/package.ts';
import { drain, poke, Sockets } from './support/sockets.ts';
import { suite } from './support/suite.ts';
import { neverCalled } from './support/turns.ts';
import { within } from './support/within.ts';

suite('runOnce', { drive: 'manual' }, (test) => {
  test('returns how many handlers, timers and callbacks it called', async ({ loop, defer }) => {
    const sockets = new Sockets(defer);
    const fds = [sockets.ended(), sockets.ended()];
    assert.is(loop.runOnce(), 0);
    for (const fd of fds) loop.addHandler(fd, () => void loop.removeHandler(fd), Interest.READ);
    loop.callLater(0, () => {});
    for (let i = 0; i < 4; i++) loop.addCallback(() => {});
    loop.callLater(1e6, neverCalled).unref().cancel();
    assert.is(loop.runOnce(), 7);
    assert.is(loop.runOnce(), 0);
  });

  test('called from a plain stack runs ticks and microtasks before it returns', async ({ loop }) => {
    const order = await onEmptyStack(() => {
      const seen: string[] = [];
      loop.addCallback(async () => {
        process.nextTick(() => seen.push('tick'));
        for (let i = 0; i < 50; i++) await null;
        seen.push('continuation');
      });
      assert.is(loop.runOnce(), 1);
      seen.push('returned');
      return seen;
    });
    assert.equal(order, ['tick', 'continuation', 'returned']);
  });

  test('called from within a microtask leaves continuations for the empty stack', async ({ loop }) => {
    await null;
    const seen: string[] = [];
    loop.addCallback(async () => {
      await null;
      seen.push('continuation');
    });
    assert.is(loop.runOnce(), 1);
    seen.push('returned');
    await null;
    await null;
    assert.equal(seen, ['returned', 'continuation']);
  });

  test('sleeps until its deadline, a wake or its limit, whichever comes first', async ({ loop }) => {
    await onEmptyStack(() => {
      const begin = loop.time();
      loop.callLater(20, () => {});
      let called = 0;
      while (called === 0 && loop.time() < begin + 5_000) called = loop.runOnce(5_000);
      assert.is(called, 1);
      assert.ok(loop.time() >= begin + 20);
      const waker = loop.createWaker(() => {});
      waker.wake();
      assert.is(loop.runOnce(5_000), 1);
      waker.close();
      const limited = loop.time();
      while (loop.time() < limited + 10) loop.runOnce(limited + 10 - loop.time());
      assert.ok(loop.time() < limited + 4_000, 'it came back by its limit');
    });
  });

  test('does not sleep while callbacks wait', async ({ loop }) => {
    await onEmptyStack(() => {
      let chain = 0;
      const next = (): void => {
        if (++chain < 100) loop.addCallback(next);
      };
      loop.addCallback(next);
      const begin = loop.time();
      for (let i = 0; i < 100; i++) assert.is(loop.runOnce(Number.POSITIVE_INFINITY), 1);
      assert.ok(loop.time() < begin + 5_000);
    });
  });

  test("returns early when something happens in Node's own loop", async ({ loop, defer }) => {
    const { createServer } = await import('node:net');
    const server = createServer((socket) => socket.end()).listen(0);
    defer(() => new Promise((resolve) => server.close(resolve)));
    await once(server, 'listening');
    const address = server.address();
    assert.ok(typeof address === 'object' && address !== null);
    const client = connect(address.port);
    await onEmptyStack(() => {
      const begin = loop.time();
      assert.is(loop.runOnce(60_000), 0);
      assert.ok(loop.time() < begin + 30_000);
    });
    await within(5_000, once(client.resume(), 'close'), "the end of Node's connection");
  });

  test('is refused inside a turn, in what follows it, and with drive node', async ({ loop }) => {
    const codes: string[] = [];
    const attempt = (): void => {
      try {
        loop.runOnce();
      } catch (error) {
        if (error instanceof IOLoopError) codes.push(error.code);
      }
    };
    await onEmptyStack(() => {
      loop.addCallback(() => {
        attempt();
        process.nextTick(attempt);
        queueMicrotask(attempt);
      });
      assert.is(loop.runOnce(), 1);
    });
    assert.equal(codes, Array(3).fill('ERR_IOLOOP_REENTRANT'));
    const driven = new IOLoop({ current: false });
    assert.throws(
      () => driven.runOnce(),
      (error: Error) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE'),
    );
    await driven.close();
    assert.throws(() => loop.runOnce(Number.NaN), /timeoutMs must be a number of milliseconds/);
  });

  test('may close its loop, and is refused afterwards', async ({ loop }) => {
    loop.addCallback(() => void loop.close());
    loop.addCallback(neverCalled);
    assert.is(loop.runOnce(), 1);
    assert.throws(
      () => loop.runOnce(),
      (error: Error) => IOLoopError.is(error, 'ERR_IOLOOP_CLOSED'),
    );
    assert.is(loop.timeoutMs(), Number.POSITIVE_INFINITY);
  });

  test('tells what ticks throw as uncaught exceptions, and runs the rest', async () => {
    const { stdout, stderr, code } = await runInProject(`
      import { IOLoop } from 'ioloop';
      process.on('uncaughtException', (error) => console.log('uncaught', error.message));
      const loop = new IOLoop({ drive: 'manual' });
      setImmediate(() => {
        loop.addCallback(() => {
          process.nextTick(() => { throw new Error('tick'); });
          queueMicrotask(() => { throw new Error('microtask'); });
          process.nextTick(() => console.log('second tick'));
        });
        loop.addCallback(() => { throw new Error('callback'); });
        loop.addCallback(() => console.log('second callback'));
        console.log('called', loop.runOnce());
        console.log('works on', loop.runOnce());
      });
    `);
    const lines = stdout.trimEnd().split('\n');
    assert.equal(
      lines.toSorted(),
      [
        'second callback',
        'second tick',
        'uncaught tick',
        'uncaught microtask',
        'uncaught callback',
        'called 3',
        'works on 0',
      ].toSorted(),
      stderr,
    );
    assert.ok(lines.indexOf('uncaught tick') < lines.indexOf('second tick'));
    assert.equal(lines.slice(-2), ['called 3', 'works on 0']);
    assert.is(code, 0);
  });
});

suite('timeoutMs', { drive: 'manual' }, (test) => {
  test('is 0 while work waits, the time until the next deadline, or Infinity', async ({ loop }) => {
    assert.is(loop.timeoutMs(), Number.POSITIVE_INFINITY);
    const timer = loop.callLater(5_000, neverCalled);
    assert.ok(loop.timeoutMs() > 0 && loop.timeoutMs() <= 5_000);
    loop.addCallback(() => {});
    assert.is(loop.timeoutMs(), 0);
    loop.runOnce();
    assert.ok(loop.timeoutMs() > 0);
    timer.reschedule(-1);
    assert.is(loop.timeoutMs(), 0);
    timer.cancel();
    assert.is(loop.timeoutMs(), Number.POSITIVE_INFINITY);
  });
});

for (const backend of IOLoop.backends)
  suite(`the descriptor of a ${backend} loop`, { backend, drive: 'manual' }, (test) => {
    /** Lets a loop of Node's watch it and give the turns; how many turns that were, until `done`. */
    async function watched(loop: IOLoop, done: Promise<void>): Promise<number> {
      const watcher = new IOLoop({ current: false });
      let turns = 0;
      watcher.addHandler(
        loop.fd,
        () => {
          turns++;
          loop.runOnce();
        },
        Interest.READ,
      );
      try {
        await within(10_000, done, 'the turn');
      } finally {
        await watcher.close();
      }
      return turns;
    }

    test('is readable when a deadline has come', async ({ loop }) => {
      const { promise, fire } = signal();
      const begin = loop.time();
      let came = 0;
      loop.callLater(15, () => {
        came = loop.time();
        fire();
      });
      const turns = await watched(loop, promise);
      assert.ok(came >= begin + 15);
      assert.ok(turns <= 5, `${turns} turns`);
    });

    test('is readable when a descriptor is ready, as long as it is', async ({ loop, defer }) => {
      const [near, far] = new Sockets(defer).pair();
      const { promise, fire } = signal();
      let events = 0;
      loop.addHandler(
        near,
        () => {
          if (++events < 5) return;
          drain(near);
          fire();
        },
        Interest.READ,
      );
      setImmediate(() => poke(far));
      await watched(loop, promise);
      assert.is(events, 5);
      loop.removeHandler(near);
    });

    test('is readable while callbacks wait, and when a waker was woken', async ({ loop }) => {
      const callback = signal();
      loop.addCallback(() => loop.addCallback(callback.fire));
      await watched(loop, callback.promise);
      const woken = signal();
      const waker = loop.createWaker(woken.fire);
      setImmediate(() => waker.wake());
      await watched(loop, woken.promise);
      waker.close();
    });

    test('is quiet when there is nothing to do', async ({ loop, defer }) => {
      const [near] = new Sockets(defer).pair();
      loop.addHandler(near, neverCalled, Interest.READ);
      const far = loop.callLater(1e6, neverCalled);
      loop.runOnce();
      const turns = await watched(loop, new Promise((resolve) => setTimeout(resolve, 30)));
      assert.ok(turns <= 2, `${turns} turns`);
      far.cancel();
      loop.removeHandler(near);
    });
  });
