import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import * as assert from 'uvu/assert';

import { IOLoop } from '../../src/index.ts';
import { project, runInProject } from '../support/package.ts';
import { suite } from '../support/suite.ts';
import { within } from '../support/within.ts';

/** Where Debian's package "faketime" puts the library for programs with threads. */
function faketimeLibrary(): string {
  for (const architecture of readdirSync('/usr/lib')) {
    const path = join('/usr/lib', architecture, 'faketime', 'libfaketimeMT.so.1');
    if (existsSync(path)) return path;
  }
  throw new Error('libfaketime is not installed: apt-get install faketime');
}

/**
 * Shields timerfd_settime(2) from libfaketime, which shifts every absolute deadline by what it adds to the
 * wall clock, those of CLOCK_MONOTONIC too. The kernel does not.
 */
const SHIELD = `
  #include <sys/syscall.h>
  #include <sys/timerfd.h>
  #include <unistd.h>
  int timerfd_settime(int fd, int flags, const struct itimerspec *value, struct itimerspec *old) {
    return (int)syscall(SYS_timerfd_settime, fd, flags, value, old);
  }
`;

function compileShield(directory: string): string {
  const library = join(directory, 'shield.so');
  execFileSync('cc', ['-shared', '-fPIC', '-o', library, '-x', 'c', '-'], { input: SHIELD });
  return library;
}

/** Fires timers while the wall clock is set to and fro; says how far that went and what became of them. */
const JUMPING = `
  import { writeFileSync } from 'node:fs';
  import { IOLoop, PeriodicCallback } from 'ioloop';
  const DAY_MS = 86_400_000;
  const loop = new IOLoop();
  const jump = (days) => writeFileSync(process.env.FAKETIME_TIMESTAMP_FILE, (days < 0 ? '' : '+') + days + 'd\\n');
  const begin = Date.now();
  const beganMs = loop.time();
  const jumps = [];
  let calls = 0, early = 0, fired = 0;
  const far = loop.callLater(DAY_MS, () => { early++; });
  const periodic = new PeriodicCallback(() => { calls++; }, 5);
  periodic.start();
  for (const days of [400, -400, 0, 400]) {
    jump(days);
    for (let i = 0; i < 10; i++) {
      const dueMs = loop.time() + 3;
      await new Promise((resolve) => loop.callAt(dueMs, resolve));
      fired++;
      if (loop.time() < dueMs) early++;
    }
    jumps.push(Math.round((Date.now() - begin) / DAY_MS));
  }
  periodic.stop();
  const periods = (loop.time() - beganMs) / 5;
  console.log(JSON.stringify({ jumps, early, fired, burst: calls > periods, silent: calls < 3, far: far.active }));
  far.cancel();
`;

suite('a wall clock that is set by 400 days', { limitMs: 60_000 }, (test) => {
  for (const backend of IOLoop.backends)
    test(`moves no timer on ${backend}`, async ({ defer }) => {
      const directory = mkdtempSync(join(tmpdir(), 'ioloop-clock-'));
      defer(() => rmSync(directory, { recursive: true }));
      const file = join(directory, 'offset');
      writeFileSync(file, '+0\n');
      const { stdout, stderr } = await runInProject(JUMPING, {
        env: {
          LD_PRELOAD: `${compileShield(directory)} ${faketimeLibrary()}`,
          FAKETIME_DONT_FAKE_MONOTONIC: '1',
          FAKETIME_NO_CACHE: '1',
          FAKETIME_TIMESTAMP_FILE: file,
          IOLOOP_BACKEND: backend,
        },
      });
      assert.is.not(stdout, '', stderr);
      const expected = {
        jumps: [400, -400, 0, 400],
        early: 0,
        fired: 40,
        burst: false,
        silent: false,
        far: true,
      };
      assert.equal(JSON.parse(stdout), expected);
    });
});

/** Runs timers until the monotonic clock has passed 2^32 ms, where a count of 32 bits would begin anew. */
const PASSING = `
  import { IOLoop } from 'ioloop';
  const loop = new IOLoop();
  const beganMs = loop.time();
  let early = 0, fired = 0;
  const across = new Promise((resolve) => loop.callAt(2 ** 32 + 5, resolve));
  const far = loop.callLater(2 ** 31 + 1, () => { early++; });
  while (loop.time() < 2 ** 32 + 50) {
    const dueMs = loop.time() + 2;
    await new Promise((resolve) => loop.callAt(dueMs, resolve));
    fired++;
    if (loop.time() < dueMs) early++;
  }
  await across;
  far.cancel();
  console.log(JSON.stringify({ before: beganMs < 2 ** 32, after: loop.time() > 2 ** 32, early, several: fired > 10 }));
`;

suite('a monotonic clock that passes 2^32 ms', { limitMs: 60_000 }, (test) => {
  for (const backend of IOLoop.backends)
    test(`neither fires early nor hangs on ${backend}`, async () => {
      const loop = new IOLoop({ current: false });
      // Far enough before it for Node to start: the offset is in whole seconds.
      const offset = Math.floor((2 ** 32 - loop.time()) / 1_000) - 2;
      await loop.close();
      const unshare = ['--time', '--fork', '--monotonic', String(offset)];
      const node = [process.execPath, '--input-type=module', '--eval', PASSING];
      const child = spawn('unshare', [...unshare, ...node], {
        cwd: project(),
        env: { ...process.env, IOLOOP_BACKEND: backend },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const ended = once(child, 'close');
      const stdout = await within(50_000, text(child.stdout), 'the answer');
      await within(5_000, ended, 'the end');
      assert.equal(JSON.parse(stdout), { before: true, after: true, early: 0, several: true });
    });
});
