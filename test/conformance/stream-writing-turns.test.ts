import * as assert from 'uvu/assert';

import { IOLoop, IOStream, type StreamOptions } from '../../src/index.ts';
import { addon } from '../../src/native.ts';
import { streamSettings } from '../../src/stream/stream-options.ts';
import { tcpFds, turnsUntil, unixFds } from '../support/streams.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

/** Counts the sends that it makes. */
class CountingStream extends IOStream {
  sends = 0;

  static over(fd: number, options: StreamOptions): CountingStream {
    addon().adoptSocket(fd);
    return new CountingStream(fd, streamSettings(options), null);
  }

  protected override writeToFd(source: Uint8Array, start: number, end: number): number {
    this.sends++;
    return super.writeToFd(source, start, end);
  }

  protected override writeViewsToFd(views: readonly Uint8Array[], skip: number): number {
    this.sends++;
    return super.writeViewsToFd(views, skip);
  }
}

/** A stream that counts, and its peer; closed with the test. */
function connect({ loop, defer }: TestContext, fds = tcpFds): { left: CountingStream; right: IOStream } {
  const [near, far] = fds();
  const left = CountingStream.over(near, { loop });
  const right = IOStream.fromFd(far, { loop });
  defer(async () => {
    left.abort();
    right.abort();
    await Promise.all([left.whenClosed, right.whenClosed]);
  });
  return { left, right };
}

/** Calls `body` in a turn, and returns when that has settled. */
async function inTurn(loop: IOLoop, body: () => unknown): Promise<void> {
  const called = new Promise<void>((resolve, reject) => {
    loop.addCallback(() => {
      Promise.resolve()
        .then(body)
        .then(() => resolve(), reject);
    });
  });
  await called;
  await nextTurn(loop);
}

for (const backend of IOLoop.backends) {
  suite(`when writes leave on ${backend}`, { backend }, (test) => {
    test('writes of one turn leave together, at its end', async (context) => {
      const { left, right } = connect(context);
      await inTurn(context.loop, () => {
        for (let i = 0; i < 500; i++) void left.write(`message ${i}\n`);
        assert.is(left.sends, 0);
      });
      assert.is(left.sends, 1);
      for (let i = 0; i < 500; i++)
        assert.is(String(await within(5_000, right.readUntil('\n'), 'a message')), `message ${i}\n`);
    });

    test('so do those of its microtasks', async (context) => {
      const { left } = connect(context);
      await inTurn(context.loop, async () => {
        for (let i = 0; i < 50; i++) {
          await left.write('step\n');
          await null;
        }
      });
      assert.is(left.sends, 1);
    });

    test('writes of several streams take a send each', async (context) => {
      const streams = Array.from({ length: 10 }, () => connect(context, unixFds).left);
      await inTurn(context.loop, () => {
        for (let i = 0; i < 10; i++) for (const stream of streams) void stream.write('x');
      });
      assert.equal(
        streams.map(({ sends }) => sends),
        streams.map(() => 1),
      );
    });

    test('writes outside of a turn leave when the callback and its continuations are done', async (context) => {
      const { left, right } = connect(context);
      await new Promise<void>((resolve, reject) => {
        setImmediate(() => {
          void left.write('a');
          void (async () => {
            await null;
            void left.write('b');
            await null;
            void left.write('c');
            assert.is(left.sends, 0);
          })().then(resolve, reject);
        });
      });
      assert.is(String(await within(5_000, right.readBytes(3), 'the bytes')), 'abc');
      assert.is(left.sends, 1);
    });

    test('flush() sends in the call', async (context) => {
      const { left, right } = connect(context);
      void left.write('now');
      assert.is(left.sends, 0);
      const flushed = left.flush();
      assert.is(left.sends, 1);
      assert.is(left.bytesQueued, 0);
      await flushed;
      assert.is(String(await within(5_000, right.readBytes(3), 'the bytes')), 'now');
      assert.is(left.sends, 1);
    });

    test('more than 64 KiB leave in the call', async (context) => {
      const { left, right } = connect(context);
      const chunk = Buffer.alloc(1024, 'x');
      for (let i = 0; i < 64; i++) void left.write(chunk);
      assert.is(left.sends, 0);
      void left.write('x');
      assert.is(left.sends, 1);
      assert.is(left.bytesQueued, 0);
      await within(5_000, right.readBytes(64 * 1024 + 1), 'the bytes');
    });

    test('a large write leaves in the call, with what was queued before it', async (context) => {
      const { left, right } = connect(context);
      void left.write('head ');
      void left.write(Buffer.alloc(20_000, 'b'));
      assert.is(left.sends, 1);
      assert.is(left.bytesQueued, 0);
      assert.is(String(await within(5_000, right.readBytes(7), 'the bytes')), 'head bb');
    });

    test('end() sends what is queued in the call', async (context) => {
      const { left, right } = connect(context);
      void left.write('all of ');
      const ended = left.end('it');
      assert.is(left.sends, 1);
      await ended;
      assert.is(String(await within(5_000, right.readUntilClose(), 'the bytes')), 'all of it');
    });

    test('an echo costs one receive and one send a turn, and no change of what is watched', async (context) => {
      const { loop } = context;
      const { left, right } = connect(context);
      left.onData((chunk) => left.write(chunk));
      const ask = async (): Promise<void> => {
        void right.write('ping');
        await right.readBytes(4);
      };
      await within(5_000, ask(), 'the first echo');
      const beside = ({ systemCalls, polls } = loop.metrics()): number => systemCalls - polls;
      const before = { sends: left.sends, beside: beside() };
      for (let i = 0; i < 100; i++) await within(5_000, ask(), 'an echo');
      assert.is(left.sends - before.sends, 100);
      assert.is(beside() - before.beside, 0, 'calls of the loop beside its waits');
    });

    test('what the kernel does not take waits until it does', async (context) => {
      const { loop } = context;
      const { left, right } = connect(context);
      right.pause();
      const total = 32 * 1024 * 1024;
      void left.write(Buffer.alloc(total));
      await turnsUntil(loop, () => left.bytesQueued > 0);
      const { sends } = left;
      for (let i = 0; i < 20; i++) await nextTurn(loop);
      assert.ok(left.sends - sends <= 20, 'it tries again and again');
      let received = 0;
      right.onData((chunk) => {
        received += chunk.length;
      });
      right.resume();
      await within(
        8_000,
        turnsUntil(loop, () => received === total),
        'the bytes',
      );
    });
  });
}
