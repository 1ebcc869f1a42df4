import { constants } from 'node:os';
import * as assert from 'uvu/assert';

import { SegmentedSends } from '../../src/datagram/segmented-sends.ts';
import { SendQueue } from '../../src/datagram/send-queue.ts';
import type { DatagramSocket } from '../../src/index.ts';
import { addon } from '../../src/native.ts';
import { ADDRESS_WORDS, FLAG, ROW } from '../../src/native-datagrams.ts';
import { Arrivals, UdpSockets } from '../support/datagrams.ts';
import { Random } from '../support/random.ts';
import { suite } from '../support/suite.ts';
import { count } from '../support/tier.ts';

/** The loopback address, as rows have it. */
function loopback(): Int32Array {
  const words = new Int32Array(ADDRESS_WORDS);
  addon().parseIp('127.0.0.1', words);
  return words;
}

/** Adds a message to `port`. */
function add(queue: SendQueue, data: Buffer, port: number): void {
  queue.add(data, 0);
  queue.rows.setDestination(queue.last, loopback(), port);
}

/** What `server` receives. */
function collect(server: DatagramSocket): Arrivals<Buffer> {
  const seen = new Arrivals<Buffer>();
  server.onMessages((batch) => {
    for (let i = 0; i < batch.length; i++) seen.add(Buffer.from(batch.data(i)));
  });
  return seen;
}

suite('sends that the kernel cuts', (test) => {
  test('take as many rows at a time as fit into one system call', async (context) => {
    const sockets = new UdpSockets(context);
    const server = await sockets.bind();
    const { fd } = sockets.open();
    const seen = collect(server);
    const queue = new SendQueue();
    for (let i = 0; i < 200; i++) add(queue, Buffer.alloc(10, `${i}`), server.local.port);
    // More than 64, which is what a system call takes of messages that are not joined.
    assert.is(new SegmentedSends().send(fd, queue), 200);
    queue.advance(200);
    await seen.first(200, 'datagrams');
    assert.ok(seen.all.every((data, i) => data.equals(Buffer.alloc(10, `${i}`))));
  });

  test('are joined again after messages that are refused by themselves', async (context) => {
    const sockets = new UdpSockets(context);
    const server = await sockets.bind();
    const { fd } = sockets.open();
    const queue = new SendQueue();
    const segments = new SegmentedSends();
    for (let i = 0; i < 2; i++) {
      add(queue, Buffer.from('x'), server.local.port);
      // From a group, 224.0.0.1, which nobody can.
      queue.rows.set(queue.last, ROW.FLAGS, FLAG.LOCAL);
      queue.rows.set(queue.last, ROW.LOCAL_ADDRESS, (224 << 24) | 1);
    }
    assert.is(segments.send(fd, queue), -constants.errno.EINVAL);
    queue.advance(2);
    for (let i = 0; i < 200; i++) add(queue, Buffer.alloc(10), server.local.port);
    assert.is(segments.send(fd, queue), 200);
  });

  test('join none that are long, of no bytes, or for somebody else', async (context) => {
    const sockets = new UdpSockets(context);
    const servers = [await sockets.bind(), await sockets.bind()] as const;
    const { fd } = sockets.open();
    const [first, second] = servers.map(collect);
    const queue = new SendQueue();
    const [port, other] = servers.map(({ local }) => local.port);
    const sizes = [5, 5, 3, 5, 0, 5, 6, 40_000, 40_000, 5];
    for (const size of sizes) add(queue, Buffer.alloc(size, `${size}`), port ?? 0);
    add(queue, Buffer.alloc(5, 'o'), other ?? 0);
    const segments = new SegmentedSends();
    for (let taken = 0; queue.length > 0; queue.advance(taken)) {
      taken = segments.send(fd, queue);
      assert.ok(taken > 0, `send() answered ${taken}`);
    }
    assert.equal(
      ((await first?.first(sizes.length, 'datagrams')) ?? []).map(({ length }) => length),
      sizes,
    );
    assert.equal(((await second?.first(1, 'datagram')) ?? []).map(String), ['ooooo']);
  });

  test('deliver what is drawn, however it is joined', async (context) => {
    const sockets = new UdpSockets(context);
    const servers = [await sockets.bind(), await sockets.bind()];
    const { fd } = sockets.open();
    for (let seed = 1; seed <= count(20, 500); seed++) {
      const random = new Random(seed);
      const queue = new SendQueue();
      const segments = new SegmentedSends();
      const seen = servers.map(collect);
      const expected: Buffer[][] = servers.map(() => []);
      let size = 0;
      for (let i = 0; i < 120; i++) {
        // Mostly in runs, so that some are joined.
        if (random.below(4) === 0) size = random.below(300);
        const place = random.below(8) === 0 ? 1 : 0;
        const data = Buffer.alloc(size, `${i},`);
        expected[place]?.push(data);
        add(queue, data, servers[place]?.local.port ?? 0);
        if (random.below(10) > 0) continue;
        queue.advance(Math.max(0, segments.send(fd, queue)));
      }
      for (let taken = 0; queue.length > 0; queue.advance(taken)) {
        taken = segments.send(fd, queue);
        assert.ok(taken > 0, `send() answered ${taken}`);
      }
      for (const [place, datagrams] of expected.entries()) {
        const received = await seen[place]?.first(datagrams.length, `datagrams of seed ${seed}`);
        assert.is(received?.length, datagrams.length);
        for (const [i, data] of datagrams.entries())
          assert.ok(data.equals(received?.[i] ?? Buffer.of(0)), `seed ${seed}, datagram ${i}`);
      }
    }
  });
});
