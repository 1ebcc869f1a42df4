import * as assert from 'uvu/assert';

import { Interest, IOLoop } from '../src/index.ts';
import { Sockets } from './support/sockets.ts';
import { suite, type TestContext } from './support/suite.ts';
import { nextTurn, passes } from './support/turns.ts';

type Warning = Error & { readonly code?: string; readonly detail?: string };

/** Collects the warnings of slow callbacks while the test runs, unprinted. */
function catchWarnings(defer: TestContext['defer']): Warning[] {
  const warnings: Warning[] = [];
  const note = (warning: Warning): void => {
    if (warning.code === 'IOLOOP_SLOW_CALLBACK') warnings.push(warning);
  };
  const printer = process.listeners('warning');
  process.removeAllListeners('warning').on('warning', note);
  defer(() => {
    process.off('warning', note);
    for (const listener of printer) process.on('warning', listener);
  });
  return warnings;
}

function loopThatWarns(defer: TestContext['defer'], slowCallbackMs: number): IOLoop {
  const loop = new IOLoop({ slowCallbackMs, current: false });
  defer(() => loop.close());
  return loop;
}

/** Blocks the thread. */
function spin(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

suite('slowCallbackMs', (test) => {
  test('warns of each kind of callback that took longer, and names it', async ({ defer }) => {
    const warnings = catchWarnings(defer);
    const loop = loopThatWarns(defer, 5);
    const fd = new Sockets(defer).ended();
    loop.addHandler(
      fd,
      function slowHandler() {
        loop.removeHandler(fd);
        spin(6);
      },
      Interest.READ,
    );
    loop.callLater(0, function slowTimer() {
      spin(6);
    });
    loop.addCallback(function slowCallback() {
      spin(6);
    });
    const waker = loop.createWaker(function slowWaker() {
      spin(6);
    });
    waker.wake();
    loop.callLater(1, () => spin(6));
    await new Promise<void>((resolve) => void loop.callLater(5, resolve));
    await passes(5);
    const messages = warnings.map(({ message }) => message);
    const about = (what: string): string[] => messages.filter((message) => message.startsWith(what));
    for (const what of [
      `handler of fd ${fd}: slowHandler took `,
      'timer: slowTimer took ',
      'callback: slowCallback took ',
      `waker of fd ${waker.fd}: slowWaker took `,
      'timer: anonymous took ',
    ])
      assert.ok(about(what).length >= 1, `${what}: ${messages}`);
    for (const message of messages) assert.ok(Number(/took ([\d.]+) ms$/.exec(message)?.[1]) >= 5, message);
    assert.ok(warnings.every(({ name }) => name === 'IOLoopWarning'));
    assert.ok(warnings.every(({ detail }) => detail === undefined));
    waker.close();
  });

  test('warns of one that throws, too', async ({ defer }) => {
    const warnings = catchWarnings(defer);
    const loop = new IOLoop({ slowCallbackMs: 5, current: false, onError: () => {} });
    defer(() => loop.close());
    loop.addCallback(function failing() {
      spin(6);
      throw new Error('slow and wrong');
    });
    await passes(5);
    assert.is(warnings.length, 1);
    assert.match(warnings[0]?.message ?? '', /^callback: failing took /);
  });

  test('warns of one whose name is no string, and the turn goes on', async ({ defer }) => {
    const warnings = catchWarnings(defer);
    const loop = loopThatWarns(defer, 1);
    let called = 0;
    const strange = Object.defineProperty(() => spin(2), 'name', { value: Symbol('strange') });
    loop.addCallback(strange);
    loop.addCallback(() => void called++);
    await nextTurn(loop);
    await passes(3);
    assert.is(called, 1);
    assert.ok(warnings.some(({ message }) => message.startsWith('callback: anonymous took ')));
  });

  test('warns of nobody when it is 0 or far away', async ({ defer }) => {
    const warnings = catchWarnings(defer);
    for (const slowCallbackMs of [0, 60_000]) {
      const loop = loopThatWarns(defer, slowCallbackMs);
      loop.addCallback(() => spin(6));
      await passes(5);
    }
    assert.equal(warnings, []);
  });

  test('tells where it was registered with IOLOOP_STACKS=1', async ({ defer }) => {
    const warnings = catchWarnings(defer);
    process.env.IOLOOP_STACKS = '1';
    defer(() => delete process.env.IOLOOP_STACKS);
    const loop = loopThatWarns(defer, 5);
    const fd = new Sockets(defer).ended();
    (function registersHandler() {
      loop.addHandler(fd, () => void (loop.removeHandler(fd) && spin(6)), Interest.READ);
    })();
    (function registersTimer() {
      loop.callLater(0, spin, 6);
    })();
    (function registersCallback() {
      loop.addCallback(spin, 6);
    })();
    (function registersWaker() {
      const waker = loop.createWaker(() => {
        waker.close();
        spin(6);
      });
      waker.wake();
    })();
    await passes(5);
    const places = warnings.map(({ detail }) => detail?.split('\n').slice(0, 2).join(' ') ?? '');
    assert.is(places.length, 4);
    for (const place of ['registersHandler', 'registersTimer', 'registersCallback', 'registersWaker'])
      assert.ok(
        places.some((text) =>
          new RegExp(`^registered at +at ${place} .*slow-callback\\.test\\.ts`).test(text),
        ),
        `${place}: ${places}`,
      );
  });
});
