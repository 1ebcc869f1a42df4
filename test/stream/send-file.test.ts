import { randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

import { IOLoopError, type IOStream } from '../../src/index.ts';
import { type StreamPair, streamKinds, suitePerStream, turnsUntil, withPair } from '../support/streams.ts';
import type { TestContext } from '../support/suite.ts';
import { within } from '../support/within.ts';

const LIMIT_MS = 8_000;
/** More than a connection holds. */
const LARGE = 12 * 1024 * 1024;

/** A file of these bytes, removed with the test. */
function makeFile({ defer }: TestContext, content: Uint8Array): string {
  const directory = mkdtempSync(join(tmpdir(), 'ioloop-'));
  defer(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'file');
  writeFileSync(path, content);
  return path;
}

/** All that comes. */
async function readAll(stream: IOStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** What `write` sends through the pair, to the end. */
async function received({ left, right }: StreamPair, write: () => Promise<unknown>): Promise<Buffer> {
  const reading = readAll(right);
  reading.catch(() => {});
  await within(LIMIT_MS, write(), 'what is sent');
  void left.end();
  return within(LIMIT_MS, reading, 'what is received');
}

async function rejection(promise: Promise<unknown>): Promise<NodeJS.ErrnoException> {
  return within(LIMIT_MS, promise, 'the refusal').then(
    () => assert.unreachable('it was not refused'),
    (error) => error,
  );
}

suitePerStream('sendFile()', streamKinds, (test, kind) => {
  test('sends a whole file in its place among the writes', (context) =>
    withPair(kind, context, {}, async (pair) => {
      const content = randomBytes(300_000);
      const path = makeFile(context, content);
      const bytes = await received(pair, async () => {
        void pair.left.write('before,');
        const sent = pair.left.sendFile(path);
        void pair.left.write(',between,');
        const again = pair.left.sendFile(path);
        void pair.left.write(',behind');
        assert.equal(await Promise.all([sent, again]), [300_000, 300_000]);
      });
      const [before, between, behind] = ['before,', ',between,', ',behind'].map((text) => Buffer.from(text));
      assert.ok(
        bytes.equals(Buffer.concat([before, content, between, content, behind] as readonly Buffer[])),
      );
    }));

  test('sends one that the connection cannot hold', (context) =>
    withPair(kind, context, {}, async (pair) => {
      const content = randomBytes(LARGE);
      const bytes = await received(pair, async () => {
        assert.is(await pair.left.sendFile(makeFile(context, content)), LARGE);
      });
      assert.ok(bytes.equals(content));
      assert.is(pair.left.bytesWritten, LARGE);
    }));

  test('sends a range, as much of it as there is', (context) =>
    withPair(kind, context, {}, async (pair) => {
      const path = makeFile(context, Buffer.from('0123456789'));
      const ranges = [{ start: 3, end: 6 }, { start: 8 }, { end: 2 }, { start: 7, end: 99 }, { start: 10 }];
      const beyond = [{ start: 50 }, { start: 4, end: 4 }];
      const counts: number[] = [];
      const bytes = await received(pair, async () => {
        for (const range of [...ranges, ...beyond]) counts.push(await pair.left.sendFile(path, range));
      });
      assert.equal(counts, [3, 2, 2, 3, 0, 0, 0]);
      assert.is(String(bytes), '345' + '89' + '01' + '789');
    }));

  test('sends by a descriptor, which stays the caller\u2019s and where it was', (context) =>
    withPair(kind, context, {}, async (pair) => {
      const fd = openSync(makeFile(context, Buffer.from('by descriptor')), 'r');
      context.defer(() => closeSync(fd));
      const bytes = await received(pair, async () => {
        assert.is(await pair.left.sendFile(fd), 13);
        assert.is(await pair.left.sendFile(fd, { start: 3 }), 10);
      });
      assert.is(String(bytes), 'by descriptordescriptor');
    }));

  test('sends an empty file, which is nothing', (context) =>
    withPair(kind, context, {}, async (pair) => {
      const bytes = await received(pair, async () => {
        assert.is(await pair.left.sendFile(makeFile(context, Buffer.alloc(0))), 0);
        await pair.left.write('!');
      });
      assert.is(String(bytes), '!');
    }));

  test('tells how many bytes those of a file were that is cut meanwhile', (context) =>
    withPair(kind, context, {}, async (pair) => {
      const path = makeFile(context, Buffer.alloc(2 * LARGE, 'x'));
      pair.right.pause();
      let sent = -1;
      const bytes = await received(pair, async () => {
        const sending = pair.left.sendFile(path);
        await turnsUntil(pair.loop, () => pair.left.bytesWritten > 0);
        truncateSync(path, LARGE);
        pair.right.resume();
        sent = await sending;
      });
      assert.ok(sent >= LARGE && sent < 2 * LARGE, `${sent} bytes`);
      assert.is(bytes.length, sent);
    }));

  test('refuses what is no file, and writes nothing', (context) =>
    withPair(kind, context, {}, async (pair) => {
      const { left } = pair;
      const bytes = await received(pair, async () => {
        assert.is((await rejection(left.sendFile('/no/such/file'))).code, 'ENOENT');
        for (const source of [tmpdir(), '/dev/null', {} as string, -1])
          assert.is((await rejection(left.sendFile(source))).code, 'ERR_IOLOOP_INVALID_ARGUMENT');
        for (const range of [{ start: -1 }, { start: 5, end: 4 }, { end: 1.5 }])
          assert.is(
            (await rejection(left.sendFile(makeFile(context, Buffer.from('x')), range))).code,
            'ERR_IOLOOP_INVALID_ARGUMENT',
          );
        await left.write('fine');
      });
      assert.is(String(bytes), 'fine');
    }));

  test('ends the waiting by its signal, and sends on what was begun', (context) =>
    withPair(kind, context, {}, async (pair) => {
      const content = randomBytes(LARGE);
      const path = makeFile(context, content);
      const bytes = await received(pair, async () => {
        pair.right.pause();
        const controller = new AbortController();
        const sending = pair.left.sendFile(path, { signal: controller.signal });
        await turnsUntil(pair.loop, () => pair.left.bytesWritten > 0);
        controller.abort(new Error('tired'));
        assert.is((await rejection(sending)).name, 'AbortError');
        // Takes the number of a descriptor that was closed too early.
        const other = openSync(makeFile(context, Buffer.alloc(LARGE, '!')), 'r');
        context.defer(() => closeSync(other));
        pair.right.resume();
        await pair.left.write('behind');
        await pair.left.flush();
      });
      assert.is(bytes.length, LARGE + 'behind'.length);
      assert.ok(bytes.subarray(0, LARGE).equals(content));
    }));

  test('fails with the stream, which loses its descriptor to the caller', (context) =>
    withPair(kind, context, {}, async ({ left, right, loop }) => {
      right.pause();
      const fd = openSync(makeFile(context, Buffer.alloc(LARGE)), 'r');
      const sending = left.sendFile(fd);
      await turnsUntil(loop, () => left.bytesWritten > 0);
      left.abort();
      const error = await rejection(sending);
      assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_STREAM_CLOSED'), error.message);
      closeSync(fd);
      await within(LIMIT_MS, left.whenClosed, 'the close');
    }));

  test('ends the stream when the caller closes the descriptor too early', (context) =>
    withPair(kind, context, {}, async ({ left, right, loop }) => {
      right.pause();
      const fd = openSync(makeFile(context, Buffer.alloc(2 * LARGE)), 'r');
      const sending = left.sendFile(fd);
      await turnsUntil(loop, () => left.bytesWritten > 0);
      closeSync(fd);
      right.onData(() => {});
      right.resume();
      const error = await rejection(sending);
      assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_STREAM_CLOSED'), error.message);
      await within(LIMIT_MS, left.whenClosed, 'the close');
      assert.is((left.error as NodeJS.ErrnoException).code, 'EBADF');
    }));
});
