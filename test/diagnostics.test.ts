import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { getHeapSnapshot } from 'node:v8';
import * as assert from 'uvu/assert';

import { runInProject } from './support/package.ts';
import { Sockets } from './support/sockets.ts';
import { suite } from './support/suite.ts';
import { passes } from './support/turns.ts';
import { within } from './support/within.ts';

/** Every kind of callback, with garbage in each, until 2,000 turns are over. */
const WORKLOAD = `
  import { IOLoop } from 'ioloop';
  import * as raw from 'ioloop/raw';
  const loop = new IOLoop();
  const listener = raw.listenSocket({ port: 0 });
  const { port } = raw.socketAddress(listener);
  const buffer = new Uint8Array(256);
  const collect = globalThis.gc ?? (() => {});
  let echoed = 0;
  loop.addHandler(listener, () => {
    for (let fd; (fd = raw.acceptSocket(listener)) >= 0; )
      loop.addHandler(fd, (own) => {
        collect();
        const size = raw.recv(own, buffer);
        if (size > 0) raw.send(own, buffer, 0, size);
      }, 1);
  }, 1);
  const waker = loop.createWaker(() => { collect(); new Array(100).fill({}); });
  let timers = 0;
  const timer = () => { timers++; collect(); loop.callLater(0.1, timer); waker.wake(); };
  loop.callLater(0, timer);
  const client = raw.connectSocket({ port });
  loop.addHandler(client, async () => {
    raw.recv(client, buffer);
    await null;
    collect();
    raw.send(client, buffer, 0, 64);
    echoed++;
    loop.addCallback(() => { if (loop.metrics().turns > ROUNDS) end(); });
  }, 1);
  loop.addHandler(raw.listenSocket({ port: 0 }), () => {}, 1);
  raw.send(client, buffer, 0, 64);
  let ended = false;
  function end() {
    if (ended) return;
    ended = true;
    void loop.close().then(() => console.log(echoed > 10 && timers > 10));
  }
`;

suite('a busy loop', { limitMs: 120_000 }, (test) => {
  const FLAGS: readonly (readonly [string, readonly string[], number])[] = [
    ['gc() in every callback', ['--expose-gc'], 200],
    ['a collection every 100 allocations', ['--gc-interval=100'], 300],
    ['compaction under stress', ['--expose-gc', '--stress-compaction'], 100],
    ['a young generation of one megabyte', ['--max-semi-space-size=1'], 2_000],
  ];
  for (const [what, execArgv, rounds] of FLAGS)
    test(`lives with ${what}`, async () => {
      const source = WORKLOAD.replace('ROUNDS', String(rounds));
      const { stdout, stderr, code, signal } = await runInProject(source, { execArgv, limitMs: 100_000 });
      assert.equal([stdout, code, signal], ['true\n', 0, null], stderr);
    });

  for (const profiler of ['cpu', 'heap'])
    test(`can be profiled: --${profiler}-prof`, async ({ defer }) => {
      const directory = mkdtempSync(join(tmpdir(), 'ioloop-profile-'));
      defer(() => rmSync(directory, { recursive: true }));
      const execArgv = [`--${profiler}-prof`, `--${profiler}-prof-dir=${directory}`];
      const source = WORKLOAD.replace('ROUNDS', '1000');
      const { stdout, stderr, code } = await runInProject(source, { execArgv, limitMs: 100_000 });
      assert.equal([stdout, code], ['true\n', 0], stderr);
      assert.is(readdirSync(directory).length, 1);
    });

  test('can be profiled by the millisecond: its signals interrupt every wait', async ({ defer }) => {
    const directory = mkdtempSync(join(tmpdir(), 'ioloop-profile-'));
    defer(() => rmSync(directory, { recursive: true }));
    const { stdout, stderr, code } = await runInProject(
      `
      import { IOLoop } from 'ioloop';
      const loop = new IOLoop({ drive: 'manual' });
      setImmediate(() => {
        let early = 0;
        for (let i = 0; i < 50; i++) {
          const due = loop.time() + 2;
          let called = 0;
          loop.callAt(due, () => { if (loop.time() < due) early++; });
          while (called === 0) called = loop.runOnce(Infinity);
        }
        console.log(early);
      });
    `,
      {
        execArgv: ['--cpu-prof', '--cpu-prof-interval=200', `--cpu-prof-dir=${directory}`],
        limitMs: 100_000,
      },
    );
    assert.equal([stdout, code], ['0\n', 0], stderr);
  });
});

suite('an inspector', { limitMs: 60_000 }, (test) => {
  test('sees the loop, and evaluates inside a turn of it', async ({ loop, defer }) => {
    const session = new Session();
    session.connect();
    defer(() => session.disconnect());
    await within(10_000, session.post('Runtime.enable'), 'the runtime');
    await within(10_000, session.post('Profiler.enable'), 'the profiler');
    await within(10_000, session.post('Profiler.start'), 'the profile');
    const fd = new Sockets(defer).ended();
    let events = 0;
    loop.addHandler(fd, () => void events++, 1);
    const answer = await within(
      10_000,
      new Promise<number>((resolve, reject) => {
        loop.addCallback(async () => {
          const { result } = await session.post('Runtime.evaluate', { expression: '6 * 7' });
          if (typeof result.value === 'number') resolve(result.value);
          else reject(new Error('no number'));
        });
      }),
      'the answer',
    );
    assert.is(answer, 42);
    await passes(10);
    loop.removeHandler(fd);
    const { profile } = await within(10_000, session.post('Profiler.stop'), 'the end of the profile');
    assert.ok(profile.nodes.length > 0 && events > 0);
  });

  test('takes a heap snapshot in a callback', async ({ loop }) => {
    const snapshot = await within(
      50_000,
      new Promise<string>((resolve, reject) => {
        loop.addCallback(() => text(getHeapSnapshot()).then(resolve, reject));
      }),
      'the snapshot',
    );
    assert.ok(snapshot.includes('IOLoop'));
  });
});
