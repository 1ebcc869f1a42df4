import { inspect } from 'node:util';
import * as assert from 'uvu/assert';

import { IOLoopError } from '../src/index.ts';
import * as raw from '../src/raw.ts';
import { EAGAIN } from '../src/raw.ts';
import { Sockets } from './support/sockets.ts';
import { suite } from './support/suite.ts';
import { neverCalled } from './support/turns.ts';

suite('wrong arguments of raw sockets', (test) => {
  /** Whether `error` names `argument` and shows `value`. */
  const names = (argument: string, value: unknown) => (error: unknown) => {
    assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'), inspect(error));
    assert.ok(error.message.startsWith(`${argument} must be `), error.message);
    assert.ok(error.message.endsWith(`, not ${inspect(value, { depth: 0 })}`), error.message);
    return true;
  };
  const call = (name: Exclude<keyof typeof raw, 'EAGAIN'>, ...args: unknown[]): unknown =>
    Reflect.apply(Reflect.get(raw, name), undefined, args);
  const notFds = [-1, 0.5, Number.NaN, 2 ** 31, '1', null, undefined, {}, 1n];
  const notBuffers = [
    null,
    undefined,
    'text',
    5,
    [1],
    {},
    new ArrayBuffer(1),
    new DataView(new ArrayBuffer(1)),
  ];
  const notObjects = [null, undefined, 1, 'text', neverCalled];

  test('are refused: descriptors', () => {
    const buffer = Buffer.alloc(1);
    for (const fd of notFds) {
      assert.throws(() => call('acceptSocket', fd), names('listener', fd));
      for (const name of ['socketAddress', 'peerAddress', 'socketError', 'shutdownFd', 'closeFd'] as const)
        assert.throws(() => call(name, fd), names('fd', fd));
      for (const name of ['recv', 'send'] as const)
        assert.throws(() => call(name, fd, buffer), names('fd', fd));
    }
  });

  test('are refused: buffers and their ranges', ({ defer }) => {
    const [fd] = new Sockets(defer).pair();
    for (const [name, argument] of [
      ['recv', 'target'],
      ['send', 'source'],
    ] as const) {
      for (const wrong of notBuffers) {
        assert.throws(() => call(name, fd, wrong), names(argument, wrong));
        assert.throws(() => call(name, fd, wrong, 0, 1), names(argument, wrong));
      }
      for (const offset of [-1, 9, 0.5, Number.NaN, '1', {}])
        assert.throws(() => call(name, fd, Buffer.alloc(8), offset, 0), names('offset', offset));
      for (const length of [-1, 7, 0.5, Number.NaN, '1', {}])
        assert.throws(() => call(name, fd, Buffer.alloc(8), 2, length), names('length', length));
    }
  });

  test('survive a buffer that was transferred away', ({ defer }) => {
    const [fd, far] = new Sockets(defer).pair();
    const gone = new Uint8Array(8);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    // It has no room: TCP says 0, and a Unix socket that there is nothing to take.
    assert.ok([0, EAGAIN].includes(raw.recv(fd, gone)));
    assert.is(raw.send(fd, gone), 0);
    assert.is(raw.recv(far, Buffer.alloc(8)), EAGAIN);
  });

  test('are refused: targets and options', () => {
    for (const name of ['listenSocket', 'connectSocket'] as const) {
      for (const wrong of notObjects)
        assert.throws(
          () => call(name, wrong),
          (error: unknown) => IOLoopError.is(error),
        );
      for (const port of [-1, 65536, 0.5, Number.NaN, '80', null, undefined, {}])
        assert.throws(() => call(name, { port }), names('options.port', port));
      for (const host of ['localhost', '', '1.2.3', '::1%', 'fe80::1%lo%lo', 5, null, {}])
        assert.throws(() => call(name, { host, port: 80 }), names('options.host', host));
      for (const path of [5, null, undefined, {}, Buffer.from('/x')])
        assert.throws(() => call(name, { path }), names('options.path', path));
    }
    for (const backlog of [-1, 0.5, '5', null, 2 ** 31])
      assert.throws(() => call('listenSocket', { port: 0, backlog }), names('options.backlog', backlog));
    for (const reusePort of [1, 'yes', null])
      assert.throws(
        () => call('listenSocket', { port: 0, reusePort }),
        names('options.reusePort', reusePort),
      );
    for (const result of [0, 1, -0.5, Number.NaN, '-11', null, undefined])
      assert.throws(() => call('toSystemError', result, 'recv'), names('result', result));
    assert.throws(() => call('toSystemError', -11, 5), names('syscall', 5));
  });
});
