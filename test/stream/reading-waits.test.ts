import { getEventListeners } from 'node:events';
import * as assert from 'uvu/assert';

import {
  AbortError,
  type IOLoop,
  IOLoopError,
  type IOStream,
  LimitError,
  TimeoutError,
  type WaitOptions,
} from '../../src/index.ts';
import { TICK_MS } from '../../src/stream/timeout-wheel.ts';
import { type StreamPair, withPair } from '../support/streams.ts';
import { suite } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';

/** Every read that waits, asking for more than "abc". */
const reads: Readonly<Record<string, (stream: IOStream, options: WaitOptions) => Promise<unknown>>> = {
  readUntil: (stream, options) => stream.readUntil('\n', options),
  readUntilRegex: (stream, options) => stream.readUntilRegex(/\n/, options),
  readBytes: (stream, options) => stream.readBytes(4, options),
  readInto: (stream, options) => stream.readInto(Buffer.alloc(4), options),
  readUntilClose: (stream, options) => stream.readUntilClose(options),
};

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('the read did not reject');
}

function delay(loop: IOLoop, delayMs: number): Promise<void> {
  return new Promise((resolve) => loop.callLater(delayMs, resolve));
}

/** Has `text` received. */
async function receive({ loop, left, right }: StreamPair, text: string): Promise<void> {
  const expected = right.bytesRead + text.length;
  void left.write(text);
  while (right.bytesRead < expected) await nextTurn(loop);
}

for (const [name, read] of Object.entries(reads)) {
  suite(`waits of ${name}()`, (test) => {
    test('end by a timeout, never early and a tick late at most', async (context) => {
      await withPair('sim', context, {}, async ({ loop, right }) => {
        for (const timeoutMs of [0, 1, 99, 100, 101, 12_345.6]) {
          const begunMs = loop.time();
          const error = await rejection(read(right, { timeoutMs }));
          const tookMs = loop.time() - begunMs;
          assert.instance(error, TimeoutError);
          assert.ok(tookMs >= timeoutMs && tookMs <= timeoutMs + TICK_MS, `${timeoutMs} ms took ${tookMs}`);
        }
      });
    });

    test('end by a timeout or a signal and lose nothing', async (context) => {
      await withPair('sim', context, {}, async (pair) => {
        const { right } = pair;
        const controller = new AbortController();
        const timedOut = rejection(read(right, { timeoutMs: 500 }));
        await receive(pair, 'a');
        assert.instance(await timedOut, TimeoutError);
        const aborted = rejection(read(right, { signal: controller.signal }));
        await receive(pair, 'bc');
        controller.abort(new Error('enough'));
        const error = await aborted;
        assert.instance(error, AbortError);
        assert.is((error as AbortError).cause, controller.signal.reason);
        assert.is(right.bytesBuffered, 3);
        await receive(pair, 'd');
        assert.is((await right.readBytes(4)).toString(), 'abcd');
        assert.not.ok(right.closed);
      });
    });

    test('begin with no wait where the signal is aborted already', async (context) => {
      await withPair('sim', context, {}, async (pair) => {
        await receive(pair, 'abc\n');
        const error = await rejection(read(pair.right, { signal: AbortSignal.abort() }));
        assert.instance(error, AbortError);
        assert.is(pair.right.bytesBuffered, 4);
      });
    });

    test('leave no listener on the signal, however they end', async (context) => {
      await withPair('sim', context, {}, async (pair) => {
        const { signal } = new AbortController();
        const listeners = (): number => getEventListeners(signal, 'abort').length;
        const timedOut = rejection(read(pair.right, { signal, timeoutMs: 100 }));
        assert.is(listeners(), 1);
        await timedOut;
        assert.is(listeners(), 0);

        const done = read(pair.right, { signal });
        void pair.left.end('abc\n');
        await done;
        assert.is(listeners(), 0);
        await rejection(read(pair.right, { signal, timeoutMs: 100 }).then(() => pair.right.readBytes(1)));
        assert.is(listeners(), 0);
      });
    });

    test('end with the stream, and leave no listener then', async (context) => {
      await withPair('sim', context, {}, async ({ right }) => {
        const { signal } = new AbortController();
        const waiting = rejection(read(right, { signal, timeoutMs: 60_000 }));
        right.abort(new Error('told so'));
        assert.is(((await waiting) as Error).cause, right.error);
        assert.is(getEventListeners(signal, 'abort').length, 0);
      });
    });
  });
}

suite('waits of reads', (test) => {
  test('that were satisfied are not timed out or aborted afterwards', async (context) => {
    await withPair('sim', context, {}, async (pair) => {
      const { loop, right } = pair;
      const controller = new AbortController();
      const line = right.readUntil('\n', { timeoutMs: 1_000, signal: controller.signal });
      await receive(pair, 'a\n');
      assert.is((await line).toString(), 'a\n');
      const next = right.readUntil('\n');
      controller.abort();
      await delay(loop, 5_000);
      await receive(pair, 'b\n');
      assert.is((await next).toString(), 'b\n');
    });
  });

  test('have deadlines of their own, one after the other', async (context) => {
    await withPair('sim', context, {}, async ({ loop, right }) => {
      const begunMs = loop.time();
      for (const timeoutMs of [5_000, 100, 3_000, 200]) {
        const error = await rejection(right.readBytes(1, { timeoutMs }));
        assert.match(String(error), `${timeoutMs} ms`);
      }
      const tookMs = loop.time() - begunMs;
      assert.ok(tookMs >= 8_300 && tookMs <= 8_300 + 4 * TICK_MS, `8,300 ms took ${tookMs}`);
    });
  });

  test('for a pattern end a few ticks after the packet that completes the message', async (context) => {
    await withPair('sim', context, {}, async (pair) => {
      const { loop, right } = pair;
      const message = right.readUntilRegex(/\r\n\r\n/);
      for (let i = 0; i < 50; i++) await receive(pair, 'Header: value');
      await receive(pair, '\r\n\r\n');
      const sentMs = loop.time();
      assert.is((await message).length, 50 * 13 + 4);
      assert.ok(loop.time() - sentMs <= 3 * TICK_MS, `found after ${loop.time() - sentMs} ms`);
    });
  });

  test('for a pattern are within their timeout, too', async (context) => {
    await withPair('sim', context, {}, async (pair) => {
      const { loop, right } = pair;
      const begunMs = loop.time();
      const waiting = rejection(right.readUntilRegex(/\n/, { timeoutMs: 700 }));
      for (let i = 0; i < 20; i++) {
        void pair.left.write('a');
        await delay(loop, 30);
      }
      assert.instance(await waiting, TimeoutError);
      const tookMs = loop.time() - begunMs;
      assert.ok(tookMs >= 700 && tookMs <= 800, `700 ms took ${tookMs}`);
      assert.is(right.bytesBuffered, 20);
    });
  });

  test('for a target that was transferred meanwhile end the stream, since its bytes are gone', async (context) => {
    for (const timeoutMs of [500, undefined])
      await withPair('sim', context, {}, async (pair) => {
        const target = new Uint8Array(10);
        const waiting = rejection(pair.right.readInto(target, { timeoutMs }));
        await receive(pair, 'abc');
        structuredClone(target.buffer, { transfer: [target.buffer] });
        if (timeoutMs === undefined) void pair.left.write('def');
        const error = await waiting;
        await pair.right.whenClosed;
        assert.ok(IOLoopError.is(pair.right.error, 'ERR_IOLOOP_INVALID_STATE'));
        if (timeoutMs === undefined) assert.is(error, pair.right.error);
        else assert.instance(error, TimeoutError);
      });
  });

  test('end once: what is aborted from within a rejection does not matter', async (context) => {
    await withPair('sim', context, {}, async (pair) => {
      const controller = new AbortController();
      const settled: string[] = [];
      const waiting = pair.right
        .readUntil('\n', { maxBytes: 10, signal: controller.signal, timeoutMs: 1_000 })
        .then(
          () => settled.push('resolved'),
          (error: Error) => {
            settled.push(error.name);
            controller.abort();
          },
        );
      await receive(pair, 'x'.repeat(10));
      await waiting;
      assert.equal(settled, ['LimitError']);
      assert.instance(pair.right.error, LimitError);
    });
  });
});
