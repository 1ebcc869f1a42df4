import { inspect } from 'node:util';
import * as assert from 'uvu/assert';

import { Interest, IOLoop, IOLoopError, PeriodicCallback, Waker } from '../src/index.ts';
import { suite } from './support/suite.ts';
import { neverCalled, nextTurn } from './support/turns.ts';

/** Calls `method` of `target` with whatever: TypeScript would not let a wrong argument pass. */
function call(target: object, method: string, args: readonly unknown[]): unknown {
  return Reflect.apply(Reflect.get(target, method), target, args);
}

/** Whether `error` names the argument and shows the value that it was given. */
function names(argument: string, value: unknown): (error: unknown) => boolean {
  return (error) => {
    assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'), inspect(error));
    assert.ok(error.message.startsWith(`${argument} must be `), error.message);
    const shown = inspect(value, { depth: 0, breakLength: Number.POSITIVE_INFINITY });
    assert.ok(error.message.endsWith(`, not ${shown}`), error.message);
    return true;
  };
}

const hostile = { valueOf: neverCalled, toString: neverCalled, [Symbol.toPrimitive]: neverCalled };
const notFds = [-1, 0.5, Number.NaN, Infinity, 2 ** 31, '1', null, undefined, {}, [3], 1n, true, hostile];
const notInterests = [-1, 8, 16, 256, 0.5, Number.NaN, 2 ** 32 + 1, '1', null, undefined, {}, 1n, hostile];
const notFunctions = [undefined, null, 0, 'text', {}, [], Symbol('s'), 1n];
const notMilliseconds = [Number.NaN, '1', null, {}, [], true, 1n, Symbol('s'), neverCalled, hostile];
const notObjects = [null, 1, 'text', true, 1n, Symbol('s')];
const notBooleans = [null, 0, 1, 'true', {}];

/** Method, its arguments with the place of the wrong one as undefined, that place, its name, wrong values. */
type Case = readonly [string, readonly unknown[], number, string, readonly unknown[]];
const cases: readonly Case[] = [
  ['addHandler', [0, neverCalled, 1], 0, 'fd', notFds],
  ['addHandler', [0, neverCalled, 1], 1, 'handler', notFunctions],
  ['addHandler', [0, neverCalled, 1], 2, 'interest', notInterests],
  ['updateHandler', [0, 1], 0, 'fd', notFds],
  ['updateHandler', [0, 1], 1, 'interest', notInterests],
  ['removeHandler', [0], 0, 'fd', notFds],
  ['setHandlerRef', [0, true], 0, 'fd', notFds],
  ['setHandlerRef', [0, true], 1, 'referenced', [undefined, ...notBooleans]],
  ['addCallback', [neverCalled], 0, 'callback', notFunctions],
  ['callLater', [1, neverCalled], 0, 'delayMs', [undefined, ...notMilliseconds]],
  ['callLater', [1, neverCalled], 1, 'callback', notFunctions],
  ['callAt', [1, neverCalled], 0, 'whenMs', [undefined, ...notMilliseconds]],
  ['callAt', [1, neverCalled], 1, 'callback', notFunctions],
  ['createWaker', [neverCalled], 0, 'callback', notFunctions],
  ['onStop', [neverCalled], 0, 'hook', notFunctions],
  ['runOnce', [1], 0, 'timeoutMs', notMilliseconds],
  ['close', [{}], 0, 'options', notObjects],
];

suite('wrong arguments of a loop', { drive: 'manual' }, (test) => {
  for (const [method, args, place, argument, wrongs] of cases)
    test(`are refused by ${method}(), which names ${argument} and what it was`, async ({ loop }) => {
      for (const wrong of wrongs)
        assert.throws(() => call(loop, method, args.with(place, wrong)), names(argument, wrong));
      assert.equal(loop.resources(), []);
      assert.is(loop.metrics().handlers, 0);
      assert.is(loop.runOnce(), 0);
    });

  test('are refused by close(), which then has not closed', async ({ loop }) => {
    for (const graceMs of notMilliseconds)
      assert.throws(() => call(loop, 'close', [{ graceMs }]), names('options.graceMs', graceMs));
    assert.ok(loop.fd >= 0);
  });

  test('are refused by run(), which rejects', async ({ loop }) => {
    const refusals: (readonly [readonly unknown[], string, unknown])[] = [
      ...notFunctions.map((wrong) => [[wrong], 'main', wrong] as const),
      ...notObjects.map((wrong) => [[neverCalled, wrong], 'options', wrong] as const),
      ...notMilliseconds.map(
        (wrong) => [[neverCalled, { timeoutMs: wrong }], 'options.timeoutMs', wrong] as const,
      ),
      ...[null, 1, {}, new EventTarget()].map(
        (wrong) => [[neverCalled, { signal: wrong }], 'options.signal', wrong] as const,
      ),
    ];
    for (const [args, argument, wrong] of refusals) {
      const refused = await Promise.resolve(call(loop, 'run', args)).then(
        () => undefined,
        (error: unknown) => error,
      );
      names(argument, wrong)(refused);
    }
    assert.equal(loop.resources(), []);
  });

  test('of ref(), unref() and the queries do not matter', ({ loop }) => {
    for (const method of ['ref', 'unref', 'ref', 'stop', 'resources', 'metrics', 'time', 'timeoutMs'])
      call(loop, method, [hostile]);
    assert.ok(loop.fd >= 0);
  });
});

suite('wrong options of a loop', (test) => {
  const options: readonly (readonly [string, readonly unknown[]])[] = [
    ['drive', [null, '', 'nodes', 1, {}, hostile]],
    ['current', notBooleans],
    ['maxEvents', [0, -1, 1025, 0.5, Number.NaN, Infinity, '1', null, {}, hostile]],
    ['slowCallbackMs', notMilliseconds],
    ['onError', [null, 0, 'text', {}]],
    ['memoryBudget', [0, -1, 0.5, Number.NaN, Infinity, '1', null, {}, hostile]],
  ];
  for (const [option, wrongs] of options)
    test(`are refused: ${option}`, () => {
      for (const wrong of wrongs)
        assert.throws(
          () => Reflect.construct(IOLoop, [{ current: false, [option]: wrong }]),
          names(`options.${option}`, wrong),
        );
    });

  test('are refused when they are no object', () => {
    for (const wrong of notObjects)
      assert.throws(() => Reflect.construct(IOLoop, [wrong]), names('options', wrong));
  });

  test('are refused: a backend that does not exist, with those that do', ({ defer }) => {
    const refused = (error: unknown): boolean => {
      assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_UNKNOWN_BACKEND'), inspect(error));
      for (const name of IOLoop.backends) assert.ok(error.message.includes(name));
      return true;
    };
    for (const wrong of ['', 'EPOLL', 'iocp', 'epoll ', null, 1, 1n, {}, [], Symbol('epoll'), hostile])
      assert.throws(() => Reflect.construct(IOLoop, [{ current: false, backend: wrong }]), refused);
    const before = process.env.IOLOOP_BACKEND;
    defer(() => {
      if (before === undefined) delete process.env.IOLOOP_BACKEND;
      else process.env.IOLOOP_BACKEND = before;
    });
    process.env.IOLOOP_BACKEND = 'uring';
    for (const backend of [undefined, 'auto'])
      assert.throws(() => Reflect.construct(IOLoop, [{ current: false, backend }]), refused);
  });
});

suite('wrong arguments beside the loop', (test) => {
  test('are refused by a timer, a waker and a periodic callback', async ({ loop }) => {
    const timer = loop.callLater(1e6, neverCalled);
    for (const wrong of [undefined, ...notMilliseconds])
      assert.throws(() => call(timer, 'reschedule', [wrong]), names('delayMs', wrong));
    assert.is(timer.active, true);
    timer.cancel();
    for (const wrong of [0, -1, 0.5, 2 ** 32, '1', null, undefined, {}])
      assert.throws(() => call(Waker, 'from', [{ wakerId: wrong }]), names('handle.wakerId', wrong));
    for (const wrong of notObjects) assert.throws(() => call(Waker, 'from', [wrong]), names('handle', wrong));
    assert.is(Waker.from({ wakerId: 0xffffffff }).wake(), false);
    for (const wrong of notFunctions)
      assert.throws(() => Reflect.construct(PeriodicCallback, [wrong, 1]), names('callback', wrong));
    for (const wrong of [undefined, ...notMilliseconds, 0, -1, Infinity])
      assert.throws(
        () => Reflect.construct(PeriodicCallback, [neverCalled, wrong]),
        names('periodMs', wrong),
      );
    await nextTurn(loop);
  });
});

suite('a closed loop', (test) => {
  test('refuses what it cannot do any more, by name', async ({ loop }) => {
    const timer = loop.callLater(1e6, neverCalled);
    await loop.close();
    const refused: Record<string, readonly unknown[]> = {
      addHandler: [0, neverCalled, Interest.READ],
      updateHandler: [0, 1],
      setHandlerRef: [0, true],
      addCallback: [neverCalled],
      callLater: [1, neverCalled],
      callAt: [1, neverCalled],
      createWaker: [neverCalled],
      start: [],
      onStop: [neverCalled],
      runOnce: [],
    };
    for (const [method, args] of Object.entries(refused))
      assert.throws(
        () => call(loop, method, args),
        (error: unknown) =>
          IOLoopError.is(error, 'ERR_IOLOOP_CLOSED') && error.message.includes(`${method}()`),
        method,
      );
    assert.throws(() => timer.reschedule(1), /closed/);
  });

  test('answers what asks for nothing', async ({ loop }) => {
    const begunMs = loop.time();
    const timer = loop.callLater(1e6, neverCalled);
    await loop.close();
    timer.cancel();
    timer.ref().unref();
    assert.is(timer.active, false);
    assert.is(loop.fd, -1);
    assert.is(loop.timeoutMs(), Number.POSITIVE_INFINITY);
    assert.is(loop.removeHandler(0), false);
    assert.ok(loop.time() >= begunMs);
    assert.equal(loop.resources(), []);
    assert.is(loop.ref().unref(), loop);
    loop.stop();
    await loop.close();
    await loop[Symbol.asyncDispose]();
  });
});
