import * as assert from 'uvu/assert';

import { IOLoop, LimitError, SystemError } from '../../src/index.ts';
import { Arrivals, codeOf, receive, rejection, textsOf, UdpSockets } from '../support/datagrams.ts';
import { suite } from '../support/suite.ts';
import { nextTurn, passes } from '../support/turns.ts';
import { within } from '../support/within.ts';

/** One byte more than a datagram of IPv4 can hold. */
const TOO_LONG = 65_508;

for (const backend of IOLoop.backends) {
  suite(`a UDP socket that sends, on ${backend}`, { backend }, (test) => {
    test('delivers bytes and text, to the loopback address unless told otherwise', async (context) => {
      const sockets = new UdpSockets(context);
      const server = await sockets.bind();
      const client = sockets.open();
      const { port } = server.local;
      const received = receive(server, 3);
      await client.send('grüße', port);
      await client.send(new Uint8Array([0, 255]), port, '127.0.0.1');
      await client.send(Buffer.from('buffer'), port);
      const [text, bytes, buffer] = await received;
      assert.is(text?.data.toString(), 'grüße');
      assert.equal([...(bytes?.data ?? [])], [0, 255]);
      assert.is(buffer?.data.toString(), 'buffer');
      assert.is(text?.address, '127.0.0.1');
      assert.is(text?.port, client.local.port);
    });

    test('takes the bytes before the call returns', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const received = receive(server, 2);
      const data = Buffer.from('before');
      void client.send(data);
      void client.sendMany([{ data }]);
      data.fill('x');
      assert.equal(textsOf(await received), ['before', 'before']);
    });

    test('sends a datagram of no bytes, which is a message like others', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const received = receive(server, 3);
      await client.send('');
      await client.send(new Uint8Array(0));
      await client.send('after');
      assert.equal(textsOf(await received), ['', '', 'after']);
    });

    test('answers with a datagram of no bytes', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      server.onMessages((batch) => batch.reply(0, ''));
      const received = receive(client, 1);
      await client.send('question');
      assert.equal(textsOf(await received), ['']);
    });

    test('sends the longest datagram that there is, and names the size of a longer one', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const received = receive(server, 1);
      await client.send(new Uint8Array(TOO_LONG - 1));
      assert.is((await received)[0]?.data.length, TOO_LONG - 1);
      const error = await rejection(client.send(new Uint8Array(TOO_LONG)));
      assert.instance(error, SystemError);
      assert.is(codeOf(error), 'EMSGSIZE');
      assert.match(String(error), `${TOO_LONG} bytes`);
    });

    test('sends many in order, to several destinations', async (context) => {
      const sockets = new UdpSockets(context);
      const servers = await Promise.all([sockets.bind(), sockets.bind()]);
      const received = Promise.all(servers.map((server) => receive(server, 100)));
      const messages = Array.from({ length: 200 }, (_, i) => {
        return { data: Buffer.from(`${i}`), port: servers[i % 2]?.local.port ?? 0, address: '127.0.0.1' };
      });
      await within(5_000, sockets.open().sendMany(messages), 'the end of sendMany');
      const [even = [], odd = []] = await received;
      assert.equal(
        textsOf(even),
        Array.from({ length: 100 }, (_, i) => `${2 * i}`),
      );
      assert.equal(
        textsOf(odd),
        Array.from({ length: 100 }, (_, i) => `${2 * i + 1}`),
      );
    });

    test('sends nothing at all of many when one of them is no message', async (context) => {
      const sockets = new UdpSockets(context);
      const server = await sockets.bind();
      const { port } = server.local;
      const received = receive(server, 1);
      const client = sockets.open();
      const data = Buffer.from('part');
      assert.throws(() => client.sendMany([{ data, port }, { data }]), /messages\[1\]\.port/);
      await client.send('whole', port);
      assert.equal(textsOf(await received), ['whole']);
    });

    test('rejects with the first error of many, and sends the others', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const received = receive(server, 2);
      const long = { data: new Uint8Array(TOO_LONG) };
      const error = await rejection(
        client.sendMany([{ data: Buffer.from('a') }, long, { data: Buffer.from('b') }]),
      );
      assert.is(codeOf(error), 'EMSGSIZE');
      assert.equal(textsOf(await received), ['a', 'b']);
    });

    test('settles at once for nothing', async (context) => {
      await within(1_000, new UdpSockets(context).open().sendMany([]), 'the end of sendMany');
    });

    test('tells onError of what nobody awaits, and never both', async (context) => {
      const errors = new Arrivals<SystemError>();
      const { client } = await new UdpSockets(context).pair({}, { onError: errors.add });
      const long = { data: new Uint8Array(TOO_LONG) };
      void client.send(long.data);
      void client.sendMany([long, long]);
      await errors.first(3, 'errors');
      assert.equal(errors.all.map(codeOf), ['EMSGSIZE', 'EMSGSIZE', 'EMSGSIZE']);
      assert.is(codeOf(await rejection(client.send(long.data))), 'EMSGSIZE');
      assert.is(codeOf(await rejection(client.sendMany([long]))), 'EMSGSIZE');
      await nextTurn(context.loop);
      assert.is(errors.all.length, 3);
    });

    test('makes no rejection that nobody handles', async (context) => {
      const unhandled: unknown[] = [];
      const note = (reason: unknown): void => void unhandled.push(reason);
      process.on('unhandledRejection', note);
      context.defer(() => process.off('unhandledRejection', note));
      const errors = new Arrivals<SystemError>();
      const client = new UdpSockets(context).open({ onError: errors.add });
      void client.send(new Uint8Array(TOO_LONG), 9);
      await client.close();
      void client.send('after the end', 9);
      await errors.first(2, 'errors');
      await passes(1);
      assert.equal(unhandled, []);
      assert.equal(errors.all.map(codeOf), ['EMSGSIZE', 'EBADF']);
    });

    test('has the loop told of an onError that throws', async (context) => {
      const sockets = new UdpSockets(context);
      const errors = new Arrivals<unknown>();
      const loop = new IOLoop({ backend, current: false, onError: errors.add });
      context.defer(() => loop.close());
      const client = sockets.open({
        loop,
        onError: () => {
          throw new Error('thrown by onError');
        },
      });
      void client.send(new Uint8Array(TOO_LONG), 9);
      assert.match(String((await errors.first(1, 'error'))[0]), 'thrown by onError');
    });

    test('refuses a destination that it cannot have', async (context) => {
      const sockets = new UdpSockets(context);
      const { client } = await sockets.pair();
      const unconnected = sockets.open();
      assert.throws(() => unconnected.send('x'), /port/);
      assert.throws(() => unconnected.send('x', 0), /port/);
      assert.throws(() => unconnected.send('x', 65_536), /port/);
      assert.throws(() => unconnected.send('x', 9, 'localhost'), /IPv4 literal/);
      assert.throws(() => unconnected.send('x', 9, '::1'), /IPv4 literal/);
      assert.throws(() => client.send('x', 9), /connected/);
      assert.throws(() => client.send('x', undefined, '127.0.0.1'), /connected/);
    });

    test('sends nothing of bytes that were transferred away', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const received = receive(server, 1);
      const data = new Uint8Array(16);
      structuredClone(data.buffer, { transfer: [data.buffer] });
      assert.throws(() => client.send(data));
      assert.throws(() => client.sendMany([{ data }]));
      assert.is(client.bytesQueued, 0);
      await client.send('whole');
      assert.equal(textsOf(await received), ['whole']);
    });
  });

  suite(`a UDP socket whose queue is full, on ${backend}`, { backend }, (test) => {
    test('refuses replies and says so, and sends those that had room', async (context) => {
      const sockets = new UdpSockets(context);
      const errors = new Arrivals<SystemError>();
      const { server, client } = await sockets.pair({ maxQueueLength: 2, onError: errors.add }, {});
      const received = receive(client, 2);
      server.onMessages((batch) => {
        for (let i = 0; i < 5; i++) batch.reply(0, `${i}`);
      });
      await client.send('question');
      assert.equal(textsOf(await received), ['0', '1']);
      await errors.first(3, 'errors');
      for (const error of errors.all) {
        assert.is(error.code, 'ENOBUFS');
        assert.instance(error.cause, LimitError);
      }
    });

    test('counts what it holds, and holds one message of any size', async (context) => {
      const sockets = new UdpSockets(context);
      const errors = new Arrivals<SystemError>();
      const { server, client } = await sockets.pair({ maxQueueSize: 10, onError: errors.add }, {});
      const queued: number[] = [];
      const received = receive(client, 2);
      server.onMessages((batch) => {
        for (const size of [4, 1_000, 1]) {
          batch.reply(0, 'x'.repeat(size));
          queued.push(server.bytesQueued);
        }
        queued.push(context.loop.metrics().bytesQueued);
      });
      await client.send('question');
      assert.equal(
        (await received).map(({ data }) => data.length),
        [4, 1_000],
      );
      assert.equal(queued, [4, 1_004, 1_004, 1_004]);
      assert.is(server.bytesQueued, 0);
      await errors.first(1, 'error');
    });

    test('tells by flush() when all has left', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const flushes: Promise<void>[] = [];
      const received = receive(client, 1);
      server.onMessages((batch) => {
        batch.reply(0, 'answer');
        flushes.push(server.flush());
      });
      await client.send('question');
      await received;
      assert.is(flushes.length, 1);
      await within(1_000, Promise.all([...flushes, server.flush()]), 'the flush');
    });
  });
}
