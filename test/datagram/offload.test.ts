import * as assert from 'uvu/assert';

import type { DatagramSocket } from '../../src/index.ts';
import { Arrivals, receive, textsOf, UdpSockets } from '../support/datagrams.ts';
import { Random } from '../support/random.ts';
import { suite } from '../support/suite.ts';
import { within } from '../support/within.ts';

const SOL_SOCKET = 1;
const SO_NO_CHECK = 11;
/** Large enough for what a test sends at a time. */
const RECEIVE_BUFFER = 200_000;

/** Datagrams of these sizes, each with its number at its front, as far as it has room for it. */
function numbered(sizes: readonly number[]): { readonly data: Buffer }[] {
  return sizes.map((size, i) => ({ data: Buffer.alloc(size, `${i}:`) }));
}

/** What a listener sees: each datagram, and how many came at a time. */
function collect(server: DatagramSocket): Arrivals<Buffer> {
  const seen = new Arrivals<Buffer>();
  server.onMessages((batch) => {
    for (let i = 0; i < batch.length; i++) seen.add(Buffer.from(batch.data(i)));
  });
  return seen;
}

/** Sizes in runs, as they are joined, and others. */
function drawSizes(random: Random): number[] {
  const sizes: number[] = [];
  while (sizes.length < 60) {
    const size = random.below(1_500);
    for (let length = 1 + random.below(20); length > 0; length--) sizes.push(size);
    if (random.below(2) === 0) sizes.push(random.below(size + 1));
    if (random.below(4) === 0) sizes.push(0);
  }
  return sizes;
}

suite('offloaded UDP', (test) => {
  const ways = [
    { receiveOffload: false, sendOffload: true },
    { receiveOffload: true, sendOffload: false },
    { receiveOffload: true, sendOffload: true },
  ];
  for (const { receiveOffload, sendOffload } of ways) {
    const way = `${receiveOffload ? ' received' : ''}${sendOffload ? ' sent' : ''}`;
    for (const type of ['udp4', 'udp6'] as const) {
      test(`delivers each datagram once, whole and in order:${way}, ${type}`, async (context) => {
        const { server, client } = await new UdpSockets(context).pair(
          { type, receiveOffload, receiveBufferSize: RECEIVE_BUFFER },
          { type, sendOffload },
        );
        for (let seed = 1; seed <= 20; seed++) {
          const messages = numbered(drawSizes(new Random(seed)));
          const seen = collect(server);
          await client.sendMany(messages);
          await seen.first(messages.length, `datagrams of seed ${seed}`);
          assert.is(seen.all.length, messages.length);
          for (const [i, { data }] of messages.entries())
            assert.ok(data.equals(seen.all[i] ?? Buffer.of()), `seed ${seed}, datagram ${i}`);
        }
      });
    }
  }

  test('receives datagrams whole that are as long as maxPacketSize, however many were joined', async (context) => {
    const { server, client } = await new UdpSockets(context).pair(
      { receiveOffload: true, maxPacketSize: 1_000, receiveBufferSize: RECEIVE_BUFFER },
      { sendOffload: true },
    );
    const messages = numbered(new Array<number>(40).fill(1_000));
    const received = receive(server, messages.length);
    await client.sendMany(messages);
    for (const [i, { data, truncated }] of (await received).entries()) {
      assert.is(truncated, false);
      assert.ok(data.equals(messages[i]?.data ?? Buffer.of()), `datagram ${i}`);
    }
  });

  test('cuts off each datagram that is longer than maxPacketSize, and says so', async (context) => {
    const { server, client } = await new UdpSockets(context).pair(
      { receiveOffload: true, maxPacketSize: 10, receiveBufferSize: RECEIVE_BUFFER },
      { sendOffload: true },
    );
    const received = receive(server, 4);
    await client.sendMany(numbered([20, 20, 20, 5]));
    assert.equal(
      (await received).map(({ data, truncated }) => [data.toString(), truncated]),
      [
        ['0:0:0:0:0:', true],
        ['1:1:1:1:1:', true],
        ['2:2:2:2:2:', true],
        ['3:3:3', false],
      ],
    );
  });

  test('answers each of those that were joined, and sends them back', async (context) => {
    const { server, client } = await new UdpSockets(context).pair(
      { receiveOffload: true },
      { sendOffload: true },
    );
    server.onMessages((batch) => {
      for (let i = 0; i < batch.length; i++) batch.reply(i, `re ${batch.data(i)}`);
      void server.sendMany(batch);
    });
    const answers = receive(client, 6);
    await client.sendMany(['a', 'b', 'c'].map((text) => ({ data: Buffer.from(text) })));
    const texts = textsOf(await answers);
    assert.equal(
      texts.filter((text) => text.startsWith('re')),
      ['re a', 're b', 're c'],
    );
    assert.equal(
      texts.filter((text) => !text.startsWith('re')),
      ['a', 'b', 'c'],
    );
  });

  test('keeps datagrams to several destinations apart', async (context) => {
    const sockets = new UdpSockets(context);
    const servers = [await sockets.bind(), await sockets.bind()];
    const seen = servers.map(collect);
    const client = sockets.open({ sendOffload: true });
    const messages = Array.from({ length: 40 }, (_, i) => {
      return { data: Buffer.from(`${i}`.padStart(2, '0')), port: servers[(i >> 2) & 1]?.local.port ?? 0 };
    });
    await client.sendMany(messages);
    for (const [place, texts] of seen.entries()) {
      const expected = messages.filter((_, i) => ((i >> 2) & 1) === place).map(({ data }) => `${data}`);
      assert.equal((await texts.first(20, 'datagrams')).map(String), expected);
    }
  });

  test('sends one by one where the kernel will not cut', async (context) => {
    const { server, client } = await new UdpSockets(context).pair({}, { sendOffload: true });
    // Without a checksum there is nothing to cut by: udp_send_skb() of Linux says EINVAL.
    client.setOption(SOL_SOCKET, SO_NO_CHECK, new Uint8Array(new Int32Array([1]).buffer));
    const seen = collect(server);
    const messages = numbered([100, 100, 100, 50]);
    for (let round = 0; round < 2; round++) await within(1_000, client.sendMany(messages), 'the sends');
    await seen.first(8, 'datagrams');
    assert.equal(
      seen.all.map(({ length }) => length),
      [100, 100, 100, 50, 100, 100, 100, 50],
    );
  });

  test('sends replies of a turn to one client', async (context) => {
    const { server, client } = await new UdpSockets(context).pair({ sendOffload: true }, {});
    server.onMessages((batch) => {
      for (let i = 0; i < 100; i++) batch.reply(0, `${i}`.padStart(3, '0'));
    });
    const answers = receive(client, 100);
    await client.send('question');
    assert.equal(
      textsOf(await answers),
      Array.from({ length: 100 }, (_, i) => `${i}`.padStart(3, '0')),
    );
  });
});
