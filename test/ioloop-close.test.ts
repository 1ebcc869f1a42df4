import { fstatSync } from 'node:fs';
import * as assert from 'uvu/assert';

import { Interest, IOLoop } from '../src/index.ts';
import { newFds, openFds } from './support/fds.ts';
import { drain, poke, Sockets } from './support/sockets.ts';
import { suite } from './support/suite.ts';
import { neverCalled, nextTurn, passes } from './support/turns.ts';
import { within } from './support/within.ts';

suite('close()', (test) => {
  test('drops handlers, timers, wakers and callbacks, and calls none of them', async ({ loop, defer }) => {
    const fd = new Sockets(defer).ended();
    loop.addHandler(fd, neverCalled, Interest.READ);
    loop.addCallback(neverCalled);
    loop.callLater(0, neverCalled);
    const timer = loop.callLater(1, neverCalled);
    const waker = loop.createWaker(neverCalled);
    waker.wake();
    await within(5_000, loop.close(), 'the end');
    assert.is(timer.active, false);
    assert.is(waker.wake(), false);
    assert.equal(loop.resources(), []);
    await passes(5);
    assert.ok(fstatSync(fd).isSocket());
  });

  test('closes its own descriptors and no other', async ({ defer }) => {
    for (const drive of ['node', 'manual'] as const) {
      const before = openFds();
      const loop = new IOLoop({ drive, current: false });
      defer(() => loop.close());
      loop.createWaker(neverCalled);
      assert.ok(newFds(before, openFds()).length >= 2);
      await within(5_000, loop.close(), 'the end');
      assert.equal(newFds(before, openFds()), []);
    }
  });

  test('may be called again, also before it has settled', async ({ loop }) => {
    const first = loop.close();
    assert.is(loop.close(), first);
    await within(5_000, first, 'the end');
    await within(5_000, loop.close({ graceMs: 5 }), 'the second end');
    await within(5_000, loop[Symbol.asyncDispose](), 'the third end');
  });

  test('ends a turn after the entry that called it', async ({ defer }) => {
    type Place = 'timer' | 'handler' | 'callback' | 'microtask';
    const afterwards: Record<Place, readonly string[]> = {
      timer: ['timer'],
      handler: ['timer', 'handler'],
      callback: ['timer', 'handler', 'callback'],
      microtask: ['timer', 'handler', 'callback', 'last callback'],
    };
    const sockets = new Sockets(defer);
    for (const [place, expected] of Object.entries(afterwards)) {
      for (const drive of ['node', 'manual'] as const) {
        const loop = new IOLoop({ drive, current: false });
        defer(() => loop.close());
        const fd = sockets.ended();
        const ran: string[] = [];
        const enter = (name: string): void => {
          ran.push(name);
          if (name === place) void loop.close();
        };
        loop.callLater(0, enter, 'timer');
        loop.addHandler(fd, () => void (loop.fd >= 0 && loop.removeHandler(fd) && enter('handler')), 1);
        loop.addCallback(enter, 'callback');
        if (place === 'microtask') loop.addCallback(() => queueMicrotask(() => void loop.close()));
        loop.addCallback(enter, 'last callback');
        if (drive === 'manual') loop.runOnce();
        await passes(5);
        assert.equal(ran, expected, `${place}, ${drive}`);
        assert.is(loop.fd, -1);
        sockets.close(fd);
      }
    }
  });

  test('leaves a promise of a handler alone', async ({ loop, defer }) => {
    const fd = new Sockets(defer).ended();
    let settle: () => void = () => {};
    const pending = new Promise<void>((resolve) => {
      settle = resolve;
    });
    loop.addHandler(fd, () => pending, Interest.READ);
    await passes(3);
    await loop.close();
    settle();
    await passes(3);
  });

  test('is survived by another loop that watches the same descriptors', async ({ loop, defer }) => {
    const other = new IOLoop({ current: false });
    defer(() => other.close());
    const [fd, far] = new Sockets(defer).pair();
    const heard: number[] = [];
    loop.addHandler(fd, () => void heard.push(drain(fd)), Interest.READ);
    other.addHandler(fd, neverCalled, Interest.READ);
    await other.close();
    poke(far);
    await nextTurn(loop);
    assert.equal(heard, [1]);
    loop.removeHandler(fd);
  });

  test('can be done 200 times, each with all there is in it', async ({ defer }) => {
    const sockets = new Sockets(defer);
    const fd = sockets.ended();
    const before = openFds();
    for (let round = 0; round < 200; round++) {
      const loop = new IOLoop({ drive: round % 2 === 0 ? 'node' : 'manual', current: false });
      loop.addHandler(fd, neverCalled, Interest.READ);
      loop.callLater(0, neverCalled);
      loop.createWaker(neverCalled).wake();
      loop.addCallback(neverCalled);
      await within(5_000, loop.close(), 'the end');
    }
    assert.equal(newFds(before, openFds()), []);
  });
});

suite('IOLoop.current()', (test) => {
  test('is the first loop made here until that is closed, then the next made', async () => {
    const first = new IOLoop();
    const second = new IOLoop();
    assert.is(IOLoop.current(), first);
    await second.close();
    assert.is(IOLoop.current(), first);
    await first.close();
    const made = IOLoop.current();
    assert.is.not(made, first);
    assert.is(IOLoop.current(), made);
    await made.close();
  });

  test('is never a loop made with current: false, and at once one made with current: true', async () => {
    const never = new IOLoop({ current: false });
    const first = new IOLoop();
    assert.is(IOLoop.current(), first);
    const chosen = new IOLoop({ current: true });
    assert.is(IOLoop.current(), chosen);
    await first.close();
    assert.is(IOLoop.current(), chosen);
    await chosen.close();
    const made = IOLoop.current();
    assert.is.not(made, never);
    await Promise.all([never.close(), made.close()]);
  });

  test('is the same for two copies of the package', async () => {
    const loop = new IOLoop();
    assert.is(Reflect.get(globalThis, Symbol.for('ioloop.current')), loop);
    await loop.close();
    assert.is(Reflect.get(globalThis, Symbol.for('ioloop.current')), undefined);
  });
});

suite('resources()', (test) => {
  test('lists what is registered, and whether it keeps the process alive', async ({ loop, defer }) => {
    const [fd] = new Sockets(defer).pair();
    loop.addHandler(fd, neverCalled, 0);
    const timer = loop.callLater(1e6, neverCalled);
    const waker = loop.createWaker(neverCalled);
    loop.addCallback(() => {});
    const started = loop.start();
    assert.equal(loop.resources(), [
      ...[
        { kind: 'handler', fd, referenced: true },
        { kind: 'waker', fd: waker.fd, referenced: true },
      ].sort((a, b) => a.fd - b.fd),
      { kind: 'timer', fd: -1, referenced: true },
      { kind: 'callback', fd: -1, referenced: true },
      { kind: 'start', fd: -1, referenced: true },
    ]);
    loop.setHandlerRef(fd, false);
    loop.setHandlerRef(fd, false);
    timer.unref();
    waker.unref();
    loop.stop();
    await within(5_000, started, 'the end of start()');
    await nextTurn(loop);
    assert.equal(
      loop
        .resources()
        .map(({ kind, referenced }) => `${kind} ${referenced}`)
        .sort(),
      ['handler false', 'timer false', 'waker false'],
    );
    loop.setHandlerRef(fd, true);
    assert.ok(loop.resources().some(({ kind, referenced }) => kind === 'handler' && referenced));
    loop.removeHandler(fd);
    timer.cancel();
    waker.close();
    assert.equal(loop.resources(), []);
  });
});

suite('metrics()', (test) => {
  for (const drive of ['node', 'manual'] as const)
    test(`counts what happened and what is held, with drive '${drive}'`, async ({ defer }) => {
      const loop = new IOLoop({ drive, current: false });
      defer(() => loop.close());
      const go = drive === 'manual' ? () => void loop.runOnce() : () => passes(3);
      const [fd, far] = new Sockets(defer).pair();
      const blockMs = 5;
      loop.addHandler(fd, () => void drain(fd), Interest.READ);
      loop.callLater(0, () => {
        const end = loop.time() + blockMs;
        while (loop.time() < end);
      });
      loop.callLater(1e6, neverCalled);
      poke(far);
      const before = loop.metrics();
      assert.is(before.handlers, 1);
      assert.is(before.timers, 2);
      await go();
      const after = loop.metrics();
      assert.is(after.events - before.events, 1);
      assert.is(after.timersFired - before.timersFired, 1);
      assert.is(after.timers, 1);
      assert.ok(after.polls > before.polls);
      assert.ok(after.turns > before.turns && after.turns <= after.polls);
      assert.ok(after.wakeUps > before.wakeUps && after.wakeUps <= after.polls);
      assert.ok(after.systemCalls >= after.polls);
      assert.ok(after.busyMs - before.busyMs >= blockMs, `${after.busyMs} ms busy`);
      assert.ok(after.idleMs >= 0);
      assert.is(after.staleEvents + after.spuriousEvents, 0);
      loop.removeHandler(fd);
      assert.is(loop.metrics().handlers, 0);
    });
});
