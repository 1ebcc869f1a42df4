import * as assert from 'uvu/assert';

import { Interest, IOLoop, IOLoopError, TimeoutError } from '../src/index.ts';
import { startWorker } from './support/package.ts';
import { Sockets } from './support/sockets.ts';
import { suite } from './support/suite.ts';
import { passes } from './support/turns.ts';
import { within } from './support/within.ts';

/** Whether `promise` has settled by the time Node's loop went round a few times. */
async function hasSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const note = (): void => {
    settled = true;
  };
  promise.then(note, note);
  await passes(5);
  return settled;
}

/** What `promise` rejects with. */
async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await within(5_000, promise, 'the rejection');
  } catch (error) {
    return error;
  }
  throw new Error('it did not reject');
}

suite('start() and stop()', (test) => {
  test('settles after stop() in a handler, a timer, a callback or outside', async ({ loop, defer }) => {
    const fd = new Sockets(defer).ended();
    const stoppers: (() => unknown)[] = [
      () => loop.addHandler(fd, () => void (loop.removeHandler(fd) && loop.stop()), Interest.READ),
      () => loop.callLater(1, () => loop.stop()),
      () => loop.addCallback(() => loop.stop()),
      () => loop.stop(),
      () => setTimeout(() => loop.stop(), 1),
    ];
    for (const stopLater of stoppers) {
      const started = loop.start();
      assert.is(await hasSettled(started), false);
      stopLater();
      await within(5_000, started, 'the end of start()');
    }
  });

  test('settles after stop() in the callback of a waker that another thread wakes', async ({ loop }) => {
    const waker = loop.createWaker(() => loop.stop());
    const thread = startWorker('ioloop.Waker.from(workerData).wake();', { workerData: waker.handle });
    const left = new Promise((resolve) => thread.once('exit', resolve));
    await within(9_000, loop.start(), 'the end of start()');
    await left;
    waker.close();
  });

  test('settles at once when stop() came before it, and only then', async ({ loop }) => {
    loop.stop();
    loop.stop();
    await within(5_000, loop.start(), 'the end of the first start()');
    const second = loop.start();
    assert.is(await hasSettled(second), false);
    loop.stop();
    await within(5_000, second, 'the end of the second start()');
  });

  test('settles every start() that waits', async ({ loop }) => {
    const all = [loop.start(), loop.start(), loop.start()];
    loop.stop();
    await within(5_000, Promise.all(all), 'the end of all');
  });

  test('settles after the turn that stopped it', async ({ loop }) => {
    const order: string[] = [];
    const started = loop.start().then(() => void order.push('started'));
    loop.addCallback(() => loop.stop());
    loop.addCallback(() => void order.push('same turn'));
    await within(5_000, started, 'the end of start()');
    assert.equal(order, ['same turn', 'started']);
  });

  test('keeps handlers and timers over stop()', async ({ loop, defer }) => {
    const fd = new Sockets(defer).ended();
    let told = 0;
    loop.addHandler(fd, () => void told++, Interest.READ);
    const started = loop.start();
    loop.stop();
    await within(5_000, started, 'the end of start()');
    const before = told;
    await passes(5);
    assert.ok(told > before);
    loop.removeHandler(fd);
  });

  test('settles when the loop is closed', async ({ loop }) => {
    const started = loop.start();
    await loop.close();
    await within(5_000, started, 'the end of start()');
  });

  test('stop() of a closed loop does nothing', async ({ loop }) => {
    await loop.close();
    loop.stop();
    assert.throws(
      () => loop.start(),
      (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_CLOSED'),
    );
  });
});

suite('onStop()', (test) => {
  test('hooks run before start() settles, awaited, the last added first, each once', async ({ loop }) => {
    const order: string[] = [];
    for (const name of ['first', 'second', 'third'])
      loop.onStop(async () => {
        order.push(`${name} begins`);
        await passes(2);
        order.push(`${name} ends`);
      });
    for (let round = 0; round < 2; round++) {
      const started = loop.start().then(() => order.push('started'));
      loop.stop();
      await within(5_000, started, 'the end of start()');
    }
    const hooks = ['third', 'second', 'first'].flatMap((name) => [`${name} begins`, `${name} ends`]);
    assert.equal(order, [...hooks, 'started', 'started']);
  });

  test('start() keeps the process alive while hooks run, and is listed as what does', async ({ loop }) => {
    const listed: unknown[] = [];
    loop.onStop(async () => {
      await passes(1);
      listed.push(...loop.resources());
    });
    const started = loop.start();
    loop.stop();
    await within(5_000, started, 'the end of start()');
    assert.equal(listed, [{ kind: 'start', fd: -1, referenced: true }]);
    assert.equal(loop.resources(), []);
  });

  test('hooks that fail are reported, and the others run', async ({ defer }) => {
    const reported: unknown[] = [];
    const loop = new IOLoop({ current: false, onError: (error) => void reported.push(error) });
    defer(() => loop.close());
    const ran: string[] = [];
    loop.onStop(() => void ran.push('first'));
    loop.onStop(() => {
      throw 'thrown';
    });
    loop.onStop(() => Promise.reject('rejected'));
    const started = loop.start();
    loop.stop();
    await within(5_000, started, 'the end of start()');
    await passes(3);
    assert.equal(ran, ['first']);
    assert.equal(reported, ['rejected', 'thrown']);
  });

  test('a stop() while the hooks run does not stop the next start()', async ({ loop }) => {
    loop.onStop(async () => {
      loop.stop();
      await passes(1);
      loop.stop();
    });
    const first = loop.start();
    loop.stop();
    await within(5_000, first, 'the end of the first start()');
    const second = loop.start();
    assert.is(await hasSettled(second), false);
    loop.stop();
    await within(5_000, second, 'the end of the second start()');
  });

  test('hooks may close the loop', async ({ loop }) => {
    loop.onStop(() => loop.close());
    const started = loop.start();
    loop.stop();
    await within(5_000, started, 'the end of start()');
    assert.is(loop.fd, -1);
  });
});

suite('run()', (test) => {
  test('returns what main returns, in a promise or not', async ({ loop }) => {
    assert.is(await loop.run(() => 'plain'), 'plain');
    assert.is(await loop.run(() => passes(2).then(() => 'awaited')), 'awaited');
    assert.equal(loop.resources(), []);
  });

  test('rejects with what main throws, or rejects with', async ({ loop }) => {
    const error = new Error('of main');
    const throwing = (): never => {
      throw error;
    };
    assert.is(await rejection(loop.run(throwing)), error);
    assert.is(await rejection(loop.run(async () => throwing())), error);
    assert.equal(loop.resources(), []);
  });

  test('gives up after timeoutMs, not before', async ({ loop }) => {
    for (const timeoutMs of [0, 1.5, 20, -1, Number.NEGATIVE_INFINITY]) {
      const begunMs = loop.time();
      const error = await rejection(loop.run(() => new Promise(() => {}), { timeoutMs }));
      assert.ok(error instanceof TimeoutError && error.code === 'ERR_IOLOOP_TIMEOUT');
      assert.ok(loop.time() - begunMs >= timeoutMs);
    }
    assert.equal(loop.resources(), []);
    assert.is(await loop.run(() => 'in time', { timeoutMs: 60_000 }), 'in time');
    assert.is(await loop.run(() => 'in time', { timeoutMs: Number.POSITIVE_INFINITY }), 'in time');
    assert.is(loop.metrics().timers, 0);
  });

  test('gives up when its signal is aborted, and does not begin when it was', async ({ loop }) => {
    const reason = new Error('of the signal');
    const controller = new AbortController();
    let begun = 0;
    const forever = (): Promise<never> => {
      begun++;
      return new Promise(() => {});
    };
    const waiting = loop.run(forever, { signal: controller.signal });
    controller.abort(reason);
    for (const run of [waiting, loop.run(forever, { signal: controller.signal })]) {
      const error = await rejection(run);
      assert.ok(error instanceof Error);
      assert.is(error.name, 'AbortError');
      assert.is(error.cause, reason);
    }
    assert.is(begun, 1);
    assert.equal(loop.resources(), []);
  });

  test('leaves no rejection behind when main fails after the waiting ended', async ({ loop }) => {
    let fail: (error: unknown) => void = () => {};
    const main = new Promise<void>((_, reject) => {
      fail = reject;
    });
    assert.ok(TimeoutError.is(await rejection(loop.run(() => main, { timeoutMs: 1 }))));
    fail(new Error('too late to matter'));
    await passes(3);
  });

  test('leaves no rejection behind when main ends the waiting itself, then throws', async ({ loop }) => {
    const controller = new AbortController();
    const error = new Error('thrown');
    const main = (): never => {
      controller.abort();
      throw error;
    };
    assert.is(await rejection(loop.run(main, { signal: controller.signal })), error);
    await passes(3);
  });

  test('rejects when the loop stops or closes first', async ({ loop }) => {
    const stopped = loop.run(() => new Promise(() => {}));
    loop.stop();
    assert.ok(IOLoopError.is(await rejection(stopped), 'ERR_IOLOOP_CLOSED'));
    const closed = loop.run(() => new Promise(() => {}));
    const refused = rejection(closed);
    await loop.close();
    assert.ok(IOLoopError.is(await refused, 'ERR_IOLOOP_CLOSED'));
    assert.ok(IOLoopError.is(await rejection(loop.run(() => 1)), 'ERR_IOLOOP_CLOSED'));
  });

  test('may run in itself and beside others', async ({ loop }) => {
    const nested = loop.run(() => loop.run(() => loop.run(() => passes(1).then(() => 'innermost'))));
    const beside = loop.run(() => 'beside');
    assert.equal(await Promise.all([nested, beside]), ['innermost', 'beside']);
  });
});
