import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import * as assert from 'uvu/assert';

import { runFile, startFile } from './support/child.ts';
import { example, heard } from './support/examples.ts';
import { suite } from './support/suite.ts';
import { within } from './support/within.ts';

const poemAndEcho = example('poem-and-echo');
const finishedUploads = example('finished-uploads');

/** All that comes from `port` after `sent` went there. */
function exchange(port: number, sent: string): Promise<string> {
  return within(5_000, text(connect({ host: '127.0.0.1', port }).end(sent)), `the answer of port ${port}`);
}

suite('examples/poem-and-echo.ts', { limitMs: 30_000 }, (test) => {
  test('serves a client of each with --once, and ends', async () => {
    const { stdout, stderr, code } = await runFile(poemAndEcho, { args: ['--once'] });
    assert.match(stdout, /the thing with feathers/);
    assert.match(stdout, /\necho: hello, loop\n/);
    assert.equal([stderr, code], ['', 0]);
  });

  test('serves whoever comes and tells its metrics, until it is interrupted', async () => {
    const child = startFile(poemAndEcho, { args: ['--poem-port=0', '--echo-port=0'] });
    const [poemPort = 0, echoPort = 0] = [
      ...(await heard(child, /Ctrl-C ends it\./)).matchAll(/nc 127\.0\.0\.1 (\d+)/g),
    ].map(([, port]) => Number(port));
    for (let client = 0; client < 3; client++) {
      assert.match(await exchange(poemPort, ''), /^"Hope" is .*at all -\n$/s);
      assert.is(await exchange(echoPort, `message ${client}`), `message ${client}`);
    }
    await heard(child, /turns [1-9]\d* .* served 6\n/);
    child.process.kill('SIGINT');
    const { stderr, code, signal } = await child.result;
    assert.equal([stderr, code, signal], ['', 0, null]);
  });

  test('names a port that is taken, and one that is none', async ({ defer }) => {
    const taken = createServer();
    defer(() => new Promise((resolve) => taken.close(resolve)));
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const address = taken.address();
    assert.ok(address !== null && typeof address === 'object');
    const busy = await runFile(poemAndEcho, { args: [`--poem-port=${address.port}`] });
    assert.match(busy.stderr, /^.*EADDRINUSE.*\n.*--poem-port.*\n$/);
    const none = await runFile(poemAndEcho, { args: ['--echo-port=70000'] });
    assert.match(none.stderr, /^--echo-port must be a port from 0 to 65535, not "70000"\n$/);
    assert.equal([busy.code, none.code], [1, 1]);
  });
});

// inotify(7) is Linux's.
if (process.platform === 'linux')
  suite('examples/finished-uploads.ts', { limitMs: 30_000 }, (test) => {
    test('tells what was written and closed, and what was moved in', async ({ defer }) => {
      const directory = mkdtempSync(join(tmpdir(), 'ioloop-uploads-'));
      const elsewhere = mkdtempSync(join(tmpdir(), 'ioloop-uploads-'));
      defer(() => {
        for (const path of [directory, elsewhere]) rmSync(path, { recursive: true });
      });
      const child = startFile(finishedUploads, { args: [directory, '--count=2'] });
      await heard(child, /^watching .*\n/);
      writeFileSync(join(directory, 'written'), 'all of it');
      writeFileSync(join(elsewhere, 'moved'), 'all of it');
      renameSync(join(elsewhere, 'moved'), join(directory, 'moved'));
      const { stdout, stderr, code } = await child.result;
      assert.equal(
        [stdout, stderr, code],
        [`watching ${directory}\nfinished: written\nfinished: moved\n`, '', 0],
      );
    });

    test('names a directory that is not there', async () => {
      const { stderr, code } = await runFile(finishedUploads, { args: ['/not/there'] });
      assert.match(stderr, /ENOENT/);
      assert.is(code, 1);
    });
  });
