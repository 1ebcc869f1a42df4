import * as assert from 'uvu/assert';

import { DatagramSocket, IOLoop } from '../../src/index.ts';
import { codeOf, rejection, UdpSockets } from '../support/datagrams.ts';
import { suite } from '../support/suite.ts';

suite('what a UDP socket may be told', (test) => {
  const wrong: readonly (readonly [name: string, options: object])[] = [
    ['options.type', {}],
    ['options.type', { type: 'tcp4' }],
    ['options.maxPacketSize', { type: 'udp4', maxPacketSize: 0 }],
    ['options.maxQueueSize', { type: 'udp4', maxQueueSize: -1 }],
    ['options.maxQueueLength', { type: 'udp4', maxQueueLength: 0 }],
    ['options.maxBatch', { type: 'udp4', maxBatch: 65 }],
    ['options.receiveBufferSize', { type: 'udp4', receiveBufferSize: 0.5 }],
    ['options.sendBufferSize', { type: 'udp4', sendBufferSize: '1' }],
    ['options.reuseAddress', { type: 'udp4', reuseAddress: 1 }],
    ['options.reusePort', { type: 'udp4', reusePort: 'yes' }],
    ['options.ipv6Only', { type: 'udp6', ipv6Only: 0 }],
    ['options.packetInfo', { type: 'udp4', packetInfo: null }],
    ['options.closeTimeoutMs', { type: 'udp4', closeTimeoutMs: -1 }],
    ['options.onError', { type: 'udp4', onError: 'log' }],
    ['options.loop', { type: 'udp4', loop: {} }],
  ];
  for (const [name, options] of wrong) {
    test(`names ${name} when it is wrong: ${JSON.stringify(options)}`, ({ loop }) => {
      assert.throws(
        () => Reflect.construct(DatagramSocket, [{ loop, ...options }]),
        (error: unknown) => codeOf(error) === 'ERR_IOLOOP_INVALID_ARGUMENT' && String(error).includes(name),
      );
    });
  }

  test('is not left out', () => {
    for (const options of [undefined, null, 'udp4', 4])
      assert.throws(
        () => Reflect.construct(DatagramSocket, [options]),
        (error: unknown) => codeOf(error) === 'ERR_IOLOOP_INVALID_ARGUMENT',
      );
  });

  test('is refused on a loop that is closed', async (context) => {
    const loop = new IOLoop({ current: false });
    await loop.close();
    assert.throws(
      () => new UdpSockets(context).open({ loop }),
      (error: unknown) => codeOf(error) === 'ERR_IOLOOP_CLOSED',
    );
  });

  test('sets the sizes of the kernel’s buffers, which it doubles', (context) => {
    const socket = new UdpSockets(context).open({ receiveBufferSize: 20_000, sendBufferSize: 30_000 });
    assert.is(socket.getOption('SO_RCVBUF'), 40_000);
    assert.is(socket.getOption('SO_SNDBUF'), 60_000);
  });

  test('is set later, of each family', (context) => {
    const sockets = new UdpSockets(context);
    const four = sockets.open();
    four.setTtl(7);
    four.setMulticastTtl(3);
    four.setMulticastLoopback(false);
    four.setBroadcast(true);
    const told = ['IP_TTL', 'IP_MULTICAST_TTL', 'IP_MULTICAST_LOOP', 'SO_BROADCAST'];
    assert.equal(
      told.map((name) => four.getOption(name)),
      [7, 3, 0, 1],
    );
    const six = sockets.open({ type: 'udp6' });
    six.setTtl(8);
    six.setMulticastTtl(4);
    six.setMulticastLoopback(false);
    const toldOfSix = ['IPV6_UNICAST_HOPS', 'IPV6_MULTICAST_HOPS', 'IPV6_MULTICAST_LOOP'];
    assert.equal(
      toldOfSix.map((name) => six.getOption(name)),
      [8, 4, 0],
    );
  });

  test('holds for both families of a socket of both', async (context) => {
    const socket = await new UdpSockets(context).bind({ type: 'udp6' }, '::');
    socket.setTtl(9);
    socket.setMulticastTtl(5);
    socket.setMulticastLoopback(false);
    const told = ['IP_TTL', 'IP_MULTICAST_TTL', 'IP_MULTICAST_LOOP'];
    assert.equal(
      told.map((name) => socket.getOption(name)),
      [9, 5, 0],
    );
  });

  test('is refused where it is no number that the option takes', (context) => {
    const socket = new UdpSockets(context).open();
    for (const ttl of [0, 256, 1.5]) assert.throws(() => socket.setTtl(ttl), /ttl/);
    for (const ttl of [-1, 256]) assert.throws(() => socket.setMulticastTtl(ttl), /ttl/);
    assert.throws(() => Reflect.apply(socket.setBroadcast, socket, [1]), /\bon must\b/);
    assert.throws(() => Reflect.apply(socket.setMulticastLoopback, socket, ['yes']), /\bon must\b/);
    assert.throws(() => Reflect.apply(socket.onMessages, socket, [{}]), /listener/);
    assert.throws(() => Reflect.apply(socket.send, socket, [42, 9]), /data/);
    assert.throws(() => Reflect.apply(socket.sendMany, socket, ['text']), /messages/);
    assert.throws(
      () => Reflect.apply(socket.sendMany, socket, [[{ data: 'text', port: 9 }]]),
      /messages\[0\]\.data/,
    );
  });

  test('lets broadcasts out only when it says so', async (context) => {
    const socket = new UdpSockets(context).open();
    assert.is(codeOf(await rejection(socket.send('x', 9, '127.255.255.255'))), 'EACCES');
  });
});
