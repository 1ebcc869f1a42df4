import * as assert from 'uvu/assert';

import { IOLoopError } from '../../src/index.ts';
import { listenFds } from '../../src/net/listen-fds.ts';
import { suite, type TestContext } from '../support/suite.ts';

const PID = String(process.pid);
const NAMES = ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES'] as const;

/** Gives this process what a service manager would, for the test. */
function inherit(defer: TestContext['defer'], ...values: (string | undefined)[]): void {
  for (const [place, name] of NAMES.entries()) {
    const value = values[place];
    if (value !== undefined) process.env[name] = value;
    defer(() => delete process.env[name]);
  }
}

suite('listenFds', (test) => {
  test('tells the descriptors from 3 on, with their names', ({ defer }) => {
    inherit(defer, PID, '2', 'http:admin');
    const expected = [
      { fd: 3, name: 'http' },
      { fd: 4, name: 'admin' },
    ];
    assert.equal(listenFds(), expected);
    assert.equal(listenFds(), expected);
  });

  test('tells those without names, too', ({ defer }) => {
    inherit(defer, PID, '1');
    assert.equal(listenFds(), [{ fd: 3, name: 'unknown' }]);
  });

  test('takes the variables away when it is asked to', ({ defer }) => {
    inherit(defer, PID, '1', 'http');
    assert.is(listenFds({ unset: true }).length, 1);
    assert.equal(
      NAMES.map((name) => process.env[name]),
      [undefined, undefined, undefined],
    );
    assert.equal(listenFds(), []);
  });

  test('finds none where nothing was handed over, or to another process', ({ defer }) => {
    assert.equal(listenFds(), []);
    inherit(defer, String(process.ppid), '3');
    assert.equal(listenFds(), []);
  });

  for (const values of [
    [PID, 'three'],
    [PID, '-1'],
    [PID, '99999999999'],
    [PID, '2', 'http'],
    [PID, '1', 'http:admin'],
  ])
    test(`refuses ${values.slice(1).join(' descriptors named ')}`, ({ defer }) => {
      inherit(defer, ...values);
      assert.throws(listenFds, (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'));
    });
});
