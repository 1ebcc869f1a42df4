import { once } from 'node:events';
import * as assert from 'uvu/assert';

import { runInProject, startWorker } from './support/package.ts';
import { suite } from './support/suite.ts';
import { count } from './support/tier.ts';
import { within } from './support/within.ts';

/** What a thread is doing when it is ended. Each gives its loop descriptors, timers and wakers to leave behind. */
const OCCUPATIONS = {
  'sleeps in its loop': `loop.callLater(1e6, () => {});`,
  'is inside a turn': `
    const again = () => { for (let i = 0; i < 100; i++) raw.recv(near, buffer); loop.addCallback(again); };
    loop.addCallback(again);
  `,
  'polls as fast as it can': `
    const far = raw.acceptSocket(listener);
    raw.send(far, buffer, 0, 1);
    loop.addHandler(near, () => {}, 1);
  `,
  'makes loops and sockets': `
    for (;;) {
      const short = new ioloop.IOLoop({ drive: 'manual' });
      const own = raw.listenSocket({ port: 0 });
      raw.closeFd(raw.connectSocket({ port: raw.socketAddress(own).port }));
      short.createWaker(() => {}).wake();
      short.runOnce();
      raw.closeFd(own);
      short.close();
    }
  `,
  'is blocked in runOnce': `
    const manual = new ioloop.IOLoop({ drive: 'manual' });
    manual.createWaker(() => {});
    for (;;) manual.runOnce(Infinity);
  `,
} as const;

const SETTING = `
  const loop = new ioloop.IOLoop();
  const buffer = Buffer.alloc(64);
  const listener = raw.listenSocket({ port: 0 });
  const near = raw.connectSocket({ port: raw.socketAddress(listener).port });
  loop.createWaker(() => {});
  loop.addHandler(listener, () => {}, 4);
  setInterval(() => {}, 1);
  parentPort.postMessage('ready');
`;

// Ready before it has loaded the addon: the thread ends within that, or soon after.
const LOADING = `
  parentPort.postMessage('ready');
  for (;;) void new ioloop.IOLoop({ drive: 'manual' }).close();
`;

/** A program whose main thread never loads the addon; `body` may use cycle(), openFds() and Worker. */
function mainThread(occupation: string, body: string): string {
  return `
    import { readdirSync } from 'node:fs';
    import { createRequire } from 'node:module';
    import { Worker } from 'node:worker_threads';
    const main = createRequire(process.cwd() + '/').resolve('ioloop');
    const source = \`
      const { parentPort } = require('node:worker_threads');
      const ioloop = require(\${JSON.stringify(main)});
      const raw = require(\${JSON.stringify(main.replace('index.js', 'raw.js'))});
    \` + ${JSON.stringify(occupation)};
    const start = () => new Worker(source, { eval: true, execArgv: [] });
    const ready = (worker) => new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    const openFds = () => readdirSync('/proc/self/fd').length;
    ${body}
  `;
}

suite('a thread that is ended', { limitMs: count(90_000, 1_800_000) }, (test) => {
  for (const [what, occupation] of Object.entries(OCCUPATIONS))
    test(`while it ${what} gives back every descriptor`, async () => {
      const cycles = count(12, 300);
      const { stdout, stderr, code, signal } = await runInProject(
        mainThread(
          SETTING + occupation,
          `
          const cycle = async (i) => {
            const worker = start();
            if (i % 4 !== 0) await ready(worker);
            else worker.once('error', (error) => { throw error; });
            // Some while it starts, some at once, some after a while.
            if (i % 4 === 2) for (let n = 0; n < i * 7 % 50; n++) await new Promise(setImmediate);
            if (i % 4 === 3) await new Promise((resolve) => setTimeout(resolve, i * 13 % 20));
            await worker.terminate();
          };
          for (let i = 0; i < 4; i++) await cycle(i);
          const before = openFds();
          for (let i = 0; i < ${cycles}; i += 2) await Promise.all([cycle(i), cycle(i + 1)]);
          console.log(openFds() - before);
        `,
        ),
        { limitMs: count(80_000, 1_700_000) },
      );
      assert.equal([stdout, code, signal], ['0\n', 0, null], stderr);
    });

  // A call that the ending environment refuses must neither end the process nor leave descriptors behind.
  test('while it loads the addon ends alone', async () => {
    const { stdout, stderr, code, signal } = await runInProject(
      mainThread(
        LOADING,
        `
        const cycle = async (i) => {
          const worker = start();
          await ready(worker);
          for (const until = performance.now() + (i % 20) * 0.05; performance.now() < until; );
          await worker.terminate();
        };
        for (let i = 0; i < 4; i++) await cycle(i);
        const before = openFds();
        for (let i = 0; i < ${count(40, 1_000)}; i++) await cycle(i);
        console.log(openFds() - before);
      `,
      ),
      { limitMs: count(80_000, 1_700_000) },
    );
    assert.equal([stdout, code, signal], ['0\n', 0, null], stderr);
  });

  test('does not hold up process.exit() of the main thread, blocked as it is', async () => {
    const { code, signal, stderr } = await runInProject(
      mainThread(
        SETTING + OCCUPATIONS['is blocked in runOnce'],
        `
        await Promise.all(Array.from({ length: 4 }, start).map(ready));
        setImmediate(() => process.exit(7));
      `,
      ),
    );
    assert.equal([code, signal], [7, null], stderr);
  });
});

suite('process.exit()', { limitMs: 60_000 }, (test) => {
  const CALLS = {
    handler: `loop.addHandler(raw.listenSocket({ port: 0 }), () => {}, 1); loop.addHandler(near, leave, 2);`,
    timer: `loop.callLater(0, leave);`,
    callback: `loop.addCallback(leave);`,
    waker: `loop.createWaker(leave).wake();`,
    "promise of a handler's turn": `loop.addCallback(async () => { await null; leave(); });`,
    'manual turn': `
      const manual = new IOLoop({ drive: 'manual' });
      manual.addCallback(leave);
      manual.runOnce();
    `,
  } as const;
  const prepare = `
    const loop = new IOLoop();
    const listener = raw.listenSocket({ port: 0 });
    const near = raw.connectSocket({ port: raw.socketAddress(listener).port });
    loop.callLater(1e6, () => {});
  `;
  for (const [where, call] of Object.entries(CALLS)) {
    test(`in a ${where} ends the process with its code`, async () => {
      const { code, signal, stderr } = await runInProject(`
        import { IOLoop } from 'ioloop';
        import * as raw from 'ioloop/raw';
        const leave = () => process.exit(42);
        ${prepare}${call}
      `);
      assert.equal([code, signal], [42, null], stderr);
    });

    test(`in a ${where} of a thread ends the thread alone`, async () => {
      const worker = startWorker(`
        const { IOLoop } = ioloop;
        const leave = () => process.exit(42);
        ${prepare}${call}
      `);
      assert.equal(await within(20_000, once(worker, 'exit'), 'the end of the thread'), [42]);
    });
  }
});

suite('an uncaught error', (test) => {
  test('in a callback of a thread ends the thread and is told to its maker', async () => {
    const worker = startWorker(`
      const loop = new ioloop.IOLoop();
      loop.callLater(1e6, () => {});
      loop.addCallback(() => { throw new RangeError('thrown in a callback'); });
    `);
    const exited = new Promise((resolve) => worker.once('exit', resolve));
    const [error] = await within(20_000, once(worker, 'error'), 'the error');
    assert.equal([error.name, error.message], ['RangeError', 'thrown in a callback']);
    assert.is(await within(20_000, exited, 'the end of the thread'), 1);
  });
});

suite('many threads', { limitMs: 90_000 }, (test) => {
  test('each have loops of their own: 16 at once, some ended, some ending by themselves', async () => {
    const source = `
      const loop = new ioloop.IOLoop();
      const second = new ioloop.IOLoop({ drive: 'manual' });
      const keep = loop.createWaker(() => {
        loop.callLater(1, () => {
          const own = ioloop.IOLoop.current() === loop;
          second.addCallback(() => {});
          parentPort.postMessage([own, second.runOnce()]);
          if (workerData.stays) return;
          keep.close();
          parentPort.unref();
        });
      });
      parentPort.postMessage(keep.handle);
    `;
    const { Waker } = await import('../src/index.ts');
    const workers = Array.from({ length: 16 }, (_, i) =>
      startWorker(source, { workerData: { stays: i % 2 === 0 } }),
    );
    const ended = workers.map((worker) => once(worker, 'exit'));
    const handles = await within(
      60_000,
      Promise.all(workers.map((worker) => once(worker, 'message'))),
      'them all',
    );
    assert.is(new Set(handles.map(([handle]) => handle.wakerId)).size, 16, "ids are the whole process's");
    const answers = workers.map((worker) => once(worker, 'message'));
    for (const [handle] of handles) assert.is(Waker.from(handle).wake(), true);
    for (const [answer] of await within(60_000, Promise.all(answers), 'their answers'))
      assert.equal(answer, [true, 1]);
    await Promise.all(workers.filter((_, i) => i % 2 === 0).map((worker) => worker.terminate()));
    const codes = (await within(60_000, Promise.all(ended), 'their ends')).flat();
    assert.equal(
      codes,
      Array.from({ length: 16 }, (_, i) => (i % 2 === 0 ? 1 : 0)),
    );
    for (const [handle] of handles)
      assert.is(Waker.from(handle).wake(), false, 'a waker goes with its thread');
  });
});
