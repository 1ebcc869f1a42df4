import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

import { IOLoopError, IOStream, LimitError, type StreamOptions } from '../../src/index.ts';
import { TICK_MS } from '../../src/stream/timeout-wheel.ts';
import type { SimNetwork } from '../../src/testing/sim.ts';
import { simNetwork } from '../support/sim.ts';
import { suite, type TestContext } from '../support/suite.ts';

const MiB = 1024 * 1024;

interface World {
  readonly network: SimNetwork;
  /** The stream under test, with `options`. */
  readonly stream: IOStream;
  readonly peer: IOStream;
}

/** Runs `body` with a pair by a virtual clock, then closes both. */
async function withStream(
  context: TestContext,
  options: StreamOptions,
  body: (world: World) => Promise<void>,
): Promise<void> {
  const network = simNetwork(context);
  const loop = network.createLoop();
  const [near, far] = network.connectPair();
  const stream = IOStream.fromFd(near, { ...options, loop });
  const peer = IOStream.fromFd(far, { loop, allowHalfOpen: true, readAhead: 1 });
  peer.pause();
  await body({ network, stream, peer });
  await network.run(() => {
    stream.abort();
    peer.abort();
    return Promise.all([stream.whenClosed, peer.whenClosed]);
  });
}

/** Lets time pass to just before `dueMs` from `sinceMs`, and to a tick after it: it closes in between. */
async function closesAt({ network, stream }: World, sinceMs: number, dueMs: number): Promise<void> {
  await network.advance(sinceMs + dueMs - 1 - network.timeMs);
  assert.not.ok(stream.closed, 'it is closed too early');
  await network.advance(TICK_MS + 2);
  assert.ok(stream.closed, 'it is not closed in time');
}

function isCode(error: unknown, code: IOLoopError['code']): void {
  assert.ok(IOLoopError.is(error, code), `${error}`);
}

suite('idleTimeoutMs', (test) => {
  test('closes a stream on which nothing moves, and tells its reader', (context) =>
    withStream(context, { idleTimeoutMs: 60_000 }, async (world) => {
      const { stream, network } = world;
      let failed: unknown;
      stream.readUntil('\n').catch((error) => {
        failed = error;
      });
      await closesAt(world, network.timeMs, 60_000);
      isCode(stream.error, 'ERR_IOLOOP_IDLE');
      isCode(failed, 'ERR_IOLOOP_STREAM_CLOSED');
      assert.is((failed as Error).cause, stream.error);
    }));

  test('counts from what came or left last, in whatever place of a tick', (context) =>
    withStream(context, { idleTimeoutMs: 1_000 }, async (world) => {
      const { stream, peer, network } = world;
      stream.onData(() => {});
      for (let round = 0; round < 20; round++) {
        await network.advance(937);
        if (round % 2 === 0) void peer.write('.');
        else void stream.write('.');
        await network.advance(0);
      }
      await closesAt(world, network.timeMs, 1_000);
    }));

  test('delivers what was written before it', (context) =>
    withStream(context, { idleTimeoutMs: 1_000 }, async (world) => {
      const { stream, peer, network } = world;
      void stream.write('last words');
      await closesAt(world, network.timeMs, 1_000);
      peer.resume();
      assert.is(String(await network.run(() => peer.readUntilClose())), 'last words');
    }));
});

suite('writeTimeoutMs', (test) => {
  test('aborts when no queued byte leaves', (context) =>
    withStream(context, { writeTimeoutMs: 5_000 }, async (world) => {
      const { stream, network } = world;
      const written = stream.write(Buffer.alloc(MiB));
      await network.advance(0);
      await closesAt(world, network.timeMs, 5_000);
      isCode(stream.error, 'ERR_IOLOOP_TIMEOUT');
      isCode(await written.catch((error) => error), 'ERR_IOLOOP_STREAM_CLOSED');
      assert.is(stream.bytesQueued, 0);
    }));

  test('counts anew whenever some leave', (context) =>
    withStream(context, { writeTimeoutMs: 1_000 }, async (world) => {
      const { stream, peer, network } = world;
      void stream.write(Buffer.alloc(4 * MiB));
      for (let round = 0; round < 20; round++) {
        await network.advance(900);
        await network.run(() => readSome(peer));
        await network.advance(0);
      }
      assert.ok(stream.bytesQueued > 0);
      await closesAt(world, network.timeMs, 1_000);
    }));

  test('never closes a stream with an empty queue', (context) =>
    withStream(context, { writeTimeoutMs: 1_000 }, async ({ stream, network }) => {
      void stream.write('taken by the kernel');
      await network.advance(60_000);
      assert.not.ok(stream.closed);
    }));

  test('holds for a file, too', (context) =>
    withStream(context, { writeTimeoutMs: 5_000 }, async (world) => {
      const directory = mkdtempSync(join(tmpdir(), 'ioloop-'));
      context.defer(() => rmSync(directory, { recursive: true }));
      const path = join(directory, 'file');
      writeFileSync(path, '');
      truncateSync(path, MiB);
      const sending = world.stream.sendFile(path).catch((error) => error);
      await world.network.advance(0);
      await closesAt(world, world.network.timeMs, 5_000);
      isCode(await sending, 'ERR_IOLOOP_STREAM_CLOSED');
    }));
});

suite('softWriteBufferSize', (test) => {
  const options = { softWriteBufferSize: 100_000, softWriteTimeoutMs: 10_000 };

  test('aborts a stream that has more queued for too long, with no traffic at all', (context) =>
    withStream(context, options, async (world) => {
      const { stream, network } = world;
      void stream.write(Buffer.alloc(MiB));
      await network.advance(0);
      await closesAt(world, network.timeMs, 10_000);
      isCode(stream.error, 'ERR_IOLOOP_BUFFER_FULL');
      assert.is((stream.error as LimitError).limit, 100_000);
      assert.instance(stream.error, LimitError);
    }));

  test('forgives one that comes below it in time', (context) =>
    withStream(context, options, async ({ stream, peer, network }) => {
      for (let round = 0; round < 5; round++) {
        void stream.write(Buffer.alloc(300_000));
        await network.advance(8_000);
        await network.run(async () => {
          while (stream.bytesQueued > 50_000) await readSome(peer, 50_000);
        });
      }
      await network.advance(60_000);
      assert.not.ok(stream.closed);
    }));
});

suite('minReadRate', (test) => {
  const options = { minReadRate: 1_000, rateGraceMs: 5_000 };

  test('closes a stream whose message comes too slowly', (context) =>
    withStream(context, options, async ({ stream, peer, network }) => {
      const reading = stream.readUntil('\n').catch((error) => error);
      for (let second = 0; second < 7 && !stream.closed; second++) {
        void peer.write('slow');
        await network.advance(1_000);
      }
      isCode(stream.error, 'ERR_IOLOOP_TOO_SLOW');
      isCode(await reading, 'ERR_IOLOOP_STREAM_CLOSED');
    }));

  test('has patience for as long as the grace lasts', (context) =>
    withStream(context, options, async (world) => {
      const { stream, peer, network } = world;
      stream.readUntil('\n').catch(() => {});
      await network.advance(60_000);
      void peer.write('a message begins');
      await network.advance(0);
      await closesAt(world, network.timeMs, 5_000);
    }));

  test('never closes an idle chat', (context) =>
    withStream(context, options, async ({ stream, peer, network }) => {
      const lines: string[] = [];
      const chat = (async () => {
        for (let i = 0; i < 5; i++) lines.push(String(await stream.readUntil('\n')));
      })();
      for (let line = 0; line < 5; line++) {
        await network.advance(3_600_000);
        void peer.write('hello\n');
      }
      await network.run(() => chat);
      await network.advance(3_600_000);
      assert.is(lines.length, 5);
      assert.not.ok(stream.closed);
    }));

  test('asks nothing of reads that take what there is', (context) =>
    withStream(context, options, async ({ stream, peer, network }) => {
      stream.onData(() => {});
      for (let round = 0; round < 50; round++) {
        void peer.write('.');
        await network.advance(1_000);
      }
      assert.not.ok(stream.closed);
    }));

  test('lets pass what is fast enough', (context) =>
    withStream(context, options, async ({ stream, peer, network }) => {
      const reading = stream.readBytes(60_000);
      for (let second = 0; second < 60; second++) {
        void peer.write(Buffer.alloc(1_001));
        await network.advance(1_000);
      }
      await network.run(() => reading);
      assert.not.ok(stream.closed);
    }));
});

suite('minWriteRate', (test) => {
  const options = { minWriteRate: 10_000, rateGraceMs: 5_000 };

  test('aborts a stream whose peer takes too little', (context) =>
    withStream(context, options, async (world) => {
      const { stream, network } = world;
      void stream.write(Buffer.alloc(MiB));
      await network.advance(0);
      await closesAt(world, network.timeMs, 5_000);
      isCode(stream.error, 'ERR_IOLOOP_TOO_SLOW');
    }));

  test('asks nothing while nothing is queued', (context) =>
    withStream(context, options, async ({ stream, network }) => {
      for (let round = 0; round < 10; round++) {
        void stream.write('.');
        await network.advance(60_000);
      }
      assert.not.ok(stream.closed);
    }));
});

suite('closeTimeoutMs', (test) => {
  test('aborts a close that makes no progress', (context) =>
    withStream(context, { closeTimeoutMs: 20_000 }, async (world) => {
      const { stream, network } = world;
      void stream.write(Buffer.alloc(MiB));
      await network.advance(1_000);
      void stream.close();
      await network.advance(0);
      const sinceMs = network.timeMs;
      await network.advance(19_999);
      assert.ok(stream.fd >= 0, 'it gave up too early');
      await network.advance(TICK_MS + 2);
      assert.is(stream.fd, -1);
      assert.ok(network.timeMs - sinceMs < 20_200);
      isCode(stream.error, 'ERR_IOLOOP_TIMEOUT');
    }));

  test('is 30 seconds where nothing is said, also for a close by the peer\u2019s end', (context) =>
    withStream(context, {}, async ({ stream, peer, network }) => {
      void stream.write(Buffer.alloc(MiB));
      void peer.end();
      await network.advance(29_000);
      assert.ok(stream.fd >= 0);
      await network.advance(2_000);
      assert.is(stream.fd, -1);
    }));

  test('is never over while the peer takes something now and then', (context) =>
    withStream(context, { closeTimeoutMs: 1_000 }, async ({ stream, peer, network }) => {
      void stream.write(Buffer.alloc(2 * MiB));
      const closed = stream.close();
      let received = 0;
      while (received < 2 * MiB) {
        await network.advance(900);
        received += await network.run(() => readSome(peer));
      }
      await network.run(() => closed);
      assert.is(stream.error, null);
    }));
});

suite('a lingering close', (test) => {
  test('waits for the peer two seconds', (context) =>
    withStream(context, {}, async ({ stream, peer, network }) => {
      stream.pause();
      await network.run(() => peer.write('what nobody reads').then(() => peer.flush()));
      await network.advance(100);
      void stream.close();
      await network.advance(1_900);
      assert.ok(stream.fd >= 0, 'it did not linger');
      await network.advance(100 + TICK_MS + 2);
      assert.is(stream.fd, -1);
      assert.is(stream.error, null);
    }));
});

/** Takes 64 KiB to `peer`, which pauses again: so much that the kernel has room for more. */
async function readSome(peer: IOStream, count = 65_536): Promise<number> {
  peer.resume();
  const chunk = await peer.readBytes(count);
  peer.pause();
  return chunk.length;
}
