import { copyFileSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

import { makeProject, project, runInProject } from './support/package.ts';
import { suite } from './support/suite.ts';

/** Says what a process has open and loaded. */
const OBSERVE = `
  const { readdirSync, readFileSync } = process.getBuiltinModule('node:fs');
  const observe = () => [readdirSync('/proc/self/fd').length, readFileSync('/proc/self/maps', 'utf8').includes('ioloop.node')];
`;

suite('the package', { limitMs: 60_000 }, (test) => {
  test('can be required', async () => {
    const { stdout, stderr, code } = await runInProject(`
      import { createRequire } from 'node:module';
      const require = createRequire(process.cwd() + '/');
      const { IOLoop } = require('ioloop');
      const { EAGAIN } = require('ioloop/raw');
      IOLoop.current().callLater(1, () => console.log(EAGAIN < 0));
    `);
    assert.equal([stdout, code], ['true\n', 0], stderr);
  });

  test('opens nothing and loads no addon by being imported', async () => {
    const { stdout, stderr } = await runInProject(`
      ${OBSERVE}
      // What Node itself opens is not ours: node:util makes the stream of a standard output, from Node 22 on.
      await import('node:net');
      await import('node:util');
      const before = observe();
      const { IOLoop } = await import('ioloop');
      await import('ioloop/raw');
      const imported = observe();
      const loop = new IOLoop();
      const used = observe();
      await loop.close();
      console.log(JSON.stringify({ before, imported, used: [used[0] > before[0], used[1]] }));
    `);
    const { before, imported, used } = JSON.parse(stdout || stderr);
    assert.equal(imported, before);
    assert.equal([before[1], used], [false, [true, true]]);
  });

  test('keeps no process alive by being loaded, nor by an idle loop', async () => {
    const { code, stderr } = await runInProject(`
      import { IOLoop } from 'ioloop';
      const loop = IOLoop.current();
      loop.callLater(1e9, () => {}).unref();
    `);
    assert.equal([code, stderr], [0, '']);
  });

  test('shares its loop and knows its errors across two copies', async () => {
    const first = project();
    const second = makeProject();
    // An addon of its own, too: another file is another library to the linker.
    const addon = process.env.IOLOOP_ADDON ?? findAddon();
    const own = join(second, 'ioloop.node');
    copyFileSync(addon, own);
    const { stdout, stderr, code } = await runInProject(`
      const one = await import('file://${first}/node_modules/ioloop/dist/index.js');
      const loop = one.IOLoop.current();
      process.env.IOLOOP_ADDON = ${JSON.stringify(own)};
      const two = await import('file://${second}/node_modules/ioloop/dist/index.js');
      const own = new two.IOLoop();
      const thrown = (body) => { try { body(); } catch (error) { return error; } };
      const error = thrown(() => two.IOLoop.current().addCallback());
      const both = [new Promise((resolve) => own.callLater(1, resolve)), new Promise((resolve) => loop.callLater(1, resolve))];
      await Promise.all(both);
      console.log(JSON.stringify([
        one.IOLoop !== two.IOLoop,
        two.IOLoop.current() === loop,
        error instanceof two.IOLoopError,
        two.IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'),
        one.IOLoopError.is(thrown(() => own.addCallback()), 'ERR_IOLOOP_INVALID_ARGUMENT'),
      ]));
      await own.close();
    `);
    assert.is(code, 0, stderr);
    assert.equal(JSON.parse(stdout), [true, true, false, true, true]);
  });

  test('may have its loop closed twice over, and made anew', async () => {
    const { stdout, stderr } = await runInProject(`
      import { IOLoop } from 'ioloop';
      const first = IOLoop.current();
      await Promise.all([first.close(), first.close()]);
      const second = IOLoop.current();
      console.log(first !== second, first.fd, second.fd >= 0);
      await second.close();
    `);
    assert.is(stdout, 'true -1 true\n', stderr);
  });
});

/** The addon that the installed package would load. */
function findAddon(): string {
  const resolve = createRequire(import.meta.url)('node-gyp-build').path as (root: string) => string;
  return resolve(realpathSync(join(import.meta.dirname, '..')));
}
