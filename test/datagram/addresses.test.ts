import { networkInterfaces } from 'node:os';
import * as assert from 'uvu/assert';

import { LoopDatagrams } from '../../src/datagram/loop-datagrams.ts';
import type { SystemError } from '../../src/index.ts';
import { Arrivals, codeOf, receive, rejection, textsOf, UdpSockets } from '../support/datagrams.ts';
import { suite } from '../support/suite.ts';
import { within } from '../support/within.ts';

suite('where a UDP socket is bound', (test) => {
  test('is nowhere at first, and a free port of all addresses by default', async (context) => {
    const sockets = new UdpSockets(context);
    const four = sockets.open();
    assert.equal([four.local.address, four.local.port], ['0.0.0.0', 0]);
    const bound = await four.bind();
    assert.is(bound.family, 'IPv4');
    assert.is(bound.address, '0.0.0.0');
    assert.ok(bound.port > 0);
    assert.is(four.local.port, bound.port);
    const six = await sockets.open({ type: 'udp6' }).bind();
    assert.is(six.toString(), `[::]:${six.port}`);
  });

  test('may be a name', async (context) => {
    const sockets = new UdpSockets(context);
    assert.is((await sockets.open().bind(0, 'localhost')).address, '127.0.0.1');
    const client = sockets.open();
    await client.connect(9, 'localhost');
    assert.is(client.local.address, '127.0.0.1');
    const error = await rejection(sockets.open().bind(0, 'no-such-name.invalid'));
    assert.match(String(codeOf(error)), /ENOTFOUND|EAI_AGAIN/);
  });

  test('is refused by name and address', async (context) => {
    const sockets = new UdpSockets(context);
    const { port } = (await sockets.bind()).local;
    const error = await rejection(sockets.open().bind(port, '127.0.0.1'));
    assert.is(codeOf(error), 'EADDRINUSE');
    assert.match(String(error), `127.0.0.1:${port}`);
    assert.is(codeOf(await rejection(sockets.open().bind(0, '192.0.2.77'))), 'EADDRNOTAVAIL');
    assert.is(codeOf(await rejection((await sockets.bind()).bind())), 'EINVAL');
    for (const wrong of [-1, 65_536, 0.5])
      assert.match(String(await rejection(sockets.open().bind(wrong))), 'port');
    assert.match(String(await rejection(sockets.open().bind(0, ''))), 'host');
    assert.match(String(await rejection(sockets.open().connect(0, '127.0.0.1'))), 'port');
  });

  test('is IPv6 alone, or both families', async (context) => {
    const sockets = new UdpSockets(context);
    const both = await sockets.bind({ type: 'udp6' }, '::');
    const { port } = both.local;
    // Both take the port, so IPv4 has none left.
    assert.is(codeOf(await rejection(sockets.open().bind(port, '0.0.0.0'))), 'EADDRINUSE');
    await both.close();
    const alone = await sockets.bind({ type: 'udp6', ipv6Only: true }, '::');
    await within(1_000, sockets.open().bind(alone.local.port, '0.0.0.0'), 'the port of IPv4');
    assert.is(alone.getOption('IPV6_V6ONLY'), 1);
  });

  test('tells a mapped address of an IPv4 peer, and sends to one', async (context) => {
    const sockets = new UdpSockets(context);
    const both = await sockets.bind({ type: 'udp6' }, '::');
    const four = await sockets.bind();
    const received = receive(both, 1);
    await four.send('hello', both.local.port);
    const [datagram] = await received;
    assert.equal([datagram?.address, datagram?.port], ['::ffff:127.0.0.1', four.local.port]);
    const answers = receive(four, 2);
    await both.send('literal', four.local.port, '127.0.0.1');
    await both.send('mapped', four.local.port, datagram?.address);
    assert.equal(textsOf(await answers), ['literal', 'mapped']);
    const connected = sockets.open({ type: 'udp6' });
    await connected.connect(four.local.port, '127.0.0.1');
    const last = receive(four, 1);
    await connected.send('connected');
    assert.equal(textsOf(await last), ['connected']);
  });

  test('has no scope that is no interface', (context) => {
    const socket = new UdpSockets(context).open({ type: 'udp6' });
    assert.throws(() => socket.send('x', 9, 'fe80::1%no-such-interface'), /\baddress must be an IP literal/);
  });
});

suite('an address in words', (test) => {
  test('is kept, but for one that names an interface: its number may be another one’s', ({ loop }) => {
    const datagrams = LoopDatagrams.of(loop);
    const [name] = Object.keys(networkInterfaces());
    const scoped = datagrams.wordsOf(`fe80::1%${name}`, true);
    assert.ok(scoped !== null);
    assert.is.not(datagrams.wordsOf(`fe80::1%${name}`, true), scoped);
    assert.equal(datagrams.wordsOf(`fe80::1%${name}`, true), scoped);
    assert.is(datagrams.wordsOf('fe80::1', true), datagrams.wordsOf('fe80::1', true));
  });
});

suite('ports that UDP sockets share', (test) => {
  test('are refused to one that does not say so', async (context) => {
    const sockets = new UdpSockets(context);
    const { port } = (await sockets.bind({ reusePort: true })).local;
    assert.is(codeOf(await rejection(sockets.open().bind(port, '127.0.0.1'))), 'EADDRINUSE');
    await sockets.open({ reusePort: true }).bind(port, '127.0.0.1');
  });

  test('spread the senders over sockets with reusePort, each to one', async (context) => {
    const sockets = new UdpSockets(context);
    const first = await sockets.bind({ reusePort: true });
    const { port } = first.local;
    const second = sockets.open({ reusePort: true });
    await second.bind(port, '127.0.0.1');
    const seen = new Arrivals<[server: number, client: number]>();
    for (const [place, server] of [first, second].entries()) {
      server.onMessages((batch) => {
        for (let i = 0; i < batch.length; i++) seen.add([place, batch.port(i)]);
      });
    }
    // So many that one socket gets them all once in 2^63 runs.
    const clients = Array.from({ length: 64 }, () => sockets.open());
    for (const client of clients) for (const text of ['a', 'b']) await client.send(text, port);
    await seen.first(128, 'datagrams');
    assert.is(new Set(seen.all.map(([server]) => server)).size, 2);
    assert.is(new Set(seen.all.map(String)).size, 64, 'one sender, two receivers');
  });

  test('are bound by several with reuseAddress', async (context) => {
    const sockets = new UdpSockets(context);
    const { port } = (await sockets.bind({ reuseAddress: true }, '0.0.0.0')).local;
    await within(1_000, sockets.open({ reuseAddress: true }).bind(port, '0.0.0.0'), 'the port');
  });
});

suite('a UDP socket that is connected', (test) => {
  test('receives from its peer alone, and again from all when it is disconnected', async (context) => {
    const sockets = new UdpSockets(context);
    const [peer, stranger, socket] = [await sockets.bind(), await sockets.bind(), await sockets.bind()];
    const { port } = socket.local;
    const seen = new Arrivals<string>();
    socket.onMessages((batch) => {
      for (let i = 0; i < batch.length; i++) seen.add(`${batch.data(i)}`);
    });
    await socket.connect(peer.local.port, '127.0.0.1');
    const errors = new Arrivals<SystemError>();
    const rejected = sockets.open({ onError: errors.add });
    rejected.onMessages(() => {});
    await rejected.send('stranger', port);
    await peer.send('peer', port);
    await seen.first(1, 'datagram');
    await errors.first(1, 'error');
    socket.disconnect();
    assert.is(socket.local.port, port);
    await stranger.send('stranger', port);
    await seen.first(2, 'datagrams');
    assert.equal(seen.all, ['peer', 'stranger']);
    const answers = receive(stranger, 1);
    await socket.send('answer', stranger.local.port);
    assert.equal(textsOf(await answers), ['answer']);
  });

  test('may be connected to another', async (context) => {
    const sockets = new UdpSockets(context);
    const servers = [await sockets.bind(), await sockets.bind()];
    const client = sockets.open();
    for (const [place, server] of servers.entries()) {
      const received = receive(server, 1);
      await client.connect(server.local.port, '127.0.0.1');
      await client.send(`${place}`);
      assert.equal(textsOf(await received), [`${place}`]);
    }
  });

  test('is not disconnected when it is not connected', (context) => {
    const socket = new UdpSockets(context).open();
    assert.throws(
      () => socket.disconnect(),
      (error: unknown) => codeOf(error) === 'ERR_IOLOOP_INVALID_STATE',
    );
  });
});
