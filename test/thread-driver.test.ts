import { once } from 'node:events';
import * as assert from 'uvu/assert';

import { runFile } from './support/child.ts';
import { runInProject, startWorker } from './support/package.ts';
import { suite } from './support/suite.ts';
import { within } from './support/within.ts';

const env = { IOLOOP_DRIVER: 'thread' };

// What Bun runs (.ci/bun), held to the same here, where every tool to look into it is.
suite('a helper thread that gives the turns', { limitMs: 60_000 }, (test) => {
  test('serves echoes, timers, callbacks and wakers, and lets the process end', async () => {
    const { stdout, stderr, code } = await runFile(new URL('thread-driver/program.ts', import.meta.url), {
      env,
      limitMs: 50_000,
    });
    assert.match(stdout, /\n([1-9]\d*) passed, 0 failed\n$/);
    assert.equal([code, stderr], [0, '']);
  });

  test('ends with the process, whatever the loop was doing', async () => {
    for (const ending of ['process.exit(9)', 'void loop.close(), process.exit(9)', 'process.exitCode = 9'])
      for (const busy of ['', 'const spin = () => ended || loop.addCallback(spin); spin();']) {
        const { stdout, stderr, code, signal } = await runInProject(
          `
          import { IOLoop } from 'ioloop';
          let ended = false;
          const loop = new IOLoop();
          new IOLoop({ backend: 'poll' }).callLater(1e9, () => {}).unref();
          ${busy}
          loop.callLater(2, () => { ended = true; ${ending}; });
        `,
          { env },
        );
        assert.equal([stdout, code, signal], ['', 9, null], `${ending} ${busy} ${stderr}`);
      }
  });

  test('ends with its JavaScript thread, at any moment', async () => {
    for (let round = 0; round < 12; round++) {
      const worker = startWorker(
        `
        const loop = new ioloop.IOLoop();
        const spin = () => loop.addCallback(spin);
        spin();
        loop.createWaker(() => {});
        parentPort.postMessage('ready');
      `,
        { env: { ...process.env, ...env } },
      );
      if (round % 3 !== 0) await within(20_000, once(worker, 'message'), 'the thread');
      if (round % 3 === 2) await new Promise((resolve) => setImmediate(resolve));
      await within(20_000, worker.terminate(), 'the end of the thread');
    }
  });
});
