import * as assert from 'uvu/assert';

import { IOLoopError, type IOStream, LimitError, StreamClosedError } from '../../src/index.ts';
import { deliver, streamKinds, suitePerStream, turnsUntil, withPair } from '../support/streams.ts';
import { within } from '../support/within.ts';

const KiB = 1024;
const LIMIT_MS = 10_000;

async function limitError(promise: Promise<unknown>): Promise<LimitError> {
  try {
    await within(LIMIT_MS, promise, 'the limit');
  } catch (error) {
    if (error instanceof LimitError) return error;
    throw error;
  }
  throw new Error('the read was satisfied');
}

/** Each read that has a limit, of 100 bytes. */
const limited: Readonly<Record<string, (stream: IOStream) => Promise<Buffer>>> = {
  readUntil: (stream) => stream.readUntil('\n', { maxBytes: 100 }),
  readUntilRegex: (stream) => stream.readUntilRegex(/\n/, { maxBytes: 100 }),
  readUntilClose: (stream) => stream.readUntilClose({ maxBytes: 99 }),
};

/** Those that can answer. */
const twoWay = streamKinds.filter((kind) => kind !== 'pipe');

suitePerStream('reads over their limit', streamKinds, (test, kind) => {
  for (const [name, read] of Object.entries(limited)) {
    test(`${name}() rejects with the limit, byte by byte too, and the stream closes`, async (context) => {
      for (const size of [1, 100])
        await withPair(kind, context, {}, async (pair) => {
          const { right } = pair;
          const waiting = limitError(read(right));
          for (let sent = 0; sent < 100; sent += size) await deliver(pair, Buffer.alloc(size, 'x'));
          const error = await waiting;
          assert.is(error.code, 'ERR_IOLOOP_READ_LIMIT');
          assert.is(error.limit, name === 'readUntilClose' ? 99 : 100);
          await within(LIMIT_MS, right.whenClosed, 'the close');
          assert.is(right.error, error);
          assert.is(right.bytesBuffered, 0);
        });
    });
  }

  test('a message exactly as long as its limit is read', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      const { right } = pair;
      const wire = Buffer.from(`${'x'.repeat(98)}\r\n`);
      for (const read of [
        () => right.readUntil('\r\n', { maxBytes: 100 }),
        () => right.readUntilRegex(/\r\n/, { maxBytes: 100 }),
      ]) {
        const message = read();
        for (const byte of wire) await deliver(pair, Buffer.of(byte));
        assert.is((await within(LIMIT_MS, message, 'the message')).length, 100);
      }
    });
  });

  test('readUntil() stops at 64 KiB by default, readUntilClose() at maxBufferSize', async (context) => {
    for (const [read, limit] of [
      [(stream: IOStream) => stream.readUntil('\n'), 64 * KiB],
      [(stream: IOStream) => stream.readUntilRegex(/\n/), 64 * KiB],
      [(stream: IOStream) => stream.readUntilClose(), 128 * KiB],
    ] as const)
      await withPair(kind, context, { right: { maxBufferSize: 128 * KiB } }, async ({ left, right }) => {
        const waiting = limitError(read(right));
        void left.write(Buffer.alloc(512 * KiB, 'x'));
        assert.is((await waiting).limit, limit);
        // What was received when it was noticed: a receive more than the limit at most.
        assert.ok(right.bytesRead <= limit + 64 * KiB, `${right.bytesRead} bytes were received`);
        await within(LIMIT_MS, right.whenClosed, 'the close');
      });
  });

  test('readInto() has none but its target, and receives right there', async (context) => {
    const options = { maxBufferSize: 64 * KiB, readAhead: 16 * KiB };
    await withPair(kind, context, { right: options }, async ({ loop, left, right }) => {
      const wire = Buffer.alloc(1024 * KiB, '0123456789abcdefghijklmnopqrstuvwxyz');
      const target = Buffer.alloc(wire.length);
      let most = 0;
      const watched = turnsUntil(loop, () => {
        most = Math.max(most, right.bytesBuffered);
        return right.bytesRead === wire.length;
      });
      const reading = right.readInto(target);
      void left.write(wire);
      assert.is(await within(LIMIT_MS, reading, 'all of it'), wire.length);
      await watched;
      assert.ok(target.equals(wire), 'other bytes came');
      assert.is(most, 0, 'bytes went through the buffer');
    });
  });

  test('nobody reading, no more than readAhead is taken in', async (context) => {
    await withPair(kind, context, { right: { readAhead: 10 * KiB } }, async ({ loop, left, right }) => {
      void left.write(Buffer.alloc(512 * KiB, 'x'));
      await turnsUntil(loop, () => right.bytesBuffered >= 10 * KiB);
      const { turns } = loop.metrics();
      await turnsUntil(loop, () => loop.metrics().turns > turns + 20);
      assert.ok(right.bytesBuffered <= 10 * KiB + 64 * KiB, `${right.bytesBuffered} bytes are buffered`);
      for (let left = 512 * KiB; left > 0; ) left -= (await right.readBytes(left, { partial: true })).length;
    });
  });
});

suitePerStream('after LimitError', twoWay, (test, kind) => {
  test('an answer written in the catch block goes out before the stream closes', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      const { left, right } = pair;
      const served = (async () => {
        try {
          await right.readUntil('\n', { maxBytes: 10 });
        } catch (error) {
          if (!IOLoopError.is(error, 'ERR_IOLOOP_READ_LIMIT')) throw error;
          void right.write('too long\n');
        }
      })();
      const answer = left.readUntilClose();
      void left.write('x'.repeat(1_000));
      await within(LIMIT_MS, served, 'the answer');
      assert.is((await within(LIMIT_MS, answer, 'the end of the answer')).toString(), 'too long\n');
      await within(LIMIT_MS, right.whenClosed, 'the close');
    });
  });

  test('also where the bytes were there before the read', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      const { left, right } = pair;
      await deliver(pair, Buffer.alloc(100, 'x'));
      const answer = left.readUntilClose();
      await right.readUntil('\n', { maxBytes: 10 }).catch(() => right.write('too long\n'));
      assert.is((await within(LIMIT_MS, answer, 'the end of the answer')).toString(), 'too long\n');
    });
  });

  test('tryReadUntil() throws it, and the stream closes as well', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      const { left, right } = pair;
      await deliver(pair, Buffer.alloc(100, 'x'));
      const answer = left.readUntilClose();
      try {
        right.tryReadUntil('\n', { maxBytes: 10 });
        assert.unreachable('the limit was not told');
      } catch (error) {
        assert.instance(error, LimitError);
        void right.write('too long\n');
      }
      assert.is((await within(LIMIT_MS, answer, 'the end of the answer')).toString(), 'too long\n');
    });
  });

  test('reads are refused once the stream closes, and its error is their cause', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      const { right } = pair;
      await deliver(pair, Buffer.alloc(100, 'x'));
      const error = await limitError(right.readUntil('\n', { maxBytes: 10 }));
      await within(LIMIT_MS, right.whenClosed, 'the close');
      try {
        await right.readBytes(1);
        assert.unreachable('a closed stream was read');
      } catch (refusal) {
        assert.instance(refusal, StreamClosedError);
        assert.is((refusal as StreamClosedError).cause, error);
      }
    });
  });
});
