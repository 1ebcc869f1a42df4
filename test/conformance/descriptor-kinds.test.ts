import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

import { Interest, IOLoop, Ready, SystemError } from '../../src/index.ts';
import { poke, Sockets } from '../support/sockets.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { neverCalled, nextTurn, turnsIn } from '../support/turns.ts';

/** Opens a regular file, a directory and /dev/null, closed with the test. */
function openFiles(defer: TestContext['defer']): Map<string, number> {
  const directory = mkdtempSync(join(tmpdir(), 'ioloop-'));
  const file = join(directory, 'file');
  writeFileSync(file, 'text');
  const fds = new Map([
    ['a regular file', openSync(file, 'r')],
    ['a directory', openSync(directory, 'r')],
    ['/dev/null', openSync('/dev/null', 'r+')],
  ]);
  defer(() => {
    for (const fd of fds.values()) closeSync(fd);
    rmSync(directory, { recursive: true });
  });
  return fds;
}

/** Whether `error` is the refusal of `fd` by the name of `code`. */
function refusal(code: string, fd: number): (error: unknown) => boolean {
  return (error) =>
    error instanceof SystemError && error.code === code && error.message.includes(`addHandler, fd ${fd}`);
}

for (const backend of IOLoop.backends) {
  suite(`files that cannot be polled, on ${backend}`, { backend }, (test) => {
    if (backend === 'epoll') {
      // epoll_ctl(2): EPERM, the file does not support epoll.
      test('are refused by name, and the loop goes on', async ({ loop, defer }) => {
        for (const fd of openFiles(defer).values()) {
          for (const interest of [Interest.READ, Interest.WRITE])
            assert.throws(() => loop.addHandler(fd, neverCalled, interest), refusal('EPERM', fd));
          assert.is(loop.removeHandler(fd), false);
        }
        await nextTurn(loop);
        assert.is(loop.metrics().handlers, 0);
      });

      test('are refused when the first interest comes with an update', ({ loop, defer }) => {
        for (const fd of openFiles(defer).values()) {
          loop.addHandler(fd, neverCalled, 0);
          assert.throws(() => loop.updateHandler(fd, Interest.READ), /EPERM.*updateHandler, fd \d+/);
          assert.is(loop.removeHandler(fd), true);
        }
      });
    }
    if (backend === 'poll' || backend === 'select') {
      test('are always ready, until they are removed', async ({ loop, defer }) => {
        for (const [kind, fd] of openFiles(defer)) {
          const seen: number[] = [];
          loop.addHandler(fd, (_, events) => void seen.push(events), Interest.READ);
          await nextTurn(loop);
          await nextTurn(loop);
          assert.equal(seen, [Ready.READ, Ready.READ], kind);
          loop.removeHandler(fd);
          assert.ok((await turnsIn(100, loop)) <= 3, kind);
        }
      });

      test('wake a loop that has nothing else to do', async ({ loop, defer }) => {
        const fd = openFiles(defer).get('a regular file') ?? -1;
        await new Promise<void>((resolve) => {
          loop.addHandler(fd, () => void (loop.removeHandler(fd) && resolve()), Interest.READ);
        });
      });
    }
  });
}

// An fd_set of select(2) ends at FD_SETSIZE, and what is set beyond that is somebody else's memory.
const FD_SETSIZE = 1024;
for (const backend of IOLoop.backends) {
  suite(`descriptor numbers over FD_SETSIZE on ${backend}`, { backend }, (test) => {
    const refused = backend === 'select';
    test(`are ${refused ? 'refused by name' : 'watched like others'}`, async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      assert.ok(loop.fd >= 0);
      let low: readonly [number, number] = sockets.pair();
      let pair = low;
      while (pair[0] < FD_SETSIZE) {
        low = pair;
        pair = sockets.pair();
      }
      const [fd, far] = pair;
      let called = 0;
      const count = (): void => void called++;
      poke(far);
      for (const interest of [Interest.READ, Interest.WRITE, Interest.PRIORITY]) {
        if (refused) {
          assert.throws(() => loop.addHandler(fd, neverCalled, interest), refusal('EINVAL', fd));
        } else {
          loop.addHandler(fd, count, interest);
          loop.removeHandler(fd);
        }
      }
      loop.addHandler(low[0], count, Interest.READ);
      if (!refused) loop.addHandler(fd, count, Interest.READ);
      poke(low[1]);
      await nextTurn(loop);
      assert.is(called, refused ? 1 : 2);
      for (const each of [low[0], fd]) loop.removeHandler(each);
    });
  });
}
