import { createHash } from 'node:crypto';
import * as assert from 'uvu/assert';

import { type IOStream, StreamClosedError, type StreamOptions } from '../../src/index.ts';
import { signal } from '../support/driven.ts';
import { Random } from '../support/random.ts';
import { deliver, streamKinds, suitePerStream, turnsUntil, withPair } from '../support/streams.ts';
import { count } from '../support/tier.ts';
import { neverCalled, nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

const KiB = 1024;
const LIMIT_MS = 10_000;
const HALF_OPEN: StreamOptions = { allowHalfOpen: true };

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Bytes of which no two stretches are alike. */
function randomBytes(random: Random, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let at = 0; at < length; at++) bytes[at] = random.below(256);
  return bytes;
}

suitePerStream('onData()', streamKinds, (test, kind) => {
  test('gives what came before it, then what comes, each byte once', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      await deliver(pair, Buffer.from('before '));
      let text = '';
      pair.right.onData((chunk, stream) => {
        assert.is(stream, pair.right);
        text += chunk.toString();
      });
      await deliver(pair, Buffer.from('after'));
      assert.is(text, 'before after');
      assert.is(pair.right.bytesBuffered, 0);
    });
  });

  test('gives nothing while its promise is pending, and all of it afterwards', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      const { loop, left, right } = pair;
      const { promise, fire } = signal();
      const told: string[] = [];
      right.onData((chunk) => {
        told.push(chunk.toString());
        return told.length === 1 ? promise : undefined;
      });
      await deliver(pair, Buffer.from('1'));
      void left.write('23');
      for (let turn = 0; turn < 20; turn++) await nextTurn(loop);
      assert.equal(told, ['1']);
      fire();
      await turnsUntil(loop, () => told.join('') === '123');
    });
  });

  test("waits for a promise that is settled already, but not for write()'s", async (context) => {
    for (const [makePromise, expected] of [
      [() => Promise.resolve(), 'a.b.'],
      ['write', 'ab..'],
    ] as const)
      await withPair(kind, context, {}, async ({ loop, left, right }) => {
        let told = '';
        right.unshift(Buffer.from('b'));
        right.unshift(Buffer.from('a'));
        right.onData((chunk) => {
          told += chunk.toString();
          queueMicrotask(() => {
            told += '.';
          });
          return makePromise === 'write' ? left.write('') : makePromise();
        });
        await turnsUntil(loop, () => told.length === 4);
        assert.is(told, expected);
      });
  });

  test('holds the end back while its promise is pending', async (context) => {
    await withPair(kind, context, {}, async ({ loop, left, right }) => {
      const { promise, fire } = signal();
      const told: string[] = [];
      right.onEnd(() => void told.push('end'));
      right.onClose(() => void told.push('close'));
      right.onData((chunk) => {
        told.push(chunk.toString());
        return promise;
      });
      void left.end('last');
      for (let turn = 0; turn < 30; turn++) await nextTurn(loop);
      assert.equal(told, ['last']);
      fire();
      await within(LIMIT_MS, right.whenClosed, 'the close');
      assert.equal(told, ['last', 'end', 'close']);
    });
  });

  test('gives nothing between pause() and resume(), and nothing within resume()', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      const { loop, left, right } = pair;
      let text = '';
      right.onData((chunk) => {
        text += chunk.toString();
        if (text === 'a') right.pause();
      });
      await deliver(pair, Buffer.from('a'));
      right.unshift(Buffer.from('b'));
      void left.write('c');
      for (let turn = 0; turn < 20; turn++) await nextTurn(loop);
      assert.is(text, 'a');
      right.resume();
      assert.is(text, 'a');
      await turnsUntil(loop, () => text === 'abc');
    });
  });

  test('loses and doubles nothing in a storm of pauses, promises and changes of reader', async (context) => {
    await withPair(kind, context, { left: HALF_OPEN, right: HALF_OPEN }, async ({ loop, left, right }) => {
      const random = new Random(67);
      const sent = randomBytes(random, count(1, 8) * 1024 * KiB);
      const received: Buffer[] = [];
      const ended = new Promise<void>((resolve) => right.onEnd(() => resolve()));
      const listener = (chunk: Buffer): undefined | Promise<void> => {
        received.push(chunk);
        for (let times = random.below(3); times > 0; times--) {
          right.pause();
          right.resume();
        }
        const mood = random.below(8);
        if (mood === 0) {
          right.pause();
          loop.addCallback(() => right.resume());
        }
        if (mood === 1) return nextTurn(loop);
        if (mood === 2) return Promise.resolve();
        if (mood === 3 && chunk.length > 1) right.unshift(received.pop() ?? chunk);
        if (mood === 4) {
          right.onData(null);
          loop.addCallback(() => right.onData(listener));
        }
        return undefined;
      };
      right.onData(listener);
      void left.end(sent);
      await within(60_000, ended, 'the end');
      assert.is(digest(Buffer.concat(received)), digest(sent));
    });
  });

  test('a throw, or a rejection, ends this stream and no other', async (context) => {
    const thrown = new Error('thrown on purpose');
    for (const listener of [
      () => {
        throw thrown;
      },
      () => Promise.reject(thrown),
      async () => {
        await Promise.resolve();
        throw thrown;
      },
    ])
      await withPair(kind, context, {}, async (pair) => {
        const { loop, right } = pair;
        const told: unknown[] = [];
        // What has no server goes where a handler's throw goes.
        right.owner = {
          streamFailed: (stream, error) => told.push(stream === right, error),
          streamEvicted: neverCalled,
          streamClosed: () => {},
        };
        right.onData(listener);
        void pair.left.write('x');
        await within(LIMIT_MS, right.whenClosed, 'the close');
        await nextTurn(loop);
        assert.equal(told, [true, thrown]);
        assert.is(right.error, thrown);
      });
  });

  test("a rejection by this stream's StreamClosedError is no error", async (context) => {
    await withPair(kind, context, {}, async ({ left, right }) => {
      right.owner = { streamFailed: neverCalled, streamEvicted: neverCalled, streamClosed: () => {} };
      right.onData(async () => {
        right.abort();
        await right.readBytes(1).catch((error: unknown) => {
          assert.instance(error, StreamClosedError);
          throw error;
        });
      });
      void left.write('x');
      await within(LIMIT_MS, right.whenClosed, 'the close');
    });
  });
});

suitePerStream('a listener that is busy when the stream fails', ['tcp', 'sim'], (test, kind) => {
  test('is given all that came before, and then told of the close', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      const { loop, left, right } = pair;
      const { promise, fire } = signal();
      const told: string[] = [];
      right.onClose((error) => void told.push(`close ${(error as NodeJS.ErrnoException).code}`));
      right.onData((chunk) => {
        told.push(chunk.toString());
        return promise;
      });
      await deliver(pair, Buffer.from('first'));
      void left.write('second');
      await left.flush();
      left.abort();
      while (!right.closed) {
        void right.write('x');
        await nextTurn(loop);
      }
      await within(LIMIT_MS, right.whenClosed, 'the close');
      assert.equal(told, ['first']);
      fire();
      await turnsUntil(loop, () => told.length === 3);
      assert.equal(told.slice(0, 2), ['first', 'second']);
      assert.match(told[2] ?? '', /^close (EPIPE|ECONNRESET)$/);
    });
  });

  test('or paused, is given it when it resumes', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      const { loop, left, right } = pair;
      const told: string[] = [];
      right.onClose(() => void told.push('close'));
      right.onData((chunk) => {
        told.push(chunk.toString());
        right.pause();
      });
      await deliver(pair, Buffer.from('first'));
      void left.write('second');
      await left.flush();
      left.abort();
      while (!right.closed) {
        void right.write('x');
        await nextTurn(loop);
      }
      right.resume();
      await turnsUntil(loop, () => told.length === 3);
      assert.equal(told, ['first', 'second', 'close']);
    });
  });
});

/** Echoes lines until there are none. */
async function serveLines(stream: IOStream, answer: (line: string) => Promise<string>): Promise<void> {
  for (;;) void stream.write(await answer((await stream.readUntil('\n')).toString()));
}

suitePerStream('ten lines and an end in one segment', ['tcp', 'unix', 'tls', 'sim'], (test, kind) => {
  test('get ten answers, however late, while a handler has the stream', async (context) => {
    await withPair(kind, context, { left: HALF_OPEN }, async ({ loop, left, right }) => {
      right.hold();
      const served = serveLines(right, async (line) => {
        for (let turn = 0; turn < 10; turn++) await nextTurn(loop);
        return `> ${line}`;
      }).catch((error: unknown) => {
        assert.instance(error, StreamClosedError);
        right.release();
      });
      const lines = Array.from({ length: 10 }, (_, i) => `line ${i}\n`);
      const answers = left.readUntilClose();
      void left.end(lines.join(''));
      await within(LIMIT_MS, served, 'the end of the handler');
      const text = (await within(LIMIT_MS, answers, 'the answers')).toString();
      assert.is(text, lines.map((line) => `> ${line}`).join(''));
      await within(LIMIT_MS, right.whenClosed, 'the close');
      assert.is(right.error, null);
    });
  });
});
