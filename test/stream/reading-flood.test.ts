import * as assert from 'uvu/assert';

import { IOLoop, IOLoopError, IOStream, LimitError } from '../../src/index.ts';
import { connectPair, unixFds } from '../support/streams.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { within } from '../support/within.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
/** What a single receive takes. */
const RECEIVE = 64 * KiB;
/** readUntil()'s own. */
const LIMIT = 64 * KiB;
const STREAMS = 1_000;
const LIMIT_MS = count(60_000, 600_000);
const BLOCK = Buffer.alloc(MiB, 'x');

/** Writes `total` bytes without a delimiter, or as much as the peer bears. */
async function flood(stream: IOStream, total: number): Promise<void> {
  try {
    for (let sent = 0; sent < total; sent += BLOCK.length) await stream.write(BLOCK);
  } catch (error) {
    if (!IOLoopError.is(error, 'ERR_IOLOOP_STREAM_CLOSED')) throw error;
  }
  stream.abort();
}

/** Reads a line that never ends. */
async function readLine(stream: IOStream): Promise<LimitError> {
  try {
    await stream.readUntil('\n');
  } catch (error) {
    if (error instanceof LimitError) return error;
    throw error;
  }
  throw new Error('there was a line');
}

function manyPairs({ loop, defer }: TestContext, pairs: number): [IOStream, IOStream][] {
  return Array.from({ length: pairs }, () => {
    const [left, right] = unixFds();
    const streams: [IOStream, IOStream] = [IOStream.fromFd(left, { loop }), IOStream.fromFd(right, { loop })];
    defer(() => {
      for (const stream of streams) stream.abort();
      return Promise.all(streams.map((stream) => stream.whenClosed));
    });
    return streams;
  });
}

// The first: 2,000 descriptors are too many for select(2).
suite('a flood without a delimiter', { backend: IOLoop.backends[0] ?? 'auto', limitMs: LIMIT_MS }, (test) => {
  test('to one stream ends it at its limit', async (context) => {
    const { loop, left, right } = await connectPair('tcp', context);
    const [error] = await within(
      LIMIT_MS,
      Promise.all([readLine(right), flood(left, count(64, 1_024) * MiB)]),
      'the end of the flood',
    );
    await within(LIMIT_MS, right.whenClosed, 'the close');
    assert.is(error.limit, LIMIT);
    assert.is(right.error, error);
    // What a closing stream drains is not kept: DESIGN.md, section 5.
    assert.ok(right.bytesRead <= LIMIT + 2 * RECEIVE + 256 * KiB + RECEIVE, `${right.bytesRead} bytes came`);
    assert.is(loop.metrics().bytesBuffered, 0);
  });

  test('to a thousand streams ends each, and no more than their limits is ever held', async (context) => {
    const { loop } = context;
    const pairs = manyPairs(context, STREAMS);
    let most = 0;
    const measured = pairs.map(async ([left, right]) => {
      const flooded = flood(left, count(1, 1_024) * MiB);
      const error = await readLine(right);
      most = Math.max(most, loop.metrics().bytesBuffered);
      assert.is(error.limit, LIMIT);
      await Promise.all([flooded, right.whenClosed]);
    });
    await within(LIMIT_MS, Promise.all(measured), 'the end of the flood');
    assert.ok(most <= STREAMS * (LIMIT + 2 * RECEIVE), `${most} bytes were held`);
    assert.is(loop.metrics().bytesBuffered, 0);
  });

  test('that nobody reads stays where it is: readAhead is taken in, and no more', async (context) => {
    const { loop } = context;
    const pairs = manyPairs(context, STREAMS);
    for (const [left] of pairs) void left.write(BLOCK);
    // All that the kernel and the streams take: nothing moves any more.
    for (let before = -1, still = 0; still < 10; ) {
      await new Promise((resolve) => setImmediate(resolve));
      const { events } = loop.metrics();
      still = events === before ? still + 1 : 0;
      before = events;
    }
    for (const [, right] of pairs)
      assert.ok(right.bytesBuffered <= 64 * KiB + RECEIVE, `${right.bytesBuffered}`);
  });
});

suite('a message that comes byte by byte', { limitMs: LIMIT_MS }, (test) => {
  test('is found with its last byte, however long it is', async (context) => {
    const size = count(32, 1_024) * KiB;
    const { loop, left, right } = await connectPair('tcp', context);
    const message = right.readUntil('\r\n\r\n', { maxBytes: MiB });
    for (let sent = 0; sent < size - 4; sent++) {
      void left.write('\r');
      await left.flush();
      // A turn for each: what is sent within one would come together.
      await new Promise<void>((resolve) => loop.addCallback(resolve));
    }
    void left.write('\n\r\n');
    void left.write('next');
    assert.is((await within(LIMIT_MS, message, 'the message')).length, size - 1);
    assert.is((await right.readBytes(4)).toString(), 'next');
  });
});
