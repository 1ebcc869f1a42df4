import * as assert from 'uvu/assert';

import { EAGAIN, recv } from '../../src/raw.ts';
import { Faults } from '../support/faults.ts';
import { poke, Sockets } from '../support/sockets.ts';
import { suite } from '../support/suite.ts';

suite('fault injection', (test) => {
  /** Which of 200 calls failed. */
  function pattern(fd: number, seed: number): string {
    const faults = new Faults(seed).fail('recv', 0.5, 'ECONNRESET');
    const byte = Buffer.alloc(1);
    let failed = '';
    for (let call = 0; call < 200; call++) failed += recv(fd, byte) === EAGAIN ? '.' : 'x';
    assert.is(faults.count('recv').calls, 200);
    assert.is(faults.count('recv', 'send').faults, failed.replaceAll('.', '').length);
    faults.remove();
    return failed;
  }

  test('comes by chance that follows from the seed', ({ defer }) => {
    const [near] = new Sockets(defer).pair();
    assert.is(pattern(near, 1), pattern(near, 1));
    assert.is.not(pattern(near, 1), pattern(near, 2));
  });

  test('ends when it is removed', ({ defer }) => {
    const [near, far] = new Sockets(defer).pair();
    const faults = new Faults(1).fail('recv', 1, 'ENOBUFS');
    poke(far);
    assert.ok(recv(near, Buffer.alloc(1)) < 0);
    faults.remove();
    assert.is(recv(near, Buffer.alloc(1)), 1);
  });

  test('knows no call that the addon does not make', ({ defer }) => {
    const faults = new Faults(1);
    defer(() => faults.remove());
    // @ts-expect-error: the types refuse it, too
    assert.throws(() => faults.shorten('recvfrom', 1), /recvfrom/);
  });
});
