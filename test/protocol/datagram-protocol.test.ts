import { Buffer } from 'node:buffer';
import * as assert from 'uvu/assert';

import { type InetAddress, IOLoop, IOLoopError } from '../../src/index.ts';
import { addon } from '../../src/native.ts';
import { adoptDatagramPort, DatagramProtocol, listenUdp } from '../../src/protocol/index.ts';
import { ExpectedErrors, echo, listenAt, NotingProtocol, stopWith } from '../support/datagram-protocols.ts';
import { closedPort, codeOf, receive, rejection, textsOf, UdpSockets } from '../support/datagrams.ts';
import { suite } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { within } from '../support/within.ts';

for (const backend of IOLoop.backends) {
  suite(`a datagram protocol on ${backend}`, { backend }, (test) => {
    test('is started once it is bound, told of datagrams and where they came from, and stopped', async (context) => {
      const senders: InetAddress[] = [];
      const { protocol, transport, port } = await listenAt(
        context,
        new NotingProtocol((_, address) => senders.push(address)),
      );
      assert.is(protocol.transport, transport);
      const client = await new UdpSockets(context).bind();
      await client.send('one', port);
      await client.send('', port);
      await protocol.events.first(3, 'events');
      await transport.stopListening();
      await transport.stopListening();
      assert.equal(protocol.events.all, ['start', 'one', '', 'stop']);
      assert.equal(senders.map(String), [String(client.local), String(client.local)]);
      assert.equal([transport.getHost().port, transport.getHandle().fd], [port, -1]);
    });

    test('answers with the turn, by an address that nobody has to read', async (context) => {
      const queued: number[] = [];
      let reads = 0;
      const { port } = await listenAt(
        context,
        new NotingProtocol((data, address, { transport }) => {
          const read = (): string => {
            reads++;
            return '127.0.0.1';
          };
          Object.defineProperty(address, 'address', { get: read });
          transport.write(data, address);
          data.fill('x');
          transport.writeSequence([data, Buffer.from('!')], address);
          queued.push(transport.getHandle().bytesQueued);
        }),
      );
      const client = await new UdpSockets(context).bind();
      await client.send('abc', port);
      assert.equal(textsOf(await receive(client, 2)), ['abc', 'xxx!']);
      assert.equal([queued, reads], [[7], 0]);
    });

    test('writes to anybody, and later to who was there before', async (context) => {
      const sockets = new UdpSockets(context);
      const [one, other] = [await sockets.bind(), await sockets.bind()];
      const senders: InetAddress[] = [];
      const { protocol, transport, port } = await listenAt(
        context,
        new NotingProtocol((_, address) => {
          senders.push(address);
          transport.write('copy', { address: '127.0.0.1', port: other.local.port });
        }),
      );
      await one.send('hello', port);
      assert.equal(textsOf(await receive(other, 1)), ['copy']);
      for (const sender of senders) protocol.transport.write('later', sender);
      assert.equal(textsOf(await receive(one, 1)), ['later']);
    });

    test('that throws, or rejects, is told so, and goes on', async (context) => {
      const errors = new ExpectedErrors(context, 'one', 'two', 'three', 'late');
      class Failing extends NotingProtocol {
        override async datagramReceived(data: Buffer, address: InetAddress): Promise<void> {
          super.datagramReceived(data, address, false);
          if (String(data) === 'late') await Promise.reject(new Error('late'));
        }
      }
      const failing = new NotingProtocol((data) => {
        throw new Error(String(data));
      });
      const { port } = await listenAt(context, failing, {}, errors);
      const client = await new UdpSockets(context).bind();
      for (const text of ['one', 'two', 'three']) await client.send(text, port);
      await errors.first(3, 'errors');
      const rejecting = await listenAt(context, new Failing(), {}, errors);
      await client.send('late', rejecting.port);
      await errors.first(4, 'errors');
    });

    test('throws in vain when onError throws as well: that is for the loop', async (context) => {
      const thrown = new Promise<unknown>((resolve) => process.once('uncaughtException', resolve));
      const { port } = await listenAt(
        context,
        new NotingProtocol(() => {
          throw new Error('first');
        }),
        {
          onError: () => {
            throw new Error('second');
          },
        },
      );
      await (await new UdpSockets(context).bind()).send('hello', port);
      assert.match(String(await within(5_000, thrown, 'the exception')), 'second');
    });

    test('is told what was cut off', async (context) => {
      const { protocol, port } = await listenAt(context, new NotingProtocol(), { maxPacketSize: 4 });
      const client = await new UdpSockets(context).bind();
      await client.send('1234', port);
      await client.send('12345', port);
      await protocol.events.first(3, 'events');
      assert.equal(protocol.events.all, ['start', '1234', '1234, truncated']);
    });

    test('is at all addresses of both families by default, or of one', async (context) => {
      const both = await listenAt(context, new NotingProtocol(echo), { interface: undefined });
      const six = await listenAt(context, new NotingProtocol(echo), { interface: '::', ipv6Only: true });
      assert.equal([both.transport.getHost().address, six.transport.getHost().address], ['::', '::']);
      const sockets = new UdpSockets(context);
      const [client4, client6] = [await sockets.bind(), await sockets.bind({ type: 'udp6' })];
      await client4.send('4', both.port);
      await client6.send('6', both.port);
      assert.equal(textsOf(await receive(client4, 1)), ['4']);
      assert.equal(textsOf(await receive(client6, 1)), ['6']);
      await client6.send('6 alone', six.port);
      assert.equal(textsOf(await receive(client6, 1)), ['6 alone']);
    });

    test('is not started where the port is taken, or by arguments that are none', async (context) => {
      const { loop } = context;
      const { port } = await listenAt(context, new NotingProtocol());
      const late = new NotingProtocol();
      const options = { interface: '127.0.0.1', loop };
      assert.is(codeOf(await rejection(listenUdp(port, late, options))), 'EADDRINUSE');
      for (const bad of [
        listenUdp(65_536, late, options),
        listenUdp(0, late, { ...options, interface: 'localhost' }),
        listenUdp(0, late, { ...options, maxPacketSize: 0 }),
        // @ts-expect-error for those who have no compiler
        listenUdp(0, new NotingProtocol().events, options),
      ])
        assert.is(codeOf(await rejection(bad)), 'ERR_IOLOOP_INVALID_ARGUMENT');
      assert.equal(late.events.all, []);
      assert.throws(() => late.transport, /no transport yet/);
    });

    test('has one transport at a time, and one after the other', async (context) => {
      const { protocol, transport, port } = await listenAt(context, new NotingProtocol());
      const second = listenUdp(0, protocol, { interface: '127.0.0.1', loop: context.loop });
      assert.is(codeOf(await rejection(second)), 'ERR_IOLOOP_INVALID_STATE');
      await transport.stopListening();
      const again = await listenUdp(port, protocol, { interface: '127.0.0.1', loop: context.loop });
      await again.stopListening();
      assert.equal(protocol.events.all, ['start', 'stop', 'start', 'stop']);
    });

    test('whose start throws has nothing to stop, and frees the port', async (context) => {
      const protocol = new NotingProtocol();
      let port = 0;
      protocol.started = (transport) => {
        port = transport.getHost().port;
        throw new Error('no start');
      };
      const options = { interface: '127.0.0.1', loop: context.loop };
      assert.match(String(await rejection(listenUdp(0, protocol, options))), 'no start');
      const next = await listenAt(context, new NotingProtocol(), options);
      await listenUdp(port, new NotingProtocol(), options).then((free) => free.stopListening());
      await next.transport.stopListening();
      assert.equal(protocol.events.all, ['start']);
    });

    test('receives by a descriptor that is bound already, which it closes', async (context) => {
      const fd = addon().openDatagram('udp4');
      addon().bindDatagram(fd, undefined, '127.0.0.1', 0, -1);
      addon().releaseStream(fd);
      const protocol = new NotingProtocol(echo);
      const transport = await adoptDatagramPort(fd, protocol, { loop: context.loop });
      stopWith(context, protocol);
      const client = await new UdpSockets(context).bind();
      await client.send('hello', transport.getHost().port);
      assert.equal(textsOf(await receive(client, 1)), ['hello']);
      const other = adoptDatagramPort(context.loop.fd, new NotingProtocol(), { loop: context.loop });
      assert.is(codeOf(await rejection(other)), 'ENOTSOCK');
    });

    test('whose start rejects is stopped', async (context) => {
      class Failing extends NotingProtocol {
        override async startProtocol(): Promise<void> {
          super.startProtocol();
          await Promise.reject(new Error('no start'));
        }
      }
      const protocol = new Failing();
      const options = { interface: '127.0.0.1', loop: context.loop };
      assert.match(String(await rejection(listenUdp(0, protocol, options))), 'no start');
      assert.equal(protocol.events.all, ['start', 'stop']);
    });
  });

  suite(`the end of a datagram protocol on ${backend}`, { backend }, (test) => {
    test('comes after the datagram that it stops at, and before the next one', async (context) => {
      const inside: string[][] = [];
      const { protocol, transport, port } = await listenAt(
        context,
        new NotingProtocol((data, address, { transport, events }) => {
          transport.write(data, address);
          void transport.stopListening();
          transport.write('too late', address);
          inside.push([...events.all]);
        }),
      );
      const client = await new UdpSockets(context).bind();
      await client.sendMany(Array.from('abc', (letter) => ({ data: Buffer.from(letter), port })));
      assert.equal(textsOf(await receive(client, 1)), ['a']);
      await transport.stopListening();
      assert.equal(protocol.events.all, ['start', 'a', 'stop']);
      assert.equal(inside, [['start', 'a']]);
      transport.write('nowhere', client.local);
      assert.is(transport.droppedWrites, 0);
    });

    test('may come from its own start', async (context) => {
      const protocol = new NotingProtocol();
      protocol.started = (transport) => void transport.stopListening();
      await listenAt(context, protocol);
      await protocol.transport.stopListening();
      assert.equal(protocol.events.all, ['start', 'stop']);
    });

    test('is told what it throws', async (context) => {
      class Failing extends DatagramProtocol {
        override stopProtocol(): void {
          throw new Error('no stop');
        }
      }
      const errors = new ExpectedErrors(context, 'no stop');
      const { transport } = await listenAt(context, new Failing(), {}, errors);
      await within(2_000, transport.stopListening(), 'the end');
    });

    for (const drive of ['node', 'manual'] as const)
      test(`comes with that of its loop, with drive '${drive}'`, async () => {
        const loop = new IOLoop({ backend, drive });
        const protocol = new NotingProtocol();
        const transport = await listenUdp(0, protocol, { loop, interface: '127.0.0.1' });
        await within(2_000, loop.close(), 'the end of the loop');
        await within(2_000, transport.stopListening(), 'the end of the transport');
        assert.equal(protocol.events.all, ['start', 'stop']);
      });

    test('comes exactly once, last of all, however it came', async (context) => {
      const client = await new UdpSockets(context).bind();
      const endOne = async (number: number): Promise<void> => {
        const protocol = new NotingProtocol((_data, address, { transport }) => {
          transport.write('answer', address);
          if (number % 3 === 0) void transport.stopListening();
          if (number % 5 === 0) throw new Error('thrown');
        });
        const errors = new ExpectedErrors(context, ...(number % 5 === 0 ? ['thrown'] : []));
        const { transport, port } = await listenAt(context, protocol, {}, errors);
        await client.send('question', port);
        await protocol.events.first(2, 'events');
        const fromTurn = new Promise<void>((resolve) =>
          context.loop.addCallback(() => resolve(transport.stopListening())),
        );
        if (number % 2 === 0) await fromTurn;
        if (number % 7 === 0) await transport[Symbol.asyncDispose]();
        await Promise.all([transport.stopListening(), fromTurn]);
        assert.equal(protocol.events.all, ['start', 'question', 'stop']);
      };
      // So many at a time that select(2) has numbers for all.
      for (let round = 0; round < count(2, 60); round++)
        await Promise.all(Array.from({ length: 35 }, (_, number) => endOne(number)));
    });

    test('does not keep the process alive when it is told not to', async (context) => {
      const { transport } = await listenAt(context, new NotingProtocol());
      const referenced = (): boolean[] =>
        context.loop
          .resources()
          .filter(({ kind }) => kind === 'datagrams')
          .map((resource) => resource.referenced);
      assert.equal(referenced(), [true]);
      assert.is(transport.unref(), transport);
      assert.equal(referenced(), [false]);
      assert.is(transport.ref(), transport);
      assert.equal(referenced(), [true]);
    });
  });

  suite(`a connected datagram protocol on ${backend}`, { backend }, (test) => {
    test('talks to its peer from the start, and hears nobody else', async (context) => {
      const sockets = new UdpSockets(context);
      const refused = new ExpectedErrors(context, 'ECONNREFUSED');
      const [peer, stranger] = [await sockets.bind(), await sockets.bind({ onError: refused.add })];
      const protocol = new NotingProtocol((_, address, { transport }) => transport.write('reply', address));
      protocol.started = (transport) => {
        assert.is(transport.getPeer(), null);
        transport.connect('127.0.0.1', peer.local.port);
        transport.write('hello');
      };
      const { transport, port } = await listenAt(context, protocol);
      assert.equal(textsOf(await receive(peer, 1)), ['hello']);
      assert.is(String(transport.getPeer()), String(peer.local));
      await stranger.send('stranger', port);
      await refused.first(1, 'error');
      await peer.send('peer', port);
      assert.equal(textsOf(await receive(peer, 1)), ['reply']);
      assert.equal(protocol.events.all, ['start', 'peer']);
      transport.write('by its address', peer.local);
      assert.equal(textsOf(await receive(peer, 1)), ['by its address']);
      assert.throws(
        () => transport.write('to another', stranger.local),
        (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE'),
      );
    });

    test('is told that nobody is there, and nobody else is', async (context) => {
      const port = await closedPort(new UdpSockets(context));
      const { protocol, transport } = await listenAt(context, new NotingProtocol());
      transport.connect('127.0.0.1', port);
      transport.write('anybody?');
      await protocol.events.first(2, 'events');
      transport.write('anybody?');
      await protocol.events.first(3, 'events');
      assert.equal(protocol.events.all, ['start', 'refused', 'refused']);
    });

    test('throws because of that: it is told so', async (context) => {
      class Failing extends DatagramProtocol {
        override connectionRefused(): void {
          throw new Error('refused');
        }
      }
      const port = await closedPort(new UdpSockets(context));
      const errors = new ExpectedErrors(context, 'refused');
      const { transport } = await listenAt(context, new Failing(), {}, errors);
      transport.connect('127.0.0.1', port);
      transport.write('anybody?');
      await errors.first(1, 'error');
    });

    test('takes literals alone', async (context) => {
      const { transport } = await listenAt(context, new NotingProtocol());
      for (const [host, port] of [
        ['localhost', 1],
        ['127.0.0.1', 0],
      ] as const)
        assert.throws(
          () => transport.connect(host, port),
          (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'),
        );
    });

    test('may have IPv4 behind a socket of both families', async (context) => {
      const peer = await new UdpSockets(context).bind();
      const { transport } = await listenAt(context, new NotingProtocol(), { interface: undefined });
      transport.connect('127.0.0.1', peer.local.port);
      transport.write('hello');
      const [datagram] = await receive(peer, 1);
      assert.is(String(datagram?.data), 'hello');
    });
  });

  suite(`what a datagram protocol on ${backend} cannot write`, { backend }, (test) => {
    test('is told when it is refused by who is not connected to, and by the kernel', async (context) => {
      const errors = new ExpectedErrors(context, 'ECONNREFUSED', 'EMSGSIZE', 'EACCES');
      const port = await closedPort(new UdpSockets(context));
      const { protocol, transport } = await listenAt(context, new NotingProtocol(), {}, errors);
      transport.write('anybody?', { address: '127.0.0.1', port });
      await errors.first(1, 'error');
      transport.write(Buffer.alloc(65_536), { address: '127.0.0.1', port });
      await errors.first(2, 'errors');
      assert.is(transport.getBroadcastAllowed(), false);
      transport.write('everybody', { address: '255.255.255.255', port });
      await errors.first(3, 'errors');
      transport.setBroadcastAllowed(true);
      assert.is(transport.getBroadcastAllowed(), true);
      assert.equal(protocol.events.all, ['start']);
    });

    test('is counted and told when the queue is full', async (context) => {
      const errors = new ExpectedErrors(context, 'ENOBUFS', 'ENOBUFS');
      const { transport, port } = await listenAt(
        context,
        new NotingProtocol((data, address, { transport }) => {
          for (let i = 0; i < 3; i++) transport.write(data, address);
        }),
        { maxQueueLength: 1 },
        errors,
      );
      const client = await new UdpSockets(context).bind();
      await client.send('hello', port);
      await errors.first(2, 'errors');
      assert.equal(textsOf(await receive(client, 1)), ['hello']);
      assert.is(transport.droppedWrites, 2);
    });

    test('is refused when it says nowhere, or nothing that is data', async (context) => {
      const { transport } = await listenAt(context, new NotingProtocol());
      const isInvalid = (error: unknown): boolean => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT');
      assert.throws(() => transport.write('nowhere'), isInvalid);
      assert.throws(() => transport.write('to a name', { address: 'localhost', port: 1 }), isInvalid);
      // @ts-expect-error for those who have no compiler
      assert.throws(() => transport.write(1, { address: '127.0.0.1', port: 1 }), isInvalid);
      // @ts-expect-error likewise: no port of the loopback address is meant
      assert.throws(() => transport.write('to a port', { port: 1 }), isInvalid);
    });
  });
}

suite('a multicast protocol', (test) => {
  const GROUP = '239.192.7.9';

  test('is in a group from joining to leaving', async (context) => {
    const { protocol, transport, port } = await listenAt(context, new NotingProtocol(), {
      interface: '0.0.0.0',
    });
    const sender = await listenAt(context, new NotingProtocol());
    sender.transport.setOutgoingInterface('127.0.0.1');
    transport.joinGroup(GROUP, '127.0.0.1');
    sender.transport.write('in', { address: GROUP, port });
    await protocol.events.first(2, 'events');
    transport.leaveGroup(GROUP, '127.0.0.1');
    sender.transport.write('out', { address: GROUP, port });
    sender.transport.write('after', { address: '127.0.0.1', port });
    await protocol.events.first(3, 'events');
    assert.equal(protocol.events.all, ['start', 'in', 'after']);
    assert.throws(() => transport.joinGroup('127.0.0.1'), /EINVAL|invalid/);
  });

  test('shares its port, when both say so, as listenMulticast does', async (context) => {
    const first = new NotingProtocol();
    const options = { interface: '0.0.0.0', reuseAddress: true };
    const { port } = await listenAt(context, first, options);
    const second = new NotingProtocol();
    await listenUdp(port, second, { ...options, loop: context.loop });
    stopWith(context, second);
    const sender = await listenAt(context, new NotingProtocol());
    sender.transport.setOutgoingInterface('127.0.0.1');
    for (const { transport } of [first, second]) transport.joinGroup(GROUP, '127.0.0.1');
    sender.transport.write('all', { address: GROUP, port });
    for (const { events } of [first, second]) await events.first(2, 'events');
    assert.equal(
      [first.events.all, second.events.all],
      [
        ['start', 'all'],
        ['start', 'all'],
      ],
    );
  });

  for (const host of ['127.0.0.1', '::1', '::'])
    test(`says how far it sends, from ${host}`, async (context) => {
      const { transport } = await listenAt(context, new NotingProtocol(), { interface: host });
      assert.equal([transport.getTtl(), transport.getLoopbackMode()], [1, true]);
      transport.setTtl(7);
      transport.setLoopbackMode(false);
      assert.equal([transport.getTtl(), transport.getLoopbackMode()], [7, false]);
    });
});
