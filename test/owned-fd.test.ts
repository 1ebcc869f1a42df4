import * as assert from 'uvu/assert';

import { IOLoopError, OwnedFd } from '../src/index.ts';
import { addon, closeStream } from '../src/native.ts';
import { runSource } from './support/child.ts';
import { openFds } from './support/fds.ts';
import { suite } from './support/suite.ts';

/** Whether `fd` is open. */
const isOpen = (fd: number): boolean => openFds().has(fd);
const isInvalidState = (error: unknown): boolean => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE');

suite('an owned descriptor', { limitMs: 30_000 }, (test) => {
  test('is closed once', () => {
    const owned = new OwnedFd(addon().openSpare());
    const { fd } = owned;
    assert.ok(isOpen(fd) && !owned.closed);
    owned.close();
    assert.not(isOpen(fd));
    assert.equal([owned.fd, owned.closed], [-1, true]);
    // The number may be somebody else's by now.
    const other = addon().openSpare();
    assert.is(other, fd);
    owned.close();
    assert.ok(isOpen(other));
    closeStream(other);
  });

  test('is given away once', () => {
    const owned = new OwnedFd(addon().openSpare());
    const fd = owned.take();
    assert.equal([owned.fd, owned.closed, isOpen(fd)], [-1, true, true]);
    assert.throws(() => owned.take(), isInvalidState);
    owned.close();
    assert.ok(isOpen(fd));
    // It is on no list any more: whoever has it closes it.
    assert.ok(closeStream(fd) < 0);
    const again = new OwnedFd(addon().duplicate(fd));
    process.getBuiltinModule('node:fs').closeSync(fd);
    again.close();
    assert.throws(() => again.take(), isInvalidState);
  });

  test('is closed at the end of its block', () => {
    let fd = -1;
    {
      using owned = new OwnedFd(addon().openSpare());
      fd = owned.fd;
      assert.ok(isOpen(fd));
    }
    assert.not(isOpen(fd));
  });

  test('is closed when nobody holds it any more', async () => {
    const { stdout, stderr, code } = await runSource(
      `
      import { fstatSync, readdirSync } from 'node:fs';
      import { OwnedFd } from './src/index.ts';
      import { addon } from './src/native.ts';
      const count = () => readdirSync('/dev/fd').length;
      addon();
      const before = count();
      const taken = [];
      for (let i = 0; i < 50; i++) {
        const owned = new OwnedFd(addon().openSpare());
        if (i % 10 === 0) taken.push(owned.take());
      }
      const opened = count() - before;
      const limit = performance.now() + 10_000;
      while (count() > before + taken.length && performance.now() < limit) {
        gc();
        await new Promise(setImmediate);
      }
      for (const fd of taken) fstatSync(fd);
      console.log(opened, count() - before);`,
      { execArgv: ['--expose-gc'] },
    );
    assert.is(code, 0, stderr);
    const [opened, left] = stdout.split(' ').map(Number);
    // One or the other may still lie on the stack, and Node may have given one back of its own.
    assert.ok(opened !== undefined && opened >= 48 && left !== undefined && left <= 7, stdout);
  });
});
