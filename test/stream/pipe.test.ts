import { type StdioOptions, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

import { IOLoop, PipeIOStream, SystemError } from '../../src/index.ts';
import { project } from '../support/package.ts';
import { pipeFds, turnsUntil } from '../support/streams.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { within } from '../support/within.ts';

const LIMIT_MS = 10_000;
const MiB = 1024 * 1024;

/**
 * Writes what it reads from its standard input to its standard output, by streams of ours. A program of
 * the compiled package, since what compiles on the fly looks at the standard output before us.
 */
const ECHO = `
  import { PipeIOStream } from 'ioloop';
  const input = new PipeIOStream(0);
  const output = new PipeIOStream(1);
  for await (const chunk of input) await output.write(chunk);
  await Promise.all([input.close(), output.close()]);`;

/** A child, killed with the test, and its exit code. */
function start({ defer }: TestContext, command: string, args: readonly string[], stdio: StdioOptions) {
  const child = spawn(command, args, { stdio, cwd: project() });
  const exit = once(child, 'exit').then(([code]) => code as number | null);
  defer(() => {
    child.kill('SIGKILL');
    return exit;
  });
  return { child, exit };
}

const echoArgs = ['--input-type=module', '--eval', ECHO];

/** A stream over `fd`, closed with the test. */
function open({ loop, defer }: TestContext, fd: number): PipeIOStream {
  const stream = new PipeIOStream(fd, { loop });
  defer(() => {
    stream.abort();
    return stream.whenClosed;
  });
  return stream;
}

/** Whether `fd` is non-blocking: as fcntl(2) with F_GETFL says. */
function isNonBlocking(fd: number): boolean {
  const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
  if (flags === undefined) throw new Error(`/proc tells no flags of fd ${fd}`);
  return (Number.parseInt(flags, 8) & constants.O_NONBLOCK) !== 0;
}

async function readAll(stream: PipeIOStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof SystemError && error.code === code;
}

for (const backend of IOLoop.backends) {
  suite(`pipes on ${backend}`, { backend, limitMs: 30_000 }, (test) => {
    test('carry a child\u2019s standard input and output', async (context) => {
      const [toChild, childIn] = pipeFds();
      const [childOut, fromChild] = pipeFds();
      const { exit } = start(context, 'cat', [], [childIn, childOut, 'inherit']);
      closeSync(childIn);
      closeSync(childOut);
      const [input, output] = [open(context, toChild), open(context, fromChild)];
      const bytes = randomBytes(4 * MiB);
      const echo = readAll(output);
      await within(LIMIT_MS, input.write(bytes), 'the write');
      void input.end();
      assert.ok((await within(LIMIT_MS, echo, 'the echo')).equals(bytes));
      assert.is(await within(LIMIT_MS, exit, 'the exit'), 0);
      await within(LIMIT_MS, Promise.all([input.whenClosed, output.whenClosed]), 'the close');
    });

    test('fail with EPIPE when the reader has left', async (context) => {
      const [write, read] = pipeFds();
      const stream = open(context, write);
      closeSync(read);
      void stream.write('nobody hears it');
      await within(LIMIT_MS, stream.whenClosed, 'the close');
      assert.ok(hasCode('EPIPE')(stream.error), String(stream.error));
    });

    test('fail with EPIPE when the reader leaves while much is queued', async (context) => {
      const [write, read] = pipeFds();
      const stream = open(context, write);
      const written = stream.write(Buffer.alloc(MiB)).then(
        () => 'written',
        () => 'failed',
      );
      await turnsUntil(context.loop, () => stream.bytesWritten > 0);
      closeSync(read);
      assert.is(await within(LIMIT_MS, written, 'the failure'), 'failed');
      assert.ok(hasCode('EPIPE')(stream.error), String(stream.error));
    });

    test('end when the last writer has left', async (context) => {
      const [write, read] = pipeFds();
      const [writer, reader] = [open(context, write), open(context, read)];
      void writer.end('all there is');
      assert.is(String(await within(LIMIT_MS, readAll(reader), 'the bytes')), 'all there is');
      await within(LIMIT_MS, Promise.all([writer.whenClosed, reader.whenClosed]), 'the close');
      assert.is(reader.error ?? writer.error, null);
    });

    test('refuse what is none, which stays its owner\u2019s', (context) => {
      const { loop } = context;
      const directory = mkdtempSync(join(tmpdir(), 'ioloop-'));
      context.defer(() => rmSync(directory, { recursive: true }));
      const fds = [openSync(join(directory, 'file'), 'w+'), openSync(directory, 'r')];
      for (const fd of fds) assert.throws(() => new PipeIOStream(fd, { loop }), hasCode('EPERM'));
      for (const fd of fds) closeSync(fd);
      assert.throws(() => new PipeIOStream(99_999, { loop }), hasCode('EBADF'));
      assert.is(loop.metrics().streams, 0);
    });

    test('refuse to write what was opened for reading', async (context) => {
      const [write, read] = pipeFds();
      const reader = open(context, read);
      void reader.write('the wrong way');
      await within(LIMIT_MS, reader.whenClosed, 'the close');
      assert.ok(hasCode('EBADF')(reader.error), String(reader.error));
      closeSync(write);
    });
  });
}

suite('a process\u2019s own standard input and output', { limitMs: 30_000 }, (test) => {
  test('are streams, when they are sockets', async (context) => {
    const { child, exit } = start(context, process.execPath, echoArgs, ['pipe', 'pipe', 'inherit']);
    assert.ok(child.stdin && child.stdout);
    const bytes = randomBytes(MiB);
    const chunks: Buffer[] = [];
    child.stdout.on('data', (chunk) => void chunks.push(chunk));
    child.stdin.end(bytes);
    assert.is(await within(LIMIT_MS, exit, 'the exit'), 0);
    assert.ok(Buffer.concat(chunks).equals(bytes));
  });

  test('are streams, when they are pipes, and block again afterwards', async (context) => {
    const [toChild, childIn] = pipeFds();
    const [childOut, fromChild] = pipeFds();
    const blockingIn = openSync(`/proc/self/fd/${childIn}`, constants.O_RDONLY);
    closeSync(childIn);
    const { exit } = start(context, process.execPath, echoArgs, [blockingIn, childOut, 'inherit']);
    const [input, output] = [open(context, toChild), open(context, fromChild)];
    void input.write('ping\n');
    assert.is(String(await within(LIMIT_MS, output.readUntil('\n'), 'the echo')), 'ping\n');
    assert.ok(isNonBlocking(blockingIn) && isNonBlocking(childOut), 'they block meanwhile');
    void input.end();
    assert.is(await within(LIMIT_MS, exit, 'the exit'), 0);
    assert.not.ok(isNonBlocking(blockingIn), 'the input does not block any more');
    assert.not.ok(isNonBlocking(childOut), 'the output does not block any more');
    closeSync(blockingIn);
    closeSync(childOut);
  });
});
