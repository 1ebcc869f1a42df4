import * as assert from 'uvu/assert';

import { type Datagram, IOLoop, type SystemError } from '../../src/index.ts';
import { Arrivals, closedPort, receive, textsOf, UdpSockets } from '../support/datagrams.ts';
import { suite } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

/** What the iteration says next. */
function next(iteration: AsyncIterator<Datagram>): Promise<IteratorResult<Datagram>> {
  return within(5_000, iteration.next(), 'the next datagram');
}

for (const backend of IOLoop.backends) {
  suite(`an iteration over a UDP socket, on ${backend}`, { backend }, (test) => {
    test('hands out copies that stay as they are', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const received = receive(server, 2);
      await client.send('first');
      await nextTurn(context.loop);
      await client.send('other');
      const datagrams = await received;
      assert.equal(textsOf(datagrams), ['first', 'other']);
      const { port } = client.local;
      for (const { address, port: from, truncated } of datagrams)
        assert.equal([address, from, truncated], ['127.0.0.1', port, false]);
    });

    test('serves those who asked first, first', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const iteration = server[Symbol.asyncIterator]();
      const asked = [next(iteration), next(iteration), next(iteration)];
      await client.sendMany(['a', 'b', 'c'].map((text) => ({ data: Buffer.from(text) })));
      const told = await Promise.all(asked);
      assert.equal(
        told.map(({ value }) => value.data.toString()),
        ['a', 'b', 'c'],
      );
      await iteration.return?.();
    });

    test('keeps as many as maxQueueLength allows, and counts the rest as dropped', async (context) => {
      const { server, client } = await new UdpSockets(context).pair({ maxQueueLength: 10 }, {});
      const iteration = server[Symbol.asyncIterator]();
      await client.sendMany(Array.from({ length: 25 }, (_, i) => ({ data: Buffer.from(`${i}`) })));
      await nextTurn(context.loop);
      assert.is(server.dropped, 15);
      assert.is(context.loop.metrics().datagramsDropped, 15);
      const kept: Datagram[] = [];
      for (let i = 0; i < 10; i++) kept.push((await next(iteration)).value);
      assert.equal(textsOf(kept), ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
      await iteration.return?.();
    });

    test('keeps as many bytes as maxQueueSize allows, and counts the rest as dropped', async (context) => {
      const { server, client } = await new UdpSockets(context).pair({ maxQueueSize: 100 }, {});
      const iteration = server[Symbol.asyncIterator]();
      for (const size of [60, 50, 40, 1]) await client.send('x'.repeat(size));
      await nextTurn(context.loop);
      assert.is(server.bytesBuffered, 100);
      assert.is(context.loop.metrics().bytesBuffered, 100);
      assert.is(server.dropped, 2);
      assert.is((await next(iteration)).value.data.length, 60);
      assert.is((await next(iteration)).value.data.length, 40);
      assert.is(server.bytesBuffered, 0);
      await iteration.return?.();
    });

    test('hands over to the one who waits what has no room to wait', async (context) => {
      const { server, client } = await new UdpSockets(context).pair({ maxQueueSize: 0 }, {});
      const received = receive(server, 1);
      await client.send('x'.repeat(1_000));
      assert.is((await received)[0]?.data.length, 1_000);
      assert.is(server.dropped, 0);
    });

    test('leaves the socket open when it is left, and what waits to the next one', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const received = receive(server, 1);
      await client.sendMany(['a', 'b', 'c'].map((text) => ({ data: Buffer.from(text) })));
      assert.equal(textsOf(await received), ['a']);
      assert.is(server.closed, false);
      assert.equal(textsOf(await receive(server, 2)), ['b', 'c']);
    });

    test('ends a wait by return(), with nothing lost', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const iteration = server[Symbol.asyncIterator]();
      const waiting = next(iteration);
      await iteration.return?.();
      assert.equal(await waiting, { done: true, value: undefined });
      assert.equal(await next(iteration), { done: true, value: undefined });
      const received = receive(server, 1);
      await client.send('later');
      assert.equal(textsOf(await received), ['later']);
    });

    test('ends when the socket is closed, for all who wait', async (context) => {
      const { server } = await new UdpSockets(context).pair();
      const iteration = server[Symbol.asyncIterator]();
      const waiting = [next(iteration), next(iteration)];
      await server.close();
      assert.equal(await Promise.all(waiting), [
        { done: true, value: undefined },
        { done: true, value: undefined },
      ]);
    });

    test('ends after a datagram whose taker closes the socket', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const seen: string[] = [];
      const iterate = async (): Promise<void> => {
        for await (const { data } of server) {
          seen.push(data.toString());
          void server.close();
        }
      };
      const over = iterate();
      await client.sendMany(['a', 'b'].map((text) => ({ data: Buffer.from(text) })));
      await within(5_000, over, 'the end of the iteration');
      assert.equal(seen, ['a']);
      assert.is(server.bytesBuffered, 0);
    });

    test('goes on after errors that ICMP has told', async (context) => {
      const errors = new Arrivals<SystemError>();
      const sockets = new UdpSockets(context);
      const port = await closedPort(sockets);
      const socket = await sockets.bind({ onError: errors.add });
      const received = receive(socket, 1);
      await socket.send('to nobody', port);
      await errors.first(1, 'error');
      await sockets.open().send('still there?', socket.local.port);
      assert.equal(textsOf(await received), ['still there?']);
    });

    test('begins on a socket that is closed with its end', async (context) => {
      const server = await new UdpSockets(context).bind();
      await server.close();
      assert.equal(await next(server[Symbol.asyncIterator]()), { done: true, value: undefined });
    });

    test('is told of truncation', async (context) => {
      const { server, client } = await new UdpSockets(context).pair({ maxPacketSize: 3 }, {});
      const received = receive(server, 2);
      await client.send('abcd');
      await client.send('abc');
      const told = (await received).map(({ data, truncated }) => [data.toString(), truncated]);
      assert.equal(told, [
        ['abc', true],
        ['abc', false],
      ]);
    });
  });
}
