import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import * as assert from 'uvu/assert';

import { Interest, IOLoop } from '../src/index.ts';
import { acceptSocket, closeFd, connectSocket, listenSocket, socketAddress } from '../src/raw.ts';
import { startSource } from './support/child.ts';
import { newFds, openFds } from './support/fds.ts';
import { project, runInProject } from './support/package.ts';
import { drain, poke, Sockets } from './support/sockets.ts';
import { suite, type TestContext } from './support/suite.ts';
import { passes, turnsIn } from './support/turns.ts';
import { within } from './support/within.ts';

/** O_CLOEXEC as /proc/self/fdinfo prints it: proc_pid_fdinfo(5). */
const CLOSE_ON_EXEC = 0o2000000;

function closesOnExec(fd: number): boolean {
  const flags = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
  return (Number.parseInt(flags ?? '0', 8) & CLOSE_ON_EXEC) !== 0;
}

/** Starts a child that has `fd` too, handed over as its standard input; it ends with the test. */
async function childHolding(fd: number, defer: TestContext['defer']): Promise<void> {
  const child = spawn('sleep', ['1000'], { stdio: [fd, 'ignore', 'ignore'] });
  const ended = once(child, 'exit');
  defer(() => {
    child.kill('SIGKILL');
    return ended;
  });
  await within(10_000, once(child, 'spawn'), 'the child');
}

suite('every descriptor that is made here', (test) => {
  test('closes on exec, and no child inherits it', async ({ defer }) => {
    const before = openFds();
    const loops = IOLoop.backends.flatMap((backend) => [
      new IOLoop({ backend, current: false }),
      new IOLoop({ backend, current: false, drive: 'manual' }),
    ]);
    for (const loop of loops) {
      loop.createWaker(() => {}).unref();
      loop.callLater(1e6, () => {}).unref();
      // A wait makes the set that listens to Node's own loop.
      if (loop.drive === 'manual') loop.runOnce(1);
    }
    const listener = listenSocket({ port: 0 });
    const address = socketAddress(listener);
    assert.ok(address.family !== 'Unix');
    const near = connectSocket({ port: address.port });
    const far = acceptSocket(listener);
    defer(async () => {
      for (const fd of [listener, near, far]) closeFd(fd);
      for (const loop of loops) await loop.close();
    });
    const ours = newFds(before, openFds()).map((line) => Number.parseInt(line, 10));
    assert.ok(ours.length >= 3 + loops.length * 3, `${ours.length} descriptors`);
    for (const fd of ours) assert.ok(closesOnExec(fd), `fd ${fd} stays open`);

    const child = spawn('ls', ['-l', '/proc/self/fd'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const listing = await within(10_000, text(child.stdout), "the child's descriptors");
    const numbers = [...listing.matchAll(/ (\d+) -> /g)].map(([, fd]) => Number(fd));
    assert.ok(numbers.length >= 3, listing);
    // The standard three, the directory it lists, and what whoever started the tests left open.
    const inherited = numbers.filter((fd) => fd > 3);
    assert.ok(
      inherited.every((fd) => before.has(fd) && !ours.includes(fd)),
      listing,
    );
    assert.not.match(listing, /eventpoll|eventfd|timerfd/);
  });
});

suite('a child process', { limitMs: 60_000 }, (test) => {
  test('that is forked beside a busy loop, uses a loop of its own and ends does not disturb it', async ({
    loop,
    defer,
  }) => {
    const [near, far] = new Sockets(defer).pair();
    let events = 0;
    loop.addHandler(
      near,
      () => {
        drain(near);
        events++;
        setImmediate(() => poke(far));
      },
      Interest.READ,
    );
    poke(far);
    const program = `
      import('ioloop').then(({ IOLoop }) => {
        const loop = new IOLoop();
        loop.callLater(5, () => process.send(loop.backend, () => process.exit(3)));
      });
    `;
    for (let round = 0; round < 3; round++) {
      const child = fork('-e', [program], { cwd: project(), execArgv: [], execPath: process.execPath });
      const ended = once(child, 'exit');
      const [backend] = await within(20_000, once(child, 'message'), "the child's loop");
      assert.is(backend, loop.backend);
      assert.equal(await within(20_000, ended, "the child's end"), [3, null]);
      const before = events;
      while (events < before + 10) await passes(1);
    }
    loop.removeHandler(near);
    // The poke that was under way.
    await passes(1);
  });

  test('keeps a socket open that its parent closed, and wakes nobody by it', async ({ loop, defer }) => {
    const sockets = new Sockets(defer);
    const [near, far] = sockets.pair();
    loop.addHandler(near, () => {}, Interest.READ);
    await childHolding(near, defer);
    loop.removeHandler(near);
    sockets.close(near);
    poke(far);
    const turns = await turnsIn(200, loop);
    assert.ok(turns <= 3, `${turns} turns`);
  });

  test('closed behind the back of a loop that watches it wakes a few times at most', async ({
    loop,
    defer,
  }) => {
    const sockets = new Sockets(defer);
    const [near, far] = sockets.pair();
    loop.addHandler(near, () => {}, Interest.READ);
    await childHolding(near, defer);
    sockets.close(near);
    loop.removeHandler(near);
    poke(far);
    await passes(50);
    assert.is(await turnsIn(200, loop), 0, 'the set was rebuilt without it');
  });

  test('of a cluster runs a loop, beside the loop of its primary', async () => {
    const { stdout, stderr, code } = await runInProject(`
      import cluster from 'node:cluster';
      import { writeFileSync } from 'node:fs';
      import { once } from 'node:events';
      import { IOLoop } from 'ioloop';
      const script = process.cwd() + '/cluster-child.mjs';
      writeFileSync(script, "import { IOLoop } from 'ioloop'; IOLoop.current().callLater(1, () => process.send('turned', () => process.exit(0)));");
      const loop = IOLoop.current();
      let ticks = 0;
      const tick = () => { ticks++; loop.callLater(1, tick).unref(); };
      loop.callLater(1, tick);
      cluster.setupPrimary({ exec: script, execArgv: [] });
      const workers = [cluster.fork(), cluster.fork()];
      const messages = await Promise.all(workers.map((worker) => once(worker, 'message')));
      await Promise.all(workers.map((worker) => worker.isDead() || once(worker, 'exit')));
      console.log(messages.map(([message]) => message).join(), ticks > 3);
    `);
    assert.equal([stdout, code], ['turned,turned true\n', 0], stderr);
  });
});

suite('a storm of signals', { limitMs: 60_000 }, (test) => {
  for (const drive of ['node', 'manual'] as const)
    test(`interrupts every wait of drive '${drive}' and changes nothing`, async () => {
      const child = startSource(
        `
        import { IOLoop } from 'ioloop';
        const loop = new IOLoop({ drive: '${drive}' });
        let signals = 0, early = 0, fired = 0, heard = 0;
        process.on('SIGALRM', () => { signals++; });
        const waker = loop.createWaker(() => { heard = fired; });
        const next = () => {
          const due = loop.time() + 1.5;
          loop.callAt(due, () => {
            if (loop.time() < due) early++;
            fired++;
            waker.wake();
            if (fired < 200) return next();
            loop.addCallback(() => {
              waker.close();
              console.log(JSON.stringify([early, fired, heard, signals > 0]));
              process.exit();
            });
          });
        };
        console.log('ready');
        process.once('SIGALRM', () => {
          next();
          const turn = () => { loop.runOnce(Infinity); setImmediate(turn); };
          if (loop.drive === 'manual') setImmediate(turn);
        });
        setInterval(() => {}, 1e6);
      `,
        { cwd: project(), plain: true, limitMs: 50_000 },
      );
      await within(20_000, once(child.process.stdout ?? child.process, 'data'), 'the child');
      const storm = (): void => {
        if (child.process.exitCode !== null || child.process.signalCode !== null) return;
        child.process.kill('SIGALRM');
        setImmediate(storm);
      };
      storm();
      const { stdout, stderr, code } = await child.result;
      assert.is(code, 0, stderr);
      assert.equal(JSON.parse(stdout.split('\n')[1] ?? stdout), [0, 200, 200, true]);
    });
});
