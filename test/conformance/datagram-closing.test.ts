import * as assert from 'uvu/assert';

import { type DatagramSocket, IOLoop, IOLoopError, type SystemError } from '../../src/index.ts';
import { Arrivals, codeOf, receive, rejection, textsOf, UdpSockets } from '../support/datagrams.ts';
import { suite } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

for (const backend of IOLoop.backends) {
  suite(`a UDP socket that is closed, on ${backend}`, { backend }, (test) => {
    test('closes once, and frees its port', async (context) => {
      const sockets = new UdpSockets(context);
      const socket = await sockets.bind();
      const { port } = socket.local;
      assert.is(socket.closed, false);
      const ends = [socket.close(), socket.close()];
      assert.is(socket.closed, true);
      await within(1_000, Promise.all(ends), 'the end');
      assert.is(socket.fd, -1);
      await sockets.open().bind(port, '127.0.0.1');
    });

    test('refuses what needs it open, and takes what does not', async (context) => {
      const errors = new Arrivals<SystemError>();
      const socket = new UdpSockets(context).open({ onError: errors.add });
      await socket.close();
      const uses: (() => unknown)[] = [
        () => socket.onMessages(() => {}),
        () => socket.disconnect(),
        () => socket.addMembership('239.1.2.3'),
        () => socket.setOption('IP_TTL', 3),
        () => socket.getOption('IP_TTL'),
        () => socket.local,
      ];
      for (const use of uses)
        assert.throws(use, (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_CLOSED'));
      assert.is(codeOf(await rejection(socket.bind())), 'ERR_IOLOOP_CLOSED');
      assert.is(codeOf(await rejection(socket.connect(9, '127.0.0.1'))), 'ERR_IOLOOP_CLOSED');
      assert.is(codeOf(await rejection(socket.send('x', 9))), 'EBADF');
      assert.is(codeOf(await rejection(socket.sendMany([{ data: Buffer.from('x'), port: 9 }]))), 'EBADF');
      socket.onMessages(null);
      socket.pause();
      socket.resume();
      socket.ref().unref();
      assert.is(socket.dropped, 0);
      assert.is(socket.bytesQueued, 0);
      await within(1_000, socket.flush(), 'the flush');
    });

    test('refuses to bind or connect what was closed while the name was resolved', async (context) => {
      const sockets = new UdpSockets(context);
      const [binding, connecting] = [sockets.open(), sockets.open()];
      const outcomes = [
        rejection(binding.bind(0, 'localhost')),
        rejection(connecting.connect(9, 'localhost')),
      ];
      await Promise.all([binding.close(), connecting.close()]);
      assert.equal((await Promise.all(outcomes)).map(codeOf), ['ERR_IOLOOP_CLOSED', 'ERR_IOLOOP_CLOSED']);
    });

    test('sends what is queued before it goes', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      server.onMessages((batch) => {
        for (const answer of ['a', 'b', 'c']) batch.reply(0, answer);
        void server.close();
      });
      const answers = receive(client, 3);
      await client.send('question');
      assert.equal(textsOf(await answers), ['a', 'b', 'c']);
      assert.is(server.fd, -1);
    });

    test('may be closed in its own listener, with more to receive', async (context) => {
      const { server, client } = await new UdpSockets(context).pair({ maxBatch: 1 }, {});
      const seen = new Arrivals<string>();
      const thrown = new Arrivals<unknown>();
      server.onMessages((batch) => {
        void server.close();
        seen.add(`${batch.data(0)} ${batch.port(0) === client.local.port}`);
        try {
          batch.reply(0, 'late');
        } catch (error) {
          thrown.add(error);
        }
      });
      await client.sendMany([{ data: Buffer.from('1') }, { data: Buffer.from('2') }]);
      await seen.first(1, 'datagram');
      await nextTurn(context.loop);
      assert.equal(seen.all, ['1 true']);
      assert.equal(thrown.all.map(codeOf), ['ERR_IOLOOP_CLOSED']);
      assert.is(server.fd, -1);
    });

    test('may be closed in the listener of another that is ready in the same turn', async (context) => {
      const sockets = new UdpSockets(context);
      const pair = [await sockets.bind(), await sockets.bind()] as const;
      const seen = new Arrivals<string>();
      for (const [socket, other] of [pair, [...pair].reverse()]) {
        socket?.onMessages((batch) => {
          seen.add(`${batch.data(0)}`);
          void other?.close();
        });
      }
      const client = sockets.open();
      for (const { local } of pair) await client.send('hello', local.port);
      await seen.first(1, 'datagram');
      await nextTurn(context.loop);
      assert.equal(seen.all, ['hello']);
    });

    test('tells no newcomer on its number of what was for it', async (context) => {
      const sockets = new UdpSockets(context);
      const [first, second] = [await sockets.bind(), await sockets.bind()];
      const { port } = second.local;
      const seen = new Arrivals<string>();
      const newcomers: DatagramSocket[] = [];
      const replace = (socket: DatagramSocket, text: string): void => {
        seen.add(text);
        const { fd } = socket;
        void socket.close();
        const newcomer = sockets.open();
        newcomers.push(newcomer);
        assert.is(newcomer.fd, fd);
        newcomer.onMessages(() => seen.add('stale'));
      };
      first.onMessages((batch) => replace(second, `${batch.data(0)}`));
      second.onMessages((batch) => replace(first, `${batch.data(0)}`));
      const client = sockets.open();
      await client.send('hello', first.local.port);
      await client.send('hello', port);
      await seen.first(1, 'datagram');
      await nextTurn(context.loop);
      assert.equal(seen.all, ['hello']);
      assert.is(newcomers.length, 1);
    });

    test('keeps what it dropped in the count of its loop', async (context) => {
      const { server, client } = await new UdpSockets(context).pair({ maxQueueLength: 1 }, {});
      const iteration = server[Symbol.asyncIterator]();
      for (const data of ['1', '2', '3']) await client.send(data);
      await nextTurn(context.loop);
      await iteration.return?.();
      await server.close();
      assert.is(server.dropped, 2);
      assert.is(context.loop.metrics().datagramsDropped, 2);
    });

    test('is disposed of by "await using"', async (context) => {
      const socket = await new UdpSockets(context).bind();
      await within(1_000, socket[Symbol.asyncDispose](), 'the disposal');
      assert.is(socket.closed, true);
    });
  });

  suite(`a loop with UDP sockets that is closed, on ${backend}`, { backend }, (test) => {
    test('closes them, sends what they queue, and ends their iterations', async (context) => {
      const sockets = new UdpSockets(context);
      const loop = new IOLoop({ backend, current: false });
      context.defer(() => loop.close());
      const { server, client } = await sockets.pair({ loop }, {});
      const idle = await sockets.bind({ loop });
      const over = receive(idle, 1);
      const closed = new Arrivals<Promise<void>>();
      server.onMessages((batch) => {
        batch.reply(0, 'answer');
        closed.add(loop.close());
      });
      const answers = receive(client, 1);
      await client.send('question');
      assert.equal(textsOf(await answers), ['answer']);
      const [end] = await closed.first(1, 'end');
      await within(1_000, end, 'the end of the loop');
      assert.equal(await over, []);
      assert.equal([server.fd, idle.fd], [-1, -1]);
      assert.ok(IOLoopError.is(await rejection(openOn(sockets, loop)), 'ERR_IOLOOP_CLOSED'));
    });
  });

  suite(`what a UDP socket keeps alive, on ${backend}`, { backend }, (test) => {
    test('is told by resources() while it is read from', async (context) => {
      const { loop } = context;
      const referenced = (): boolean[] =>
        loop
          .resources()
          .filter(({ kind }) => kind === 'datagrams')
          .map((resource) => resource.referenced);
      const socket = await new UdpSockets(context).bind();
      assert.equal(referenced(), []);
      socket.onMessages(() => {});
      assert.equal(referenced(), [true]);
      socket.unref();
      assert.equal(referenced(), [false]);
      socket.ref();
      assert.equal(referenced(), [true]);
      socket.onMessages(null);
      assert.equal(referenced(), []);
    });
  });
}

/** A socket on `loop`, or why there is none. */
async function openOn(sockets: UdpSockets, loop: IOLoop): Promise<DatagramSocket> {
  return sockets.open({ loop });
}
