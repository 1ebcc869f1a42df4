import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';

import type { DatagramSocket, MembershipOptions } from '../../src/index.ts';
import { Arrivals, codeOf, UdpSockets } from '../support/datagrams.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';

const GROUP = '239.192.7.1';
const OTHER_GROUP = '239.192.7.2';
const GROUP_OF_SIX = 'ff12::7:1';
const GROUP_OF_SIX_IN_HEX = 'ff120000000000000000000000070001';
const LOOPBACK = '127.0.0.1';

/** All that `socket` receives, as text. */
function textsAt(socket: DatagramSocket): Arrivals<string> {
  const texts = new Arrivals<string>();
  socket.onMessages((batch) => {
    for (let i = 0; i < batch.length; i++) texts.add(`${batch.data(i)}`);
  });
  return texts;
}

/** A sender whose multicasts stay on the loopback interface. */
async function senderOf(sockets: UdpSockets): Promise<DatagramSocket> {
  const sender = await sockets.bind();
  sender.setMulticastInterface(LOOPBACK);
  return sender;
}

/** The groups of IPv6 that somebody on this machine is in, each behind the name of its interface: igmp6 of proc(5). */
function groupsOfSix(): Set<string> {
  const lines = readFileSync('/proc/net/igmp6', 'latin1').trim().split('\n');
  return new Set(
    lines.map((line) => {
      const [, networkInterface, group] = line.trim().split(/\s+/);
      return `${networkInterface} ${group}`;
    }),
  );
}

/** A receiver on a port of all addresses, a sender, and a group that the former can be in. */
async function members(context: TestContext): Promise<{
  readonly receiver: DatagramSocket;
  readonly sender: DatagramSocket;
  readonly port: number;
}> {
  const sockets = new UdpSockets(context);
  const receiver = await sockets.bind({}, '0.0.0.0');
  return { receiver, sender: await senderOf(sockets), port: receiver.local.port };
}

suite('a multicast group', (test) => {
  const interfaces: readonly MembershipOptions[] = [
    { interface: LOOPBACK },
    { interface: 'lo' },
    { interface: '1' },
  ];
  for (const options of interfaces) {
    test(`is joined and left, at interface ${options.interface}`, async (context) => {
      const { receiver, sender, port } = await members(context);
      const texts = textsAt(receiver);
      receiver.addMembership(GROUP, options);
      await sender.send('in', port, GROUP);
      await texts.first(1, 'datagram');
      receiver.dropMembership(GROUP, options);
      await sender.send('out', port, GROUP);
      await sender.send('after', port);
      await texts.first(2, 'datagrams');
      assert.equal(texts.all, ['in', 'after']);
    });
  }

  test('is heard by none that is not in it, although another socket of the machine is', async (context) => {
    const sockets = new UdpSockets(context);
    const stranger = await sockets.bind({ reuseAddress: true }, '0.0.0.0');
    const { port } = stranger.local;
    const member = sockets.open({ reuseAddress: true });
    await member.bind(port, '0.0.0.0');
    member.addMembership(GROUP, { interface: LOOPBACK });
    stranger.addMembership(OTHER_GROUP, { interface: LOOPBACK });
    const [heard, overheard] = [textsAt(member), textsAt(stranger)];
    const sender = await senderOf(sockets);
    await sender.send('for members', port, GROUP);
    await heard.first(1, 'datagram');
    await sender.send('for others', port, OTHER_GROUP);
    await overheard.first(1, 'datagram');
    await nextTurn(context.loop);
    assert.equal(heard.all, ['for members']);
    assert.equal(overheard.all, ['for others']);
  });

  test('is heard by all that are in it', async (context) => {
    const sockets = new UdpSockets(context);
    const first = await sockets.bind({ reuseAddress: true }, '0.0.0.0');
    const second = sockets.open({ reuseAddress: true });
    await second.bind(first.local.port, '0.0.0.0');
    const both = [first, second].map((socket) => {
      socket.addMembership(GROUP, { interface: LOOPBACK });
      return textsAt(socket);
    });
    await (await senderOf(sockets)).send('all', first.local.port, GROUP);
    for (const texts of both) assert.equal(await texts.first(1, 'datagram'), ['all']);
  });

  test('may be joined for one source alone', async (context) => {
    const { receiver, sender, port } = await members(context);
    const texts = textsAt(receiver);
    receiver.addMembership(GROUP, { interface: LOOPBACK, source: '127.0.0.9' });
    const sockets = new UdpSockets(context);
    const wanted = await sockets.bind({}, '127.0.0.9');
    wanted.setMulticastInterface('lo');
    await sender.send('another source', port, GROUP);
    await wanted.send('the source', port, GROUP);
    await texts.first(1, 'datagram');
    receiver.dropMembership(GROUP, { interface: LOOPBACK, source: '127.0.0.9' });
    await wanted.send('too late', port, GROUP);
    await sender.send('after', port);
    await texts.first(2, 'datagrams');
    assert.equal(texts.all, ['the source', 'after']);
  });

  test('is reached with the hops that were set, none included', async (context) => {
    const sockets = new UdpSockets(context);
    const receiver = await sockets.bind({ packetInfo: true }, '0.0.0.0');
    receiver.addMembership(GROUP, { interface: LOOPBACK });
    const infos = new Arrivals<unknown>();
    receiver.onMessages((batch) => {
      for (let i = 0; i < batch.length; i++) infos.add([batch.info(i)?.ttl, batch.info(i)?.localAddress]);
    });
    const sender = await senderOf(sockets);
    for (const ttl of [0, 1, 9]) {
      sender.setMulticastTtl(ttl);
      await sender.send('x', receiver.local.port, GROUP);
    }
    await infos.first(3, 'datagrams');
    assert.equal(infos.all, [
      [0, GROUP],
      [1, GROUP],
      [9, GROUP],
    ]);
  });

  test('is answered from an address of the member’s', async (context) => {
    const { receiver, sender, port } = await members(context);
    receiver.addMembership(GROUP, { interface: LOOPBACK });
    receiver.onMessages((batch) => batch.reply(0, 'answer'));
    const answers = textsAt(sender);
    await sender.send('question', port, GROUP);
    assert.equal(await answers.first(1, 'answer'), ['answer']);
  });

  test('is joined once, left once, and named when it is refused', async (context) => {
    const { receiver } = await members(context);
    const options = { interface: LOOPBACK };
    receiver.addMembership(GROUP, options);
    const refusals: readonly (readonly [code: string, refused: () => void])[] = [
      ['EADDRINUSE', () => receiver.addMembership(GROUP, options)],
      ['EADDRNOTAVAIL', () => receiver.dropMembership(OTHER_GROUP, options)],
      ['ENODEV', () => receiver.addMembership(GROUP, { interface: 'no-such-if' })],
      ['EADDRNOTAVAIL', () => receiver.addMembership(GROUP, { interface: '192.0.2.77' })],
      ['EINVAL', () => receiver.addMembership('192.0.2.1', options)],
      ['ERR_IOLOOP_INVALID_ARGUMENT', () => receiver.addMembership('a group', options)],
      ['ERR_IOLOOP_INVALID_ARGUMENT', () => receiver.addMembership(GROUP, { source: 'a source' })],
      ['ENODEV', () => receiver.setMulticastInterface('no-such-if')],
    ];
    for (const [code, refused] of refusals)
      assert.throws(refused, (error: unknown) => codeOf(error) === code, `${code}: ${refused}`);
    assert.throws(() => receiver.dropMembership(OTHER_GROUP, options), new RegExp(OTHER_GROUP));
  });
});

suite('a multicast group of IPv6', (test) => {
  // Not every machine has a route to it on the loopback interface, so the kernel's own list is asked.
  for (const networkInterface of ['lo', '1', '::1']) {
    test(`is joined and left, at interface ${networkInterface}`, async (context) => {
      const receiver = await new UdpSockets(context).bind({ type: 'udp6' }, '::');
      assert.is(groupsOfSix().has(`lo ${GROUP_OF_SIX_IN_HEX}`), false);
      receiver.addMembership(GROUP_OF_SIX, { interface: networkInterface });
      assert.is(groupsOfSix().has(`lo ${GROUP_OF_SIX_IN_HEX}`), true);
      receiver.dropMembership(GROUP_OF_SIX, { interface: networkInterface });
      assert.is(groupsOfSix().has(`lo ${GROUP_OF_SIX_IN_HEX}`), false);
    });
  }

  test('may have its interface in its scope', async (context) => {
    const receiver = await new UdpSockets(context).bind({ type: 'udp6' }, '::');
    receiver.addMembership(`${GROUP_OF_SIX}%lo`);
    assert.is(groupsOfSix().has(`lo ${GROUP_OF_SIX_IN_HEX}`), true);
  });

  test('and one of IPv4 are joined by a socket of both', async (context) => {
    const sockets = new UdpSockets(context);
    const receiver = await sockets.bind({ type: 'udp6' }, '::');
    receiver.addMembership(GROUP, { interface: 'lo' });
    receiver.addMembership(GROUP_OF_SIX, { interface: 'lo' });
    assert.is(groupsOfSix().has(`lo ${GROUP_OF_SIX_IN_HEX}`), true);
    const texts = textsAt(receiver);
    await (await senderOf(sockets)).send('from IPv4', receiver.local.port, GROUP);
    const both = sockets.open({ type: 'udp6' });
    both.setMulticastInterface('lo');
    await both.send('from both', receiver.local.port, GROUP);
    assert.equal(await texts.first(2, 'datagrams'), ['from IPv4', 'from both']);
  });
});

suite('a UDP broadcast', (test) => {
  test('is heard by all who share its port', async (context) => {
    const sockets = new UdpSockets(context);
    const first = await sockets.bind({ reuseAddress: true, packetInfo: true }, '0.0.0.0');
    const second = sockets.open({ reuseAddress: true });
    await second.bind(first.local.port, '0.0.0.0');
    const local = new Arrivals<unknown>();
    first.onMessages((batch) => local.add(batch.info(0)?.localAddress));
    const texts = textsAt(second);
    const sender = sockets.open();
    sender.setBroadcast(true);
    await sender.send('all', first.local.port, '127.255.255.255');
    assert.equal(await local.first(1, 'datagram'), ['127.255.255.255']);
    assert.equal(await texts.first(1, 'datagram'), ['all']);
  });
});
