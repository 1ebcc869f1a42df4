import * as assert from 'uvu/assert';

import { type DatagramBatch, type DatagramSocket, IOLoop, IOLoopError } from '../../src/index.ts';
import { Arrivals, codeOf, receive, textsOf, UdpSockets } from '../support/datagrams.ts';
import { drain } from '../support/sockets.ts';
import { suite } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';

/** Text of all in a batch. */
function texts(batch: DatagramBatch): string[] {
  return Array.from({ length: batch.length }, (_, i) => batch.data(i).toString());
}

/** Has `client` send the numbers from 0 to `count` - 1, each in its own datagram. */
async function sendNumbers(client: DatagramSocket, count: number): Promise<string[]> {
  const numbers = Array.from({ length: count }, (_, i) => `${i}`);
  await client.sendMany(numbers.map((number) => ({ data: Buffer.from(number) })));
  return numbers;
}

for (const backend of IOLoop.backends) {
  suite(`a UDP socket that listens, on ${backend}`, { backend }, (test) => {
    test('hands out what waits in batches of up to 64, whole and in order', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const numbers = await sendNumbers(client, 150);
      const received = new Arrivals<string>();
      let longest = 0;
      server.onMessages((batch) => {
        longest = Math.max(longest, batch.length);
        for (const text of texts(batch)) received.add(text);
      });
      await received.first(150, 'datagrams');
      assert.equal(received.all, numbers);
      assert.is(longest, 64);
    });

    test('hands out no more at a time than maxBatch', async (context) => {
      const { server, client } = await new UdpSockets(context).pair({ maxBatch: 2 }, {});
      await sendNumbers(client, 5);
      const batches = new Arrivals<string[]>();
      server.onMessages((batch) => batches.add(texts(batch)));
      await batches.first(3, 'batches');
      assert.equal(batches.all, [['0', '1'], ['2', '3'], ['4']]);
    });

    test('tells where each datagram came from', async (context) => {
      const sockets = new UdpSockets(context);
      const server = await sockets.bind();
      const clients = [sockets.open(), sockets.open()];
      const seen = new Arrivals<unknown>();
      server.onMessages((batch) => {
        for (let i = 0; i < batch.length; i++)
          seen.add([`${batch.data(i)}`, batch.address(i), batch.port(i), `${batch.source(i)}`]);
      });
      for (const [i, client] of clients.entries()) await client.send(`${i}`, server.local.port);
      await seen.first(2, 'datagrams');
      assert.equal(
        seen.all,
        clients.map(({ local: { port } }, i) => [`${i}`, '127.0.0.1', port, `127.0.0.1:${port}`]),
      );
    });

    test('keeps the borders of messages, those of no bytes too', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const sizes = [0, 1, 1_472, 1_473, 9_000, 65_507, 0];
      const received = receive(server, sizes.length);
      for (const size of sizes) await client.send(new Uint8Array(size).fill(size % 251));
      for (const [i, { data }] of (await received).entries()) {
        assert.is(data.length, sizes[i]);
        assert.ok(data.every((byte) => byte === data.length % 251));
      }
    });

    test('cuts off what is longer than maxPacketSize, and says so', async (context) => {
      const { server, client } = await new UdpSockets(context).pair({ maxPacketSize: 8 }, {});
      const seen = new Arrivals<unknown>();
      server.onMessages((batch) => {
        for (let i = 0; i < batch.length; i++) seen.add([`${batch.data(i)}`, batch.truncated(i)]);
      });
      for (const text of ['1234567', '12345678', '123456789', 'abc']) await client.send(text);
      await seen.first(4, 'datagrams');
      assert.equal(seen.all, [
        ['1234567', false],
        ['12345678', false],
        ['12345678', true],
        ['abc', false],
      ]);
    });

    test('hands out a batch that throws after the call, and copies that do not', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const seen = new Arrivals<[batch: DatagramBatch, copy: Buffer]>();
      server.onMessages((batch) => seen.add([batch, Buffer.from(batch.data(0))]));
      await client.send('first');
      const [[batch, copy] = []] = await seen.first(1, 'batch');
      if (batch === undefined || copy === undefined) throw new Error('no batch');
      const uses = [
        () => batch.data(0),
        () => batch.address(0),
        () => batch.port(0),
        () => batch.truncated(0),
        () => batch.info(0),
        () => batch.reply(0, 'late'),
        () => server.sendMany(batch),
      ];
      for (const use of uses)
        assert.throws(use, (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE'));
      assert.is(batch.length, 1);
      assert.is(copy.toString(), 'first');
    });

    test('hands out views, which the next batch overwrites', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const views = new Arrivals<Buffer>();
      server.onMessages((batch) => views.add(batch.data(0)));
      await client.send('first');
      await views.first(1, 'view');
      await client.send('other');
      await views.first(2, 'views');
      assert.equal(views.all.map(String), ['other', 'other']);
    });

    test('refuses a place that the batch has not', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const errors = new Arrivals<unknown>();
      server.onMessages((batch) => {
        for (const i of [-1, 1, 0.5, Number.NaN]) {
          try {
            batch.data(i);
          } catch (error) {
            errors.add(error);
          }
        }
      });
      await client.send('only');
      await errors.first(4, 'errors');
      assert.ok(errors.all.every((error) => codeOf(error) === 'ERR_IOLOOP_INVALID_ARGUMENT'));
    });

    test('goes on receiving when the memory of a batch was transferred away', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const seen = new Arrivals<string>();
      server.onMessages((batch) => {
        seen.add(`${batch.data(0)}`);
        const { buffer } = batch.data(0);
        if (!(buffer instanceof ArrayBuffer)) throw new Error('shared memory cannot be transferred');
        structuredClone(buffer, { transfer: [buffer] });
        try {
          batch.data(0);
        } catch (error) {
          seen.add(String(codeOf(error)));
        }
      });
      await client.send('one');
      await seen.first(2, 'signs');
      await client.send('two');
      await seen.first(4, 'signs');
      assert.equal(seen.all, ['one', 'ERR_IOLOOP_INVALID_STATE', 'two', 'ERR_IOLOOP_INVALID_STATE']);
    });

    test('has one reader at a time', async (context) => {
      const server = await new UdpSockets(context).bind();
      const isPending = (error: unknown): boolean => IOLoopError.is(error, 'ERR_IOLOOP_READ_PENDING');
      server.onMessages(() => {});
      assert.throws(() => server[Symbol.asyncIterator](), isPending);
      server.onMessages(null);
      const iteration = server[Symbol.asyncIterator]();
      assert.throws(() => server.onMessages(() => {}), isPending);
      assert.throws(() => server[Symbol.asyncIterator](), isPending);
      await iteration.return?.();
      server.onMessages(() => {});
    });

    test('calls the listener that was set last, and none after null', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const seen = new Arrivals<string>();
      server.onMessages(() => seen.add('first'));
      server.onMessages(() => {
        seen.add('second');
        server.onMessages(null);
      });
      await client.send('1');
      await seen.first(1, 'call');
      await client.send('2');
      await nextTurn(context.loop);
      await nextTurn(context.loop);
      server.onMessages(() => seen.add('third'));
      await seen.first(2, 'calls');
      assert.equal(seen.all, ['second', 'third']);
    });

    test('leaves what comes while it is paused to the kernel', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const seen = new Arrivals<string[]>();
      server.onMessages((batch) => seen.add(texts(batch)));
      server.pause();
      await client.send('1');
      await nextTurn(context.loop);
      await nextTurn(context.loop);
      assert.equal(seen.all, []);
      await client.send('2');
      server.resume();
      await seen.first(1, 'batch');
      assert.equal(seen.all, [['1', '2']]);
    });

    test('pauses in its own listener at once', async (context) => {
      const { server, client } = await new UdpSockets(context).pair({ maxBatch: 1 }, {});
      const seen = new Arrivals<string[]>();
      server.onMessages((batch) => {
        server.pause();
        seen.add(texts(batch));
      });
      await sendNumbers(client, 2);
      await seen.first(1, 'batch');
      await nextTurn(context.loop);
      assert.equal(seen.all, [['0']]);
      server.resume();
      await seen.first(2, 'batches');
      assert.equal(seen.all, [['0'], ['1']]);
    });

    test('survives a datagram that somebody else has taken', async (context) => {
      const sockets = new UdpSockets(context);
      const { server, client } = await sockets.pair();
      const thief = await sockets.bind();
      const seen = new Arrivals<string>();
      // Both are ready in one turn, and whoever comes first takes what is there for the other.
      const steal = (victim: DatagramSocket, batch: DatagramBatch): void => {
        for (let i = 0; i < batch.length; i++) seen.add(`${batch.data(i)}`);
        drain(victim.fd);
      };
      server.onMessages((batch) => steal(thief, batch));
      thief.onMessages((batch) => steal(server, batch));
      await client.send('for the server');
      await sockets.open().send('for the thief', thief.local.port);
      await seen.first(1, 'datagram');
      await nextTurn(context.loop);
      assert.is(seen.all.length, 1);
      await client.send('after');
      assert.is((await seen.first(2, 'datagrams'))[1], 'after');
    });

    test('has an error that its listener throws told, and goes on', async (context) => {
      const errors = new Arrivals<unknown>();
      const loop = new IOLoop({ backend, current: false, onError: errors.add });
      context.defer(() => loop.close());
      const { server, client } = await new UdpSockets(context).pair({ loop });
      server.onMessages((batch) => {
        throw new Error(`thrown at ${batch.data(0)}`);
      });
      await client.send('1');
      await errors.first(1, 'error');
      await client.send('2');
      await errors.first(2, 'errors');
      assert.equal(errors.all.map(String), ['Error: thrown at 1', 'Error: thrown at 2']);
    });

    test('receives nothing that it has not asked for, until it does', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      await client.send('early');
      await nextTurn(context.loop);
      assert.is(server.bytesBuffered, 0);
      assert.equal(textsOf(await receive(server, 1)), ['early']);
    });
  });
}
