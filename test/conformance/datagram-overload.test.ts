import * as assert from 'uvu/assert';

import { type Datagram, IOLoop } from '../../src/index.ts';
import { Arrivals, UdpSockets } from '../support/datagrams.ts';
import { suite } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

const FLOOD = count(5_000, 200_000);
const SIZE = 1_000;
/** The kernel rounds it up, and counts its own overhead. */
const RECEIVE_BUFFER = 16 * 1024;

for (const backend of IOLoop.backends) {
  suite(`a UDP receiver that cannot keep up, on ${backend}`, { backend, limitMs: 60_000 }, (test) => {
    test('has what the kernel dropped counted: received and dropped are what was sent', async (context) => {
      const options = { receiveBufferSize: RECEIVE_BUFFER };
      const { server, client } = await new UdpSockets(context).pair(options, {});
      const messages = Array.from({ length: 100 }, () => ({ data: Buffer.alloc(SIZE) }));
      for (let sent = 0; sent < FLOOD; sent += messages.length) await client.sendMany(messages);
      const { dropped } = server;
      assert.ok(dropped > 0 && dropped < FLOOD, `${dropped} dropped`);
      const expected = FLOOD - dropped;
      const received = new Arrivals<number>();
      server.onMessages((batch) => {
        for (let i = 0; i < batch.length; i++) received.add(batch.data(i).length);
      });
      await received.first(expected, 'datagrams');
      await nextTurn(context.loop);
      assert.is(received.all.length, expected);
      assert.ok(received.all.every((size) => size === SIZE));
      assert.is(server.dropped, dropped);
      assert.is(context.loop.metrics().datagramsDropped, dropped);
    });

    test('keeps no more than it may, and counts what it drops itself', async (context) => {
      const maxQueueSize = 20 * SIZE;
      const { server, client } = await new UdpSockets(context).pair({ maxQueueSize }, {});
      const iteration = server[Symbol.asyncIterator]();
      const messages = Array.from({ length: 50 }, () => ({ data: Buffer.alloc(SIZE) }));
      for (let sent = 0; sent < FLOOD; sent += messages.length) {
        await client.sendMany(messages);
        await nextTurn(context.loop);
        assert.ok(server.bytesBuffered <= maxQueueSize);
      }
      await nextTurn(context.loop);
      const kept: Datagram[] = [];
      while (server.bytesBuffered > 0) {
        const { value } = await within(1_000, iteration.next(), 'a datagram');
        kept.push(value);
      }
      assert.is(kept.length, 20);
      assert.is(server.dropped + kept.length, FLOOD);
      assert.is(context.loop.metrics().datagramsDropped, server.dropped);
      await iteration.return?.();
    });

    test('leaves others their turns: each takes so much of one, and no more', async (context) => {
      const sockets = new UdpSockets(context);
      const [busy, quiet] = [
        await sockets.bind({ receiveBufferSize: 4 * 1024 * 1024 }),
        await sockets.bind(),
      ];
      const client = sockets.open();
      const { port } = busy.local;
      await client.sendMany(Array.from({ length: 1_000 }, () => ({ data: Buffer.of(1), port })));
      await client.send('quiet', quiet.local.port);
      let served = 0;
      busy.onMessages((batch) => {
        served += batch.length;
      });
      const before = new Arrivals<number>();
      quiet.onMessages(() => before.add(served));
      await before.first(1, 'turn of the quiet one');
      assert.ok(served <= 256, `${served} datagrams of the busy one came first`);
    });
  });
}
