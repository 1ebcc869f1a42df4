import * as assert from 'uvu/assert';

import { type DatagramInfo, type DatagramSocket, IOLoop, IOLoopError } from '../../src/index.ts';
import { Arrivals, receive, textsOf, UdpSockets } from '../support/datagrams.ts';
import { suite } from '../support/suite.ts';
import { within } from '../support/within.ts';

const TOS_ECN_CE = 3;
const TOS_ECT_1 = 1;

for (const backend of IOLoop.backends) {
  suite(`replies to UDP datagrams, on ${backend}`, { backend }, (test) => {
    test('go to each sender, those to one in order', async (context) => {
      const sockets = new UdpSockets(context);
      const server = await sockets.bind();
      server.onMessages((batch) => {
        for (let i = 0; i < batch.length; i++) {
          batch.reply(i, batch.data(i));
          batch.reply(i, `${batch.data(i)}!`);
        }
      });
      const clients = await Promise.all(
        Array.from({ length: 10 }, async (_, i) => {
          const client = sockets.open();
          await client.connect(server.local.port, '127.0.0.1');
          await client.send(`${i}`);
          return client;
        }),
      );
      const answers = await Promise.all(clients.map((client) => receive(client, 2)));
      assert.equal(
        answers.map(textsOf),
        Array.from(clients, (_, i) => [`${i}`, `${i}!`]),
      );
    });

    test('are copied: a view may be answered with itself, changed', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      server.onMessages((batch) => {
        const data = batch.data(0);
        batch.reply(0, data);
        data.fill('x');
        batch.reply(0, data);
        data.fill('y');
      });
      const answers = receive(client, 2);
      await client.send('abc');
      assert.equal(textsOf(await answers), ['abc', 'xxx']);
    });

    test('leave at the end of the turn, before what the turn sends later', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const queued = new Arrivals<number>();
      server.onMessages((batch) => {
        batch.reply(0, 'reply');
        queued.add(server.bytesQueued);
        void server.send('sent', batch.port(0), batch.address(0));
        queued.add(server.bytesQueued);
      });
      const answers = receive(client, 2);
      await client.send('question');
      assert.equal(textsOf(await answers), ['reply', 'sent']);
      assert.equal(queued.all, [5, 0]);
    });

    test('are more than a system call takes, and all of them leave in order', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const count = 200;
      server.onMessages((batch) => {
        for (let i = 0; i < count; i++) batch.reply(0, `${i}`);
      });
      const answers = receive(client, count);
      await client.send('question');
      assert.equal(
        textsOf(await answers),
        Array.from({ length: count }, (_, i) => `${i}`),
      );
    });

    test('are the batch itself, when it is sent as many', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const sent = new Arrivals<Promise<void>>();
      server.onMessages((batch) => sent.add(server.sendMany(batch)));
      const texts = Array.from({ length: 20 }, (_, i) => `${i}`.repeat(i));
      const answers = receive(client, texts.length);
      await client.sendMany(texts.map((text) => ({ data: Buffer.from(text) })));
      assert.equal(textsOf(await answers), texts);
      await within(1_000, Promise.all(sent.all), 'the end of sendMany');
    });

    test('that are the batch itself leave behind those that wait', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      server.onMessages((batch) => {
        batch.reply(0, 'first');
        void server.sendMany(batch);
      });
      const answers = receive(client, 2);
      await client.send('second');
      assert.equal(textsOf(await answers), ['first', 'second']);
    });

    test('are no batch of another socket', async (context) => {
      const sockets = new UdpSockets(context);
      const { server, client } = await sockets.pair();
      const other = sockets.open();
      const errors = new Arrivals<unknown>();
      server.onMessages((batch) => {
        try {
          void other.sendMany(batch);
        } catch (error) {
          errors.add(error);
        }
      });
      await client.send('question');
      const [error] = await errors.first(1, 'error');
      assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'));
    });

    test('refuse what is no data', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const errors = new Arrivals<unknown>();
      server.onMessages((batch) => {
        try {
          Reflect.apply(batch.reply, batch, [0, 42]);
        } catch (error) {
          errors.add(error);
        }
      });
      await client.send('question');
      assert.match(String((await errors.first(1, 'error'))[0]), /data/);
    });
  });

  suite(`a UDP reply after connect(), on ${backend}`, { backend }, (test) => {
    for (const way of ['reply()', 'sendMany()'])
      test(`goes to who has asked before it, and not to the peer, by ${way}`, async (context) => {
        const sockets = new UdpSockets(context);
        const [server, asker, peer] = [await sockets.bind(), await sockets.bind(), await sockets.bind()];
        const answers = receive(asker, 1);
        const ofPeer = receive(peer, 1);
        await asker.send('question', server.local.port);
        await server.connect(peer.local.port, peer.local.address);
        server.onMessages((batch) => {
          if (way === 'reply()') batch.reply(0, batch.data(0));
          else void server.sendMany(batch);
        });
        assert.equal(textsOf(await answers), ['question']);
        await server.send('to the peer');
        assert.equal(textsOf(await ofPeer), ['to the peer']);
      });
  });

  suite(`the address that a UDP reply leaves from, on ${backend}`, { backend }, (test) => {
    const servers = [
      { of: 'IPv4', type: 'udp4', any: '0.0.0.0', asked: ['127.0.0.2', '127.0.0.9'] },
      { of: 'IPv6', type: 'udp6', any: '::', asked: ['::1'] },
      { of: 'both families', type: 'udp6', any: '::', asked: ['127.0.0.2', '::1', '127.0.0.1'] },
    ] as const;
    for (const { of, type, any, asked } of servers) {
      for (const packetInfo of [false, true]) {
        const told = packetInfo ? ', with packetInfo' : '';
        test(`is the one that was asked, of a server of ${of}${told}`, async (context) => {
          const sockets = new UdpSockets(context);
          const server = await sockets.bind({ type, packetInfo }, any);
          server.onMessages((batch) => {
            for (let i = 0; i < batch.length; i++) batch.reply(i, 'one');
            void server.sendMany(batch);
          });
          for (const address of asked) {
            const client = sockets.open({ type: address.includes(':') ? 'udp6' : 'udp4' });
            // A connected socket takes datagrams from there alone.
            await client.connect(server.local.port, address);
            const answers = receive(client, 2);
            await client.send('two');
            assert.equal(textsOf(await answers), ['one', 'two'], `asked at ${address}`);
          }
        });
      }
    }

    const unbound = {
      'that its first send has bound': (server: DatagramSocket, port: number) => server.send('bind', port),
      'whose connection has ended': async (server: DatagramSocket, port: number) => {
        await server.connect(port, '127.0.0.1');
        server.disconnect();
      },
    };
    for (const [which, begin] of Object.entries(unbound))
      test(`is the one that was asked, of a socket ${which}`, async (context) => {
        const sockets = new UdpSockets(context);
        const server = sockets.open();
        await begin(server, (await sockets.bind()).local.port);
        server.onMessages((batch) => batch.reply(0, 'answer'));
        const client = sockets.open();
        await client.connect(server.local.port, '127.0.0.9');
        const answers = receive(client, 1);
        await client.send('question');
        assert.equal(textsOf(await answers), ['answer']);
      });

    test('is the system’s choice where the question went to many', async (context) => {
      const sockets = new UdpSockets(context);
      const server = await sockets.bind({}, '0.0.0.0');
      server.onMessages((batch) => batch.reply(0, 'answer'));
      const client = sockets.open();
      client.setBroadcast(true);
      const answers = receive(client, 1);
      await client.send('anybody?', server.local.port, '127.255.255.255');
      assert.equal(textsOf(await answers), ['answer']);
    });
  });

  suite(`what comes along with a UDP datagram, on ${backend}`, { backend }, (test) => {
    test('is null unless it was asked for', async (context) => {
      const { server, client } = await new UdpSockets(context).pair();
      const infos = new Arrivals<DatagramInfo | null>();
      server.onMessages((batch) => infos.add(batch.info(0)));
      await client.send('x');
      assert.equal(await infos.first(1, 'info'), [null]);
    });

    test('is null on a server of all addresses, too', async (context) => {
      const sockets = new UdpSockets(context);
      const server = await sockets.bind({}, '0.0.0.0');
      const infos = new Arrivals<DatagramInfo | null>();
      server.onMessages((batch) => infos.add(batch.info(0)));
      await sockets.open().send('x', server.local.port);
      assert.equal(await infos.first(1, 'info'), [null]);
    });

    const cases = [
      { type: 'udp4', any: '0.0.0.0', sender: 'udp4', to: '127.0.0.2', local: '127.0.0.2' },
      { type: 'udp6', any: '::', sender: 'udp6', to: '::1', local: '::1' },
      { type: 'udp6', any: '::', sender: 'udp4', to: '127.0.0.2', local: '::ffff:127.0.0.2' },
    ] as const;
    for (const { type, any, sender, to, local } of cases) {
      test(`is where it was sent to, its ECN, TTL and time, at ${local}`, async (context) => {
        const sockets = new UdpSockets(context);
        const server = await sockets.bind({ type, packetInfo: true }, any);
        const infos = new Arrivals<DatagramInfo | null>();
        server.onMessages((batch) => {
          for (let i = 0; i < batch.length; i++) infos.add(batch.info(i));
        });
        const client = sockets.open({ type: sender });
        const tos = sender === 'udp4' ? 'IP_TOS' : 'IPV6_TCLASS';
        client.setOption(tos, TOS_ECT_1);
        client.setTtl(17);
        await client.send('x', server.local.port, to);
        client.setOption(tos, TOS_ECN_CE);
        client.setTtl(255);
        await client.send('x', server.local.port, to);
        const [first, second] = await infos.first(2, 'infos');
        assert.equal([first?.localAddress, first?.ecn, first?.ttl], [local, 1, 17]);
        assert.equal([second?.localAddress, second?.ecn, second?.ttl], [local, 3, 255]);
        const lateMs = Date.now() - Number((first?.timestampNs ?? 0n) / 1_000_000n);
        assert.ok(lateMs > -60_000 && lateMs < 60_000, `${lateMs} ms ago`);
        assert.ok((second?.timestampNs ?? 0n) >= (first?.timestampNs ?? 0n));
      });
    }
  });
}
