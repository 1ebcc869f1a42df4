import { once } from 'node:events';
import * as assert from 'uvu/assert';

import { runInProject, startWorker } from './support/package.ts';
import { suite } from './support/suite.ts';
import { within } from './support/within.ts';

/**
 * Each kind of callback of `loop`, made to call `act`. Here and below: JavaScript of a child, or of a
 * thread, in which `ioloop`, `raw` and `drive` are declared.
 */
const KINDS: Readonly<Record<string, string>> = {
  handler: `loop.addHandler(endedSocket(), () => act(), 1);`,
  'handler, after an await': `loop.addHandler(endedSocket(), async () => { await null; act(); }, 1);`,
  'tick of a handler': `loop.addHandler(endedSocket(), () => { process.nextTick(act); }, 1);`,
  timer: `loop.callLater(1, act);`,
  callback: `loop.addCallback(act);`,
  waker: `loop.createWaker(act).wake();`,
  'stop hook': `loop.onStop(act); loop.start(); loop.stop();`,
  onError: `onError = () => act(); loop.addCallback(() => { throw new Error('for onError'); });`,
};

/** A loop that would keep the process alive for ever, and turns when it is driven by hand. */
const SETTING = `
  let onError;
  const endedSocket = () => {
    const listener = raw.listenSocket({ port: 0 });
    const client = raw.connectSocket({ port: raw.socketAddress(listener).port });
    raw.shutdownFd(client);
    return listener;
  };
  const acted = new Set();
  const once = (act) => () => { if (!acted.has(act)) { acted.add(act); act(); } };
  const loop = new ioloop.IOLoop({ drive, onError: withOnError ? (error) => onError(error) : undefined });
  loop.start();
  setInterval(() => {}, 1e6);
  const turn = () => { loop.runOnce(); setImmediate(turn); };
  if (drive === 'manual') setImmediate(turn);
`;

function program(kind: string, drive: string, act: string): string {
  return `
    const drive = '${drive}', withOnError = ${kind === 'onError'};
    ${SETTING}
    const act = once(() => { ${act} });
    ${KINDS[kind]}
  `;
}

const asChild = (source: string): string =>
  `import * as ioloop from 'ioloop'; import * as raw from 'ioloop/raw';\n${source}`;

for (const drive of ['node', 'manual']) {
  suite(`the end of a process inside a callback, with drive '${drive}'`, { limitMs: 60_000 }, (test) => {
    for (const kind of Object.keys(KINDS)) {
      test(`comes with its code and its 'exit' listeners by process.exit(): ${kind}`, async () => {
        const source = program(
          kind,
          drive,
          `process.on('exit', (code) => process.stdout.write('left ' + code)); process.exit(7);`,
        );
        const { code, signal, stdout, stderr } = await runInProject(asChild(source));
        assert.is(signal, null, stderr);
        assert.is(code, 7, stderr);
        assert.is(stdout, 'left 7');
        assert.is(stderr, '');
      });

      test(`comes with code 1 and the error, told once, by a throw: ${kind}`, async () => {
        const { code, signal, stderr } = await runInProject(
          asChild(program(kind, drive, `throw new Error('of the ' + 'callback');`)),
        );
        assert.is(signal, null, stderr);
        assert.is(code, 1, stderr);
        assert.is(stderr.match(/Error: of the callback/g)?.length, 1, stderr);
      });
    }

    test('comes by process.abort()', async () => {
      for (const kind of ['handler', 'timer', 'callback']) {
        const { code, signal } = await runInProject(asChild(program(kind, drive, 'process.abort();')));
        assert.is(code, null, kind);
        assert.is(signal, 'SIGABRT', kind);
      }
    });

    test('does not come by throws that somebody listens for: each is told once', async () => {
      const kinds = Object.keys(KINDS);
      const source = `
        const drive = '${drive}', withOnError = true;
        ${SETTING}
        const told = [];
        process.on('uncaughtException', (error) => told.push(error.message));
        onError = (error) => { throw error; };
        const settings = {
          ${kinds
            .filter((kind) => kind !== 'onError')
            .map((kind) => `${JSON.stringify(kind)}: (act) => { ${KINDS[kind]} }`)
            .join(',\n')}
        };
        for (const [kind, set] of Object.entries(settings))
          set(once(() => { throw new Error(kind); }));
        const wait = () => {
          if (told.length < ${kinds.length - 1}) return setTimeout(wait, 1);
          setTimeout(() => { console.log(JSON.stringify(told.sort())); process.exit(); }, 20);
        };
        wait();
      `;
      const { code, stdout, stderr } = await runInProject(asChild(source));
      assert.is(code, 0, stderr);
      assert.equal(JSON.parse(stdout), kinds.filter((kind) => kind !== 'onError').sort());
    });
  });

  suite(`the end of a thread inside a callback, with drive '${drive}'`, { limitMs: 60_000 }, (test) => {
    for (const kind of Object.keys(KINDS)) {
      test(`comes with its code by process.exit(): ${kind}`, async () => {
        const worker = startWorker(program(kind, drive, 'process.exit(7);'));
        const [code] = await within(10_000, once(worker, 'exit'), 'the end of the thread');
        assert.is(code, 7);
      });

      test(`comes with the error, told once, by a throw: ${kind}`, async () => {
        const worker = startWorker(program(kind, drive, `throw new Error('of the callback');`));
        const errors: unknown[] = [];
        worker.on('error', (error) => void errors.push(error));
        const [code] = await within(
          10_000,
          new Promise<[number]>((resolve) => worker.once('exit', (status) => resolve([status]))),
          'the end of the thread',
        );
        assert.is(code, 1);
        assert.equal(
          errors.map((error) => (error instanceof Error ? error.message : error)),
          ['of the callback'],
        );
      });
    }

    test('does not come by a throw that somebody listens for in it', async () => {
      const worker = startWorker(`
        const drive = '${drive}', withOnError = false;
        ${SETTING}
        const told = [];
        process.on('uncaughtException', (error) => told.push(error.message));
        for (let index = 0; index < 30; index++) {
          const fail = () => { throw new Error(String(index)); };
          if (index % 2 === 0) loop.callLater(0, fail);
          else loop.addCallback(fail);
        }
        const wait = () => {
          if (told.length < 30) return setTimeout(wait, 1);
          setTimeout(() => { parentPort.postMessage(told); process.exit(); }, 20);
        };
        wait();
      `);
      const left = once(worker, 'exit');
      const [told] = await within(10_000, once(worker, 'message'), 'its word');
      assert.is(new Set(told).size, 30);
      assert.is(told.length, 30);
      await within(10_000, left, 'the end of the thread');
    });
  });
}
