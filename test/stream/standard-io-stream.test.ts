import { randomBytes } from 'node:crypto';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

import {
  IOLoop,
  IOLoopError,
  PipeIOStream,
  type StandardIOOptions,
  StandardIOStream,
  SystemError,
} from '../../src/index.ts';
import { addon } from '../../src/native.ts';
import { pipeFds, turnsUntil, unixFds } from '../support/streams.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

const LIMIT_MS = 10_000;
const MiB = 1024 * 1024;

/** A stream over `input` and `output`, closed with the test. */
function openOver(
  { loop, defer }: TestContext,
  input: number,
  output: number,
  options: StandardIOOptions = {},
): StandardIOStream {
  const stream = new StandardIOStream({ loop, input, output, ...options });
  defer(async () => {
    stream.abort();
    await stream.whenClosed;
    // A file is never waited for: what it was to be told is a callback, which comes for nothing.
    if (loop.fd >= 0) await nextTurn(loop);
  });
  return stream;
}

function pipe({ loop, defer }: TestContext, fd: number): PipeIOStream {
  const stream = new PipeIOStream(fd, { loop });
  defer(() => {
    stream.abort();
    return stream.whenClosed;
  });
  return stream;
}

/** A stream over two pipes, and their other ends. */
function overPipes(context: TestContext, options?: StandardIOOptions) {
  const [toStream, input] = pipeFds();
  const [output, fromStream] = pipeFds();
  const stream = openOver(context, input, output, options);
  return { stream, writer: pipe(context, toStream), reader: pipe(context, fromStream) };
}

/** A directory that goes with the test. */
function directory({ defer }: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'ioloop-'));
  defer(() => rmSync(path, { recursive: true }));
  return path;
}

/** Whether `fd` is non-blocking: as fcntl(2) with F_GETFL says. */
function isNonBlocking(fd: number): boolean {
  const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '';
  return (Number.parseInt(flags, 8) & constants.O_NONBLOCK) !== 0;
}

async function readAll(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function echo(stream: StandardIOStream): Promise<void> {
  for await (const chunk of stream) await stream.write(chunk);
  await stream.close();
}

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => (error instanceof SystemError || IOLoopError.is(error)) && error.code === code;
}

for (const backend of IOLoop.backends)
  suite(`standard input and output on ${backend}`, { backend, limitMs: 30_000 }, (test) => {
    test('are one stream, when they are pipes', async (context) => {
      const { stream, writer, reader } = overPipes(context);
      const bytes = randomBytes(2 * MiB);
      const answer = readAll(reader);
      void writer.write(bytes);
      void writer.end();
      await within(LIMIT_MS, echo(stream), 'the end of the stream');
      assert.ok((await within(LIMIT_MS, answer, 'the answer')).equals(bytes));
      assert.equal([stream.error, stream.bytesRead, stream.bytesWritten], [null, 2 * MiB, 2 * MiB]);
      assert.equal([String(stream.local), String(stream.remote)], ['', '']);
    });

    test('are one stream, when they are files', async (context) => {
      const path = directory(context);
      const bytes = randomBytes(3 * MiB);
      writeFileSync(join(path, 'in'), bytes);
      const output = openSync(join(path, 'out'), 'w');
      const stream = openOver(context, openSync(join(path, 'in'), 'r'), output, { maxWritePerTurn: 4096 });
      await within(LIMIT_MS, echo(stream), 'the end of the stream');
      assert.ok(readFileSync(join(path, 'out')).equals(bytes));
    });

    test('give other work its turns, when the input is a file', async (context) => {
      const path = join(directory(context), 'in');
      writeFileSync(path, randomBytes(MiB));
      const openFile = (): StandardIOStream =>
        openOver(context, openSync(path, 'r'), openSync('/dev/null', 'w'), { maxReadPerTurn: 4096 });
      const turns = (): number => context.loop.metrics().turns;
      const atLeast = MiB / (64 * 1024);
      const before = turns();
      assert.is((await within(LIMIT_MS, readAll(openFile()), 'the file')).length, MiB);
      const between = turns();
      const stream = openFile();
      stream.onData(() => {});
      await within(LIMIT_MS, stream.whenClosed, 'the end');
      assert.is(stream.bytesRead, MiB);
      assert.ok(between - before >= atLeast && turns() - between >= atLeast, 'it came in one turn');
    });

    test('wait while nobody reads, and go on, when the input is a file', async (context) => {
      const path = join(directory(context), 'in');
      const middle = 'x'.repeat(MiB / 2);
      writeFileSync(path, `first\n${middle}\nlast\n`);
      const stream = openOver(context, openSync(path, 'r'), openSync('/dev/null', 'w'), { readAhead: 1 });
      assert.is(String(await within(LIMIT_MS, stream.readUntil('\n'), 'a line')), 'first\n');
      assert.ok(stream.bytesRead < middle.length, 'all of it was read ahead');
      const bytes = await within(LIMIT_MS, stream.readBytes(middle.length), 'the bytes');
      assert.is(String(bytes), middle);
      stream.pause();
      const rest = readAll(stream);
      stream.resume();
      assert.is(String(await within(LIMIT_MS, rest, 'the rest')), '\nlast\n');
    });

    test('end at once, when the input is /dev/null', async (context) => {
      const [output, other] = pipeFds();
      const stream = openOver(context, openSync('/dev/null', 'r'), output);
      const reader = pipe(context, other);
      void stream.write('goodbye');
      assert.is(String(await within(LIMIT_MS, readAll(stream), 'the end')), '');
      assert.is(String(await within(LIMIT_MS, readAll(reader), 'the bytes')), 'goodbye');
      await within(LIMIT_MS, stream.whenClosed, 'the close');
    });

    test('know the peer, when both are one socket', async (context) => {
      const [left, right] = unixFds();
      const stream = openOver(context, left, addon().duplicate(left), { allowHalfOpen: true });
      const peer = pipe(context, right);
      assert.is(stream.remote.family, 'Unix');
      assert.match(String(stream.remote), /\/s$/);
      await stream.end('all of it');
      assert.is(String(await within(LIMIT_MS, readAll(peer), 'the bytes')), 'all of it');
    });

    test('end our half, and go on reading', async (context) => {
      const { stream, writer, reader } = overPipes(context, { allowHalfOpen: true });
      await stream.end('question');
      assert.is(String(await within(LIMIT_MS, readAll(reader), 'the bytes')), 'question');
      void writer.end('answer');
      assert.is(String(await within(LIMIT_MS, stream.readUntilClose(), 'the answer')), 'answer');
      await within(LIMIT_MS, stream.whenClosed, 'the close');
    });

    test('fail with EPIPE, when the output\u2019s reader leaves while much is queued', async (context) => {
      const { stream, reader } = overPipes(context);
      const written = stream.write(Buffer.alloc(MiB)).then(
        () => 'written',
        () => 'failed',
      );
      await turnsUntil(context.loop, () => stream.bytesWritten > 0);
      reader.abort();
      assert.is(await within(LIMIT_MS, written, 'the failure'), 'failed');
      assert.ok(hasCode('EPIPE')(stream.error), String(stream.error));
      await within(LIMIT_MS, stream.whenClosed, 'the close');
    });

    test('put the flags of an open file back that both share', async (context) => {
      const [write, read] = pipeFds();
      // For both directions it waits for nobody: fifo(7).
      const input = openSync(`/proc/self/fd/${read}`, constants.O_RDWR);
      for (const fd of [write, read]) closeSync(fd);
      const shells = addon().duplicate(input);
      context.defer(() => addon().closeStream(shells));
      const stream = openOver(context, input, addon().duplicate(input));
      assert.ok(isNonBlocking(shells), 'it blocks meanwhile');
      await within(LIMIT_MS, stream.close(), 'the close');
      assert.not.ok(isNonBlocking(shells), 'it does not block any more');
    });

    test('end with their loop', async (context) => {
      const { stream } = overPipes(context);
      await within(LIMIT_MS, context.loop.close({ graceMs: 0 }), 'the end of the loop');
      assert.ok(stream.closed);
    });

    test('are refused where they are none, and stay their owner\u2019s', (context) => {
      const { loop } = context;
      const [write, read] = pipeFds();
      const blocking = openSync(`/proc/self/fd/${read}`, constants.O_RDONLY);
      const path = openSync(directory(context), 'r');
      const open = (input: number, output: number) => () => new StandardIOStream({ loop, input, output });
      assert.throws(open(blocking, path), hasCode('EPERM'));
      assert.not.ok(isNonBlocking(blocking), 'the input does not block any more');
      assert.throws(open(path, write), hasCode('EPERM'));
      assert.throws(open(99_999, write), hasCode('EBADF'));
      assert.throws(open(read, read), hasCode('ERR_IOLOOP_INVALID_ARGUMENT'));
      assert.throws(open(-1, write), hasCode('ERR_IOLOOP_INVALID_ARGUMENT'));
      for (const fd of [write, read, blocking, path]) closeSync(fd);
      assert.is(loop.metrics().streams, 0);
    });

    test('cannot be detached', (context) => {
      const { stream } = overPipes(context);
      assert.throws(() => stream.detach(), hasCode('ERR_IOLOOP_INVALID_STATE'));
    });
  });
