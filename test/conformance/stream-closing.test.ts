import { createHash, randomFillSync } from 'node:crypto';
import * as assert from 'uvu/assert';

import { IOLoopError, type IOStream, StreamClosedError } from '../../src/index.ts';
import {
  type StreamKind,
  type StreamPair,
  streamKinds,
  suitePerStream,
  turnsUntil,
  withPair,
} from '../support/streams.ts';
import { count } from '../support/tier.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

const MiB = 1024 * 1024;
const LIMIT_MS = 8_000;
/** Those that go both ways and have halves of their own. */
const twoWay: readonly StreamKind[] = streamKinds.filter((kind) => kind !== 'pipe');
/** Those whose end may be a reset. */
const sockets: readonly StreamKind[] = ['tcp', 'unix', 'sim'];

async function rejection(promise: Promise<unknown>, what: string): Promise<NodeJS.ErrnoException> {
  const outcome = within(LIMIT_MS, promise, what).then(
    () => assert.unreachable(`${what} was no failure`),
    (error) => error,
  );
  return await outcome;
}

function isClosedError(error: unknown, stream: IOStream): void {
  assert.instance(error, StreamClosedError);
  assert.is((error as StreamClosedError).code, 'ERR_IOLOOP_STREAM_CLOSED');
  assert.is((error as StreamClosedError).stream, stream);
}

/** Reads to the end; the SHA-256 of it. */
function hashOf(stream: IOStream): Promise<string> {
  const reading = (async () => {
    const hash = createHash('sha256');
    for await (const chunk of stream) hash.update(chunk);
    return hash.digest('hex');
  })();
  // A test that fails before it waits for this is told by that failure.
  reading.catch(() => {});
  return reading;
}

suitePerStream('closing', streamKinds, (test, kind) => {
  test('close() delivers all that was written, then ends the peer', (context) =>
    withPair(kind, context, {}, async ({ left, right }) => {
      const bytes = randomFillSync(Buffer.alloc(count(4, 50) * MiB));
      const received = hashOf(right);
      void left.write('head');
      void left.write(bytes);
      const closed = left.close();
      assert.ok(left.closed);
      assert.is(
        await within(4 * LIMIT_MS, received, 'the bytes'),
        createHash('sha256').update('head').update(bytes).digest('hex'),
      );
      await within(LIMIT_MS, closed, 'the close');
      await within(LIMIT_MS, right.whenClosed, 'the close of the peer');
      assert.is(left.error, null);
      assert.is(right.error, null);
      assert.ok(right.ended);
      assert.is(left.fd, -1);
    }));

  test('is told once, last of all, and whenClosed settles for all who ask', (context) =>
    withPair(kind, context, {}, async ({ loop, left, right }) => {
      const told: string[] = [];
      for (const stream of [left, right]) {
        const name = stream === left ? 'left' : 'right';
        stream.onEnd(() => void told.push(`${name} ended`));
        stream.onClose((error, closed) => {
          assert.is(error, null);
          assert.is(closed, stream);
          told.push(`${name} closed`);
        });
      }
      right.onData(() => void told.push('right received'));
      void left.write('x');
      await within(LIMIT_MS, Promise.all([left.close(), left.close(), left.whenClosed]), 'the close');
      await within(LIMIT_MS, right.whenClosed, 'the close of the peer');
      await left.close();
      left.abort();
      await left.whenClosed;
      await nextTurn(loop);
      assert.equal(
        told.filter((what) => what.startsWith('right')),
        ['right received', 'right ended', 'right closed'],
      );
      assert.equal(
        told.filter((what) => what.startsWith('left')),
        ['left closed'],
      );
    }));

  test('refuses what comes after it', (context) =>
    withPair(kind, context, {}, async ({ left }) => {
      void left.close();
      const refused = [left.write('x'), left.write(Buffer.alloc(MiB)), left.end('x'), left.readBytes(1)];
      for (const promise of refused) isClosedError(await rejection(promise, 'an operation'), left);
      isClosedError(await rejection(left.sendFile(import.meta.filename), 'sendFile()'), left);
      for (const call of [() => left.tryReadBytes(1), () => left.unshift(Buffer.from('x'))])
        assert.throws(call, (error: unknown) => error instanceof StreamClosedError);
      left.pause();
      left.resume();
      await within(LIMIT_MS, left.whenClosed, 'the close');
      isClosedError(await rejection(left.flush(), 'flush()'), left);
      isClosedError(await rejection(left.write('x'), 'write()'), left);
      left.pause();
      left.resume();
    }));

  test('rejects the read that waits, with what it was given', (context) =>
    withPair(kind, context, {}, async ({ right }) => {
      const reading = right.readUntil('\n');
      const reason = new Error('enough');
      void right.close(reason);
      const error = await rejection(reading, 'the read');
      isClosedError(error, right);
      assert.is(error.cause, reason);
      await within(LIMIT_MS, right.whenClosed, 'the close');
      assert.is(right.error, reason);
    }));

  test('abort() drops what is queued, and settles everything', (context) =>
    withPair(kind, context, {}, async ({ loop, left, right }) => {
      right.pause();
      const reason = new Error('no more');
      const waiting = [left.write(Buffer.alloc(16 * MiB)), left.flush(), left.sendFile(import.meta.filename)];
      let told: Error | null | undefined;
      left.onClose((error) => {
        assert.is(told, undefined);
        told = error;
      });
      assert.ok(left.bytesQueued > 0);
      left.abort(reason);
      assert.ok(left.closed);
      for (const promise of waiting) {
        const error = await rejection(promise, 'what waited');
        isClosedError(error, left);
        assert.is(error.cause, reason);
      }
      await within(LIMIT_MS, left.whenClosed, 'the close');
      await within(
        LIMIT_MS,
        turnsUntil(loop, () => told !== undefined),
        'onClose',
      );
      assert.is(told, reason);
      assert.is(left.error, reason);
      assert.is(left.bytesQueued, 0);
      assert.is(left.bytesBuffered, 0);
      await nextTurn(loop);
    }));

  for (const end of ['close', 'abort'] as const) {
    test(`${end}() inside each callback`, (context) =>
      withPair(kind, context, {}, async ({ loop, left, right }) => {
        const inside = (stream: IOStream): void => {
          void stream[end]();
        };
        let closes = 0;
        right.onData((_, stream) => inside(stream));
        right.onEnd(inside);
        right.onClose((_, stream) => {
          closes++;
          inside(stream);
        });
        left.onClose((_, stream) => inside(stream));
        void left.write('x');
        await within(LIMIT_MS, right.whenClosed, 'the close');
        void left.close();
        await within(LIMIT_MS, left.whenClosed, 'the close of the peer');
        await nextTurn(loop);
        assert.is(closes, 1);
      }));
  }
});

suitePerStream('half-open streams', twoWay, (test, kind) => {
  test('end() ends our half, and reading goes on', (context) =>
    withPair(kind, context, { right: { allowHalfOpen: true } }, async ({ left, right }) => {
      const question = right.readUntilClose();
      await within(LIMIT_MS, left.end('question'), 'the end');
      isClosedError(await rejection(left.write('more'), 'a write after the end'), left);
      await within(LIMIT_MS, left.end(), 'the end, asked for again');
      assert.is(String(await within(LIMIT_MS, question, 'the question')), 'question');
      assert.ok(right.ended);
      assert.not.ok(right.closed);
      const answer = left.readUntilClose();
      await right.end('answer');
      assert.is(String(await within(LIMIT_MS, answer, 'the answer')), 'answer');
      // Both halves have ended: that is the end of both.
      await within(LIMIT_MS, Promise.all([left.whenClosed, right.whenClosed]), 'the close');
      assert.is(left.error ?? right.error, null);
    }));

  test('a peer that has ended its half still gets 10 MB', (context) =>
    withPair(kind, context, { right: { allowHalfOpen: true } }, async ({ left, right }) => {
      const bytes = randomFillSync(Buffer.alloc(10 * MiB));
      const received = hashOf(left);
      void left.end('GET\n');
      assert.is(String(await within(LIMIT_MS, right.readUntil('\n'), 'the question')), 'GET\n');
      await within(LIMIT_MS, right.write(bytes), 'the answer');
      void right.close();
      assert.is(
        await within(LIMIT_MS, received, 'the bytes'),
        createHash('sha256').update(bytes).digest('hex'),
      );
      await within(LIMIT_MS, Promise.all([left.whenClosed, right.whenClosed]), 'the close');
    }));

  test('without allowHalfOpen the peer\u2019s end closes, and delivers what was written', (context) =>
    withPair(kind, context, {}, async ({ left, right }) => {
      const received = hashOf(left);
      const bytes = randomFillSync(Buffer.alloc(4 * MiB));
      right.onData(() => void right.write(bytes));
      void left.end('GET');
      await within(LIMIT_MS, right.whenClosed, 'the close');
      assert.is(
        await within(LIMIT_MS, received, 'the bytes'),
        createHash('sha256').update(bytes).digest('hex'),
      );
      assert.is(right.error, null);
      await within(LIMIT_MS, left.whenClosed, 'the close of the peer');
    }));
});

suitePerStream('resets', sockets, (test, kind) => {
  const abortWhile = async (pair: StreamPair, waiting: Promise<unknown>): Promise<NodeJS.ErrnoException> => {
    // Where bytes of it were unread, a Unix socket resets too: unix(7).
    pair.right.abort();
    const error = await rejection(waiting, 'what waited');
    isClosedError(error, pair.left);
    await within(LIMIT_MS, pair.left.whenClosed, 'the close');
    assert.is(pair.left.error, error.cause ?? null);
    return error;
  };

  test('abort() resets: the peer\u2019s read fails with ECONNRESET', (context) =>
    withPair(kind, context, {}, async (pair) => {
      void pair.left.write('never read');
      await pair.left.flush();
      const error = await abortWhile(pair, pair.left.readUntil('\n'));
      if (kind === 'tcp') assert.is((error.cause as NodeJS.ErrnoException).code, 'ECONNRESET');
    }));

  test('a reset ends a write with 1 MB queued', (context) =>
    withPair(kind, context, {}, async (pair) => {
      pair.right.pause();
      const written = pair.left.write(Buffer.alloc(16 * MiB));
      assert.ok(pair.left.bytesQueued > MiB);
      const error = await abortWhile(pair, written);
      const { code } = error.cause as NodeJS.ErrnoException;
      assert.ok(code === 'ECONNRESET' || code === 'EPIPE', code);
      assert.not.ok(IOLoopError.is(error.cause));
    }));
});
