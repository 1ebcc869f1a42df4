import { createHash, randomFillSync } from 'node:crypto';
import * as assert from 'uvu/assert';

import { type IOStream, LimitError } from '../../src/index.ts';
import { type StreamPair, streamKinds, suitePerStream, turnsUntil, withPair } from '../support/streams.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const LIMIT_MS = 30_000;
/** From here on a write is kept by reference. */
const BORROWED_FROM = 16 * KiB;
/** What a TLS session and the stream below it hold beside the queue. */
const BENEATH = { tcp: 0, unix: 0, pipe: 0, sim: 0, tls: 2 * 65 * KiB };
/** Two, three and four bytes of UTF-8 each, and one that is half of a pair and becomes U+FFFD. */
const WIDE_TEXT = 'aé€😀\ud800';

/** The next `length` bytes. */
async function receive(stream: IOStream, length: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for (let left = length; left > 0; ) {
    const chunk = await stream.readBytes(left, { partial: true });
    chunks.push(chunk);
    left -= chunk.length;
  }
  return Buffer.concat(chunks);
}

/** Writes until the kernel takes no more and more than `least` bytes are queued; how many bytes that were. */
async function fill({ loop, left }: StreamPair, least: number): Promise<number> {
  const chunk = Buffer.alloc(8 * KiB, 'f');
  let total = 0;
  for (let before = -1; left.bytesQueued <= least || left.bytesWritten > before; ) {
    before = left.bytesWritten;
    for (let i = 0; i < 16; i++) void left.write(chunk);
    total += 16 * chunk.length;
    await nextTurn(loop);
  }
  return total;
}

/** Whether `promise` has settled by now, as far as the microtasks that wait. */
async function hasSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const note = (): void => {
    settled = true;
  };
  promise.then(note, note);
  for (let tick = 0; tick < 8; tick++) await null;
  return settled;
}

suitePerStream('writing', streamKinds, (test, kind) => {
  test('delivers every size, from one buffer that is refilled after each write', (context) =>
    withPair(kind, context, {}, async ({ left, right }) => {
      const sizes = [1, 100, BORROWED_FROM - 1, BORROWED_FROM, BORROWED_FROM + 1, 100_000, MiB, 5, MiB];
      const buffer = Buffer.alloc(MiB);
      const expected = createHash('sha256');
      const received = receive(
        right,
        sizes.reduce((sum, size) => sum + size, 0),
      );
      for (const size of sizes) {
        randomFillSync(buffer);
        expected.update(buffer.subarray(0, size));
        await within(LIMIT_MS, left.write(buffer.subarray(0, size)), `a write of ${size} bytes`);
      }
      const actual = createHash('sha256').update(await within(LIMIT_MS, received, 'the bytes'));
      assert.is(actual.digest('hex'), expected.digest('hex'));
    }));

  test('keeps the order of small, large, listed and textual writes', (context) =>
    withPair(kind, context, {}, async ({ left, right }) => {
      const large = randomFillSync(Buffer.alloc(300_000));
      const small = Buffer.from('small');
      const text = WIDE_TEXT.repeat(3_000);
      const texts = [Buffer.from(WIDE_TEXT), Buffer.from(text)];
      const expected = Buffer.concat([small, large, small, small, large, ...texts, large, small]);
      const received = receive(right, expected.length);
      void left.write(small);
      void left.write(large);
      void left.write([small, Buffer.alloc(0), small, large]);
      void left.write(WIDE_TEXT);
      void left.write(text);
      void left.write(large);
      await within(LIMIT_MS, left.write('small'), 'the last write');
      assert.ok((await within(LIMIT_MS, received, 'the bytes')).equals(expected));
    }));

  test('takes nothing, in each way that it can be written, for nothing', (context) =>
    withPair(kind, context, {}, async ({ loop, left, right }) => {
      await left.write('');
      await left.write(Buffer.alloc(0));
      await left.write([]);
      await left.write([Buffer.alloc(0), Buffer.alloc(0)]);
      await nextTurn(loop);
      assert.is(left.bytesQueued, 0);
      await left.write('!');
      assert.is(String(await within(LIMIT_MS, receive(right, 1), 'a byte')), '!');
      assert.is(left.bytesWritten, 1);
    }));

  test('takes more buffers at once than one system call does', (context) =>
    withPair(kind, context, {}, async ({ left, right }) => {
      const small = Array.from({ length: 5_000 }, (_, at) => Buffer.from([at & 0xff, at >> 8]));
      const large = Array.from({ length: 100 }, () => randomFillSync(Buffer.alloc(BORROWED_FROM)));
      const received = receive(right, 10_000 + 100 * BORROWED_FROM);
      await within(LIMIT_MS, left.write([...small, ...large]), 'the write');
      assert.ok((await within(LIMIT_MS, received, 'the bytes')).equals(Buffer.concat([...small, ...large])));
    }));

  test('returns one settled promise for all that need not be waited for', (context) =>
    withPair(kind, context, {}, async ({ left, right }) => {
      const settled = left.write('a');
      assert.is(left.write(Buffer.from('b')), settled);
      assert.is(left.write([Buffer.from('c'), Buffer.from('d')]), settled);
      assert.is(left.write(WIDE_TEXT.repeat(3)), settled);
      assert.ok(await hasSettled(settled));
      await left.flush();
      await receive(right, 4);
    }));

  test('waits above the high water mark, and exactly as long', (context) =>
    withPair(kind, context, { left: { highWaterMark: 100_000 } }, async (pair) => {
      const { loop, left, right } = pair;
      const mark = 100_000 + BENEATH[kind];
      right.pause();
      await fill(pair, 300_000);
      const written = left.write('x');
      const same = left.write('y');
      let settledAt = -1;
      void written.then(() => {
        settledAt = left.bytesQueued;
      });
      assert.not.ok(await hasSettled(written));
      right.onData(() => {});
      right.resume();
      await within(
        LIMIT_MS,
        turnsUntil(loop, () => left.bytesQueued <= 100_000),
        'the low mark',
      );
      await nextTurn(loop);
      assert.ok(settledAt >= 0, 'it waits below the mark');
      assert.ok(settledAt <= mark, `it did not wait: ${settledAt} bytes are queued`);
      assert.ok(await hasSettled(same));
    }));

  test('takes one write of any size, and aborts at the next above the limit', (context) =>
    withPair(kind, context, { left: { maxWriteBufferSize: MiB } }, async (pair) => {
      const { loop, left, right } = pair;
      right.pause();
      const big = left.write(Buffer.alloc(12 * MiB));
      assert.ok(left.bytesQueued > MiB);
      assert.not.ok(left.closed);
      const flushed = left.flush();
      const refused = left.write('one byte more');
      const outcomes = await within(LIMIT_MS, Promise.allSettled([big, flushed, refused]), 'the outcomes');
      assert.equal(
        outcomes.map(({ status }) => status),
        ['rejected', 'rejected', 'rejected'],
      );
      assert.instance(left.error, LimitError);
      assert.is((left.error as LimitError).code, 'ERR_IOLOOP_BUFFER_FULL');
      assert.is((left.error as LimitError).limit, MiB);
      await within(LIMIT_MS, left.whenClosed, 'the close');
      assert.is(left.bytesQueued, 0);
      assert.is(loop.metrics().bytesQueued, 0);
      await nextTurn(loop);
    }));

  test('end() rejects when its data is what goes over the limit', (context) =>
    withPair(kind, context, { left: { maxWriteBufferSize: MiB } }, async ({ left, right }) => {
      right.pause();
      void left.write(Buffer.alloc(12 * MiB));
      const [outcome] = await within(LIMIT_MS, Promise.allSettled([left.end('more')]), 'the outcome');
      assert.is(outcome.status, 'rejected');
      assert.instance(left.error, LimitError);
    }));

  test('flush() settles when all that was written before is in the kernel', (context) =>
    withPair(kind, context, {}, async (pair) => {
      const { left, right } = pair;
      right.pause();
      const before = await fill(pair, 100_000);
      const flushed = left.flush();
      assert.not.ok(await hasSettled(flushed));
      void left.write(Buffer.alloc(2 * MiB));
      const reading = receive(right, before + 2 * MiB);
      right.resume();
      await within(LIMIT_MS, flushed, 'the flush');
      assert.ok(left.bytesWritten >= before, `${left.bytesWritten} of ${before} bytes have left`);
      await within(LIMIT_MS, reading, 'the bytes');
    }));

  test('flush() leaves nothing behind, above the descriptor either', (context) =>
    withPair(kind, context, {}, async ({ left, right }) => {
      right.onData(() => {});
      for (const size of [10, 20_000, 64 * 1024, MiB]) {
        void left.write(Buffer.alloc(size));
        await within(LIMIT_MS, left.flush(), 'the flush');
        assert.is(left.bytesQueued, 0);
      }
    }));

  test('counts what is queued, and nothing when it has left', (context) =>
    withPair(kind, context, {}, async (pair) => {
      const { loop, left, right } = pair;
      right.pause();
      const total = await fill(pair, 200_000);
      assert.ok(loop.metrics().bytesQueued >= 200_000);
      const reading = receive(right, total);
      right.resume();
      await within(LIMIT_MS, reading, 'the bytes');
      await within(LIMIT_MS, left.flush(), 'the flush');
      assert.is(loop.metrics().bytesQueued, 0);
      assert.is(loop.metrics().bytesBuffered, 0);
    }));
});
