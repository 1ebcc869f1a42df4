import { once } from 'node:events';
import { totalmem } from 'node:os';
import * as assert from 'uvu/assert';

import { type Address, IOStream, LimitError, UnixServer } from '../../src/index.ts';
import { addon } from '../../src/native.ts';
import { defaultMemoryBudget, memoryBudget } from '../../src/stream/memory-budget.ts';
import { startWorker } from '../support/package.ts';
import { simNetwork } from '../support/sim.ts';
import { deliver, turnsUntil, unixFds } from '../support/streams.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const LIMIT_MS = 20_000;
/** A receive, and what a thread keeps to itself. */
const SLACK = 2 * 64 * KiB;

/** Sets the budget for as long as the test runs. */
function setBudget({ defer }: TestContext, limit: number): void {
  defer(() => {
    addon().memoryBudget(defaultMemoryBudget());
    memoryBudget.refresh();
  });
  addon().memoryBudget(limit);
  memoryBudget.refresh();
}

/** Connected streams, closed with the test; what comes to `right` may wait there, up to a megabyte. */
function connect({ loop, defer }: TestContext): { loop: typeof loop; left: IOStream; right: IOStream } {
  const [near, far] = unixFds();
  const left = IOStream.fromFd(near, { loop });
  const right = IOStream.fromFd(far, { loop, readAhead: MiB });
  defer(() => {
    left.abort();
    right.abort();
    return Promise.all([left.whenClosed, right.whenClosed]);
  });
  return { loop, left, right };
}

function isVictim(error: unknown, limit: number): void {
  assert.instance(error, LimitError);
  assert.is((error as LimitError).code, 'ERR_IOLOOP_MEMORY_BUDGET');
  assert.is((error as LimitError).limit, limit);
}

suite('the memory budget', { limitMs: 60_000 }, (test) => {
  test('counts a buffer once, however many streams write it', async (context) => {
    const streams = count(200, 1_000);
    setBudget(context, 64 * MiB);
    const { loop } = context;
    const shared = Buffer.alloc(MiB, 'shared');
    const pairs = Array.from({ length: streams }, () => connect(context));
    for (const { right } of pairs) right.pause();
    const before = memoryBudget.used;
    const written = pairs.map(({ left }) => left.write(shared));
    await nextTurn(loop);
    assert.ok(loop.metrics().bytesQueued > 64 * MiB, 'too little is queued to prove anything');
    assert.is(memoryBudget.used - before, MiB);
    let received = 0;
    for (const { right } of pairs) {
      right.onData((chunk) => {
        received += chunk.length;
      });
      right.resume();
    }
    await within(LIMIT_MS, Promise.all(written), 'the writes');
    await within(
      LIMIT_MS,
      turnsUntil(loop, () => received === streams * MiB),
      'the bytes',
    );
    assert.is(memoryBudget.used, before);
    assert.is(loop.metrics().bytesQueued, 0);
  });

  test('holds for what many clients send without a delimiter, and servers hear of its victims', async (context) => {
    const limit = 8 * MiB;
    const clients = count(100, 1_000);
    setBudget(context, limit);
    const { loop, defer } = context;
    const drops: string[] = [];
    const errors: unknown[] = [];
    const server = new UnixServer(
      async (stream) => {
        await stream.readUntil('\n', { maxBytes: MiB }).finally(() => errors.push(stream.error));
      },
      {
        loop,
        onDrop: (reason: string, address: Address | null) => {
          assert.is(address?.family, 'Unix');
          drops.push(reason);
        },
      },
    );
    const path = `\0ioloop-budget-${process.pid}`;
    await server.listen(path);
    defer(() => server.close({ graceMs: 0 }));
    const flood = Buffer.alloc(512 * KiB, 'x');
    let most = 0;
    for (let client = 0; client < clients; client++) {
      const stream = await IOStream.connect({ path }, { loop });
      defer(() => {
        stream.abort();
        return stream.whenClosed;
      });
      void stream.write(flood);
    }
    const watch = (): void => {
      most = Math.max(most, loop.metrics().bytesBuffered);
    };
    await within(
      LIMIT_MS,
      turnsUntil(loop, () => {
        watch();
        return drops.length > 10;
      }),
      'the victims',
    );
    assert.ok(most <= limit + SLACK, `${most} bytes are buffered`);
    assert.equal(new Set(drops), new Set(['memory']));
    await server.close({ graceMs: 0 });
    await nextTurn(loop);
    const victims = errors.filter((error) => error !== null);
    assert.ok(victims.length >= drops.length);
    for (const error of victims) isVictim(error, limit);
    assert.is(loop.metrics().bytesBuffered, 0);
  });

  test('ends the stream that holds most of its own, and says so', async (context) => {
    const limit = 2 * MiB;
    setBudget(context, limit);
    const { loop } = context;
    const holders = [connect(context), connect(context), connect(context)];
    const sizes = [400, 600, 200];
    for (const pair of holders) await deliver(pair, Buffer.alloc((sizes.shift() ?? 0) * KiB));
    const writer = connect(context);
    writer.right.pause();
    void writer.left.write(Buffer.alloc(MiB));
    await turnsUntil(loop, () => holders.some(({ right }) => right.closed));
    assert.equal(
      holders.map(({ right }) => right.closed),
      [false, true, false],
    );
    const victim = holders[1]?.right;
    isVictim(victim?.error, limit);
    assert.match(String(victim?.error?.message), `of ${limit} bytes`);
    assert.match(String(victim?.error?.message), `${600 * KiB}`);
    assert.not.ok(writer.left.closed);
  });

  test('ends the oldest of equals, whatever its number', async (context) => {
    setBudget(context, 2 * MiB);
    const { loop, defer } = context;
    const [low, high] = [unixFds(), unixFds()];
    const streams = [high[0], high[1], low[0], low[1]].map((fd) =>
      IOStream.fromFd(fd, { loop, readAhead: MiB }),
    );
    defer(() => {
      for (const stream of streams) stream.abort();
      return Promise.all(streams.map((stream) => stream.whenClosed));
    });
    const [olderLeft, older, youngerLeft, younger] = streams as [IOStream, IOStream, IOStream, IOStream];
    await deliver({ loop, left: youngerLeft, right: younger }, Buffer.alloc(600 * KiB));
    await deliver({ loop, left: olderLeft, right: older }, Buffer.alloc(600 * KiB));
    const writer = connect(context);
    writer.right.pause();
    void writer.left.write(Buffer.alloc(MiB));
    await turnsUntil(loop, () => older.closed || younger.closed);
    assert.equal([older.closed, younger.closed], [true, false]);
  });

  test('has large holders wait before anybody is ended, and go on when there is room', async (context) => {
    const network = simNetwork(context);
    const loop = network.createLoop();
    setBudget(context, MiB);
    await network.run(async () => {
      const fds = [...network.connectPair(), ...network.connectPair()];
      const streams = fds.map((fd) => IOStream.fromFd(fd, { loop }));
      const [writer, slow, feeder, holder] = streams as [IOStream, IOStream, IOStream, IOStream];
      slow.pause();
      void writer.write(Buffer.alloc(900 * KiB));
      const reading = holder.readBytes(400 * KiB);
      const feeding = (async () => {
        for (let fed = 0; fed < 400; fed += 8) {
          void feeder.write(Buffer.alloc(8 * KiB));
          await feeder.flush();
        }
      })();
      // The clock stands still meanwhile.
      for (let turn = 0; turn < 200; turn++) {
        await nextTurn(loop);
        assert.ok(memoryBudget.used <= MiB + SLACK, `${memoryBudget.used} bytes are held`);
      }
      assert.not.ok(
        streams.some(({ closed }) => closed),
        'somebody was ended',
      );
      assert.ok(holder.bytesRead < 300 * KiB, 'it did not wait');
      slow.onData(() => {});
      slow.resume();
      await feeding;
      assert.is((await reading).length, 400 * KiB);
      for (const stream of streams) stream.abort();
      await Promise.all(streams.map((stream) => stream.whenClosed));
    });
  });

  test('is one for all threads, and forgets a thread that has ended', async (context) => {
    setBudget(context, 64 * MiB);
    memoryBudget.refresh();
    const before = memoryBudget.used;
    const [near, far] = unixFds();
    const peer = IOStream.fromFd(near, { loop: context.loop });
    context.defer(() => {
      peer.abort();
      return peer.whenClosed;
    });
    peer.pause();
    const worker = startWorker(
      `const stream = ioloop.IOStream.fromFd(workerData);
       stream.write(Buffer.alloc(5 * 2 ** 20)).catch(() => {});
       parentPort.postMessage('queued');`,
      { workerData: far },
    );
    await within(LIMIT_MS, once(worker, 'message'), 'the worker');
    memoryBudget.refresh();
    assert.is(memoryBudget.used - before, 5 * MiB);
    await within(LIMIT_MS, worker.terminate(), 'its end');
    memoryBudget.refresh();
    assert.is(memoryBudget.used, before);
  });
});

suite('the default memory budget', (test) => {
  const withLimit = (bytes: number): number => {
    const { constrainedMemory } = process;
    Reflect.set(process, 'constrainedMemory', () => bytes);
    try {
      return defaultMemoryBudget();
    } finally {
      Reflect.set(process, 'constrainedMemory', constrainedMemory);
    }
  };

  test('is 1 GiB, or less: a quarter of the machine', () => {
    assert.is(withLimit(0), Math.floor(Math.min(2 ** 30, totalmem() / 4)));
    // What a cgroup without a limit says.
    assert.is(withLimit(2 ** 64 - 2 ** 12), Math.floor(Math.min(2 ** 30, totalmem() / 4)));
  });

  test('is no more than half of what the cgroup may have', () => {
    assert.is(withLimit(200 * MiB), 100 * MiB);
    assert.is(withLimit(MiB + 1), MiB / 2);
  });
});
