import * as assert from 'uvu/assert';

import { type DatagramSocket, IOLoop, type SystemError } from '../../src/index.ts';
import {
  Arrivals,
  closedPort,
  codeOf,
  receive,
  rejection,
  textsOf,
  UdpSockets,
} from '../support/datagrams.ts';
import { suite } from '../support/suite.ts';
import { nextTurn, turnsIn } from '../support/turns.ts';

/** More than a datagram can hold. */
const TOO_LONG = new Uint8Array(70_000);

/** What an error tells of where the datagram went. */
function whereOf({ code, address, port }: SystemError): unknown[] {
  return [code, address, port];
}

for (const backend of IOLoop.backends) {
  suite(`a UDP socket that nobody answers, on ${backend}`, { backend }, (test) => {
    test('tells a connected socket of it', async (context) => {
      const errors = new Arrivals<SystemError>();
      const sockets = new UdpSockets(context);
      const port = await closedPort(sockets);
      const client = sockets.open({ onError: errors.add });
      await client.connect(port, '127.0.0.1');
      client.onMessages(() => {});
      await client.send('hello?');
      await errors.first(1, 'error');
      assert.equal(errors.all.map(whereOf), [['ECONNREFUSED', '127.0.0.1', port]]);
    });

    test('tells an unconnected socket of each, and whom it was sent to', async (context) => {
      const errors = new Arrivals<SystemError>();
      const sockets = new UdpSockets(context);
      const ports = [await closedPort(sockets), await closedPort(sockets)];
      const client = sockets.open({ onError: errors.add });
      client.onMessages(() => {});
      for (const port of ports) await client.send('hello?', port, '127.0.0.3');
      await errors.first(2, 'errors');
      assert.equal(
        errors.all.map(whereOf),
        ports.map((port) => ['ECONNREFUSED', '127.0.0.3', port]),
      );
    });

    test('tells a socket of both families of each', async (context) => {
      const errors = new Arrivals<SystemError>();
      const sockets = new UdpSockets(context);
      const port = await closedPort(sockets);
      const client = sockets.open({ type: 'udp6', onError: errors.add });
      client.onMessages(() => {});
      await client.send('hello?', port, '::1');
      await client.send('hello?', port, '127.0.0.1');
      await errors.first(2, 'errors');
      assert.equal(errors.all.map(whereOf), [
        ['ECONNREFUSED', '::1', port],
        ['ECONNREFUSED', '::ffff:127.0.0.1', port],
      ]);
    });

    test('tells one that only sends', async (context) => {
      const errors = new Arrivals<SystemError>();
      const sockets = new UdpSockets(context);
      const port = await closedPort(sockets);
      const client = sockets.open({ onError: errors.add });
      await client.send('hello?', port);
      await errors.first(1, 'error');
      assert.equal(errors.all.map(whereOf), [['ECONNREFUSED', '127.0.0.1', port]]);
    });

    for (const reads of [false, true]) {
      test(`fails no later send of one that ${reads ? 'reads' : 'only sends'}, to whomever`, async (context) => {
        const errors = new Arrivals<SystemError>();
        const sockets = new UdpSockets(context);
        const port = await closedPort(sockets);
        const server = await sockets.bind();
        const received = receive(server, 2);
        const client = sockets.open({ onError: errors.add });
        if (reads) client.onMessages(() => {});
        for (let i = 0; i < 3; i++) await client.send('hello?', port);
        await client.send('one', server.local.port);
        await client.send('hello?', port);
        await client.send('two', server.local.port);
        assert.equal(textsOf(await received), ['one', 'two']);
        await errors.first(4, 'errors');
        await nextTurn(context.loop);
        assert.is(errors.all.length, 4);
      });
    }

    test('is no reason for its loop to spin', async (context) => {
      const errors = new Arrivals<SystemError>();
      const sockets = new UdpSockets(context);
      const port = await closedPort(sockets);
      const client = sockets.open({ onError: errors.add });
      await client.send('hello?', port);
      await errors.first(1, 'error');
      client.onMessages(() => {});
      await client.send('hello?', port);
      await errors.first(2, 'errors');
      assert.ok((await turnsIn(20, context.loop)) < 5);
    });

    test('tells of each error once, whoever comes upon it first', async (context) => {
      const errors = new Arrivals<SystemError>();
      const sockets = new UdpSockets(context);
      const port = await closedPort(sockets);
      const server = await sockets.bind({ maxBatch: 1, onError: errors.add });
      const seen = new Arrivals<string>();
      // The answer of ICMP is there before the second receive of the turn.
      server.onMessages((batch) => {
        void server.send('hello?', port);
        seen.add(`${batch.data(0)}`);
      });
      const client = sockets.open();
      await client.send('1', server.local.port);
      await client.send('2', server.local.port);
      await seen.first(2, 'datagrams');
      await errors.first(2, 'errors');
      await nextTurn(context.loop);
      assert.equal(errors.all.map(whereOf), [
        ['ECONNREFUSED', '127.0.0.1', port],
        ['ECONNREFUSED', '127.0.0.1', port],
      ]);
    });

    test('stays as bound and connected as it was', async (context) => {
      const errors = new Arrivals<SystemError>();
      const sockets = new UdpSockets(context);
      const port = await closedPort(sockets);
      const client = sockets.open({ onError: errors.add });
      await client.connect(port, '127.0.0.1');
      client.onMessages(() => {});
      await client.send('too early');
      await errors.first(1, 'error');
      const server = sockets.open();
      await server.bind(port, '127.0.0.1');
      const received = receive(server, 1);
      await client.send('now');
      assert.equal(textsOf(await received), ['now']);
    });
  });

  suite(`a send that fails in a listener, on ${backend}`, { backend }, (test) => {
    const failures: Readonly<Record<string, (socket: DatagramSocket, port: number) => void>> = {
      'for its size': (socket, port) => void socket.send(TOO_LONG, port),
      'after an error that ICMP has told': (socket, port) => {
        void socket.send('hello?', port);
        void socket.send(TOO_LONG, port);
      },
    };
    for (const [why, fail] of Object.entries(failures)) {
      test(`${why} leaves the batch as it is`, async (context) => {
        const errors = new Arrivals<SystemError>();
        const sockets = new UdpSockets(context);
        const port = await closedPort(sockets);
        const server = await sockets.bind({ onError: errors.add });
        const client = await sockets.bind();
        const seen = new Arrivals<unknown>();
        server.onMessages((batch) => {
          fail(server, port);
          seen.add([`${batch.data(0)}`, batch.port(0), batch.address(0)]);
          batch.reply(0, 'answer');
        });
        const answers = receive(client, 1);
        await client.send('question', server.local.port);
        await seen.first(1, 'datagram');
        assert.equal(seen.all, [['question', client.local.port, '127.0.0.1']]);
        assert.equal(textsOf(await answers), ['answer']);
        await errors.first(1, 'error');
      });
    }

    test('leaves the other replies of the turn to leave in order', async (context) => {
      const errors = new Arrivals<SystemError>();
      const sockets = new UdpSockets(context);
      const { server, client } = await sockets.pair({ onError: errors.add }, {});
      server.onMessages((batch) => {
        batch.reply(0, 'a');
        batch.reply(0, TOO_LONG);
        batch.reply(0, 'b');
      });
      const answers = receive(client, 2);
      await client.send('question');
      assert.equal(textsOf(await answers), ['a', 'b']);
      await errors.first(1, 'error');
      assert.is(errors.all[0]?.code, 'EMSGSIZE');
      assert.match(String(errors.all[0]), `70000 bytes to 127.0.0.1:${client.local.port}`);
    });

    test('tells its size, although an error that ICMP has told came before', async (context) => {
      const errors = new Arrivals<SystemError>();
      const sockets = new UdpSockets(context);
      const port = await closedPort(sockets);
      const client = sockets.open({ onError: errors.add });
      await client.send('hello?', port);
      assert.is(codeOf(await rejection(client.send(TOO_LONG, port))), 'EMSGSIZE');
      await errors.first(1, 'error');
      assert.equal(errors.all.map(codeOf), ['ECONNREFUSED']);
    });
  });
}
