import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';

import { root } from '../support/child.ts';
import { suite } from '../support/suite.ts';
import { within } from '../support/within.ts';

const LIMIT_MS = 20_000;

/** A network of this process's own, with an interface that takes multicasts of both families. */
const NETWORK = `
  ip link set lo up &&
  ip link add there0 type veth peer name there1 &&
  ip link set there1 up &&
  ip address add 10.77.0.1/24 dev there0 &&
  ip address add fd77::1/64 dev there0 nodad &&
  ip address add fe80::77/64 dev there0 nodad &&
  ip link set there0 up &&
  exec "$0" "$@"`;

/** What programs begin with: all sockets close when the program ends, and what was received is told. */
const BEGIN = `
  import { DatagramSocket, IOLoop } from './src/index.ts';
  const loop = new IOLoop();
  const bound = async (type, host) => {
    const socket = new DatagramSocket({ type, loop });
    await socket.bind(0, host);
    return socket;
  };
  const next = async (socket) => {
    for await (const { data, address } of socket) return [data.toString(), address];
  };
  const tell = (value) => process.stdout.write(JSON.stringify(value));`;

/** Runs `source` in such a network: what it told. */
async function tellIn(source: string): Promise<unknown> {
  const node = [process.execPath, '--import', 'tsx', '--input-type=module', '--eval', BEGIN + source];
  const run = promisify(execFile)('unshare', ['--net', 'sh', '-c', NETWORK, ...node], { cwd: root });
  const { stdout } = await within(LIMIT_MS, run, 'the end of the program');
  return JSON.parse(stdout);
}

suite('UDP on an interface of its own', { limitMs: 30_000 }, (test) => {
  for (const networkInterface of ['there0', 'fe80::77%there0']) {
    test(`is received of a group of IPv6, and answered, by way of ${networkInterface}`, async () => {
      const told = await tellIn(`
        const receiver = await bound('udp6', '::');
        receiver.addMembership('ff12::7:1', { interface: '${networkInterface}' });
        const sender = await bound('udp6', '::');
        sender.setMulticastInterface('${networkInterface}');
        const question = next(receiver);
        await sender.send('question', receiver.local.port, 'ff12::7:1');
        const [text, from] = await question;
        receiver.onMessages((batch) => batch.reply(0, 'answer'));
        const answer = next(sender);
        await sender.send('again', receiver.local.port, 'ff12::7:1');
        tell([text, from, await answer]);
        process.exit();`);
      assert.equal(told, ['question', 'fe80::77%there0', ['answer', 'fe80::77%there0']]);
    });
  }

  test('is received of a group that has its interface in its scope', async () => {
    const told = await tellIn(`
      const receiver = await bound('udp6', '::');
      receiver.addMembership('ff12::7:1%there0');
      const question = next(receiver);
      const sender = await bound('udp6', '::');
      await sender.send('question', receiver.local.port, 'ff12::7:1%there0');
      tell(await question);
      process.exit();`);
    assert.equal(told, ['question', 'fe80::77%there0']);
  });

  test('is heard of a group on this machine only with loopback, in either family', async () => {
    const told = await tellIn(`
      const told = [];
      for (const [type, host, group] of [['udp4', '0.0.0.0', '239.192.7.1'], ['udp6', '::', 'ff12::7:1']]) {
        const receiver = await bound(type, host);
        receiver.addMembership(group, { interface: 'there0' });
        const sender = await bound(type, host);
        sender.setMulticastInterface('there0');
        const heard = next(receiver);
        sender.setMulticastLoopback(false);
        await sender.send('not looped', receiver.local.port, group);
        sender.setMulticastLoopback(true);
        await sender.send('looped', receiver.local.port, group);
        told.push((await heard)[0]);
      }
      tell(told);
      process.exit();`);
    assert.equal(told, ['looped', 'looped']);
  });

  test('leaves for a group by the interface that was set', async () => {
    const told = await tellIn(`
      const receiver = await bound('udp4', '0.0.0.0');
      receiver.addMembership('239.192.7.1', { interface: '10.77.0.1' });
      const heard = next(receiver);
      const sender = await bound('udp4', '0.0.0.0');
      sender.setMulticastInterface('lo');
      await sender.send('by lo', receiver.local.port, '239.192.7.1');
      sender.setMulticastInterface('10.77.0.1');
      await sender.send('by there0', receiver.local.port, '239.192.7.1');
      tell(await heard);
      process.exit();`);
    assert.equal(told, ['by there0', '10.77.0.1']);
  });

  test('keeps the scope of a link-local address, sent to and connected', async () => {
    const told = await tellIn(`
      const receiver = await bound('udp6', 'fe80::77%there0');
      const { address, port } = receiver.local;
      const sender = await bound('udp6', 'fe80::77%there0');
      const sent = next(receiver);
      await sender.send('sent', port, address);
      const told = [address, await sent];
      await sender.connect(port, address);
      const connected = next(receiver);
      await sender.send('connected');
      tell([...told, await connected]);
      process.exit();`);
    const address = 'fe80::77%there0';
    assert.equal(told, [address, ['sent', address], ['connected', address]]);
  });

  test('is told where a datagram was sent to, with the interface where that says nothing alone', async () => {
    const told = await tellIn(`
      const receiver = new DatagramSocket({ type: 'udp6', loop, packetInfo: true });
      const { port } = await receiver.bind(0, '::');
      receiver.addMembership('ff12::7:1', { interface: 'there0' });
      receiver.addMembership('ff15::7:1', { interface: 'there0' });
      const sender = await bound('udp6', 'fd77::1');
      sender.setMulticastInterface('there0');
      const told = [];
      receiver.onMessages((batch) => {
        for (let i = 0; i < batch.length; i++) told.push(batch.info(i).localAddress);
        if (told.length < 4) return;
        tell(told);
        process.exit();
      });
      for (const address of ['fe80::77%there0', 'fd77::1', 'ff12::7:1', 'ff15::7:1'])
        await sender.send('x', port, address);`);
    assert.equal(told, ['fe80::77%there0', 'fd77::1', 'ff12::7:1%there0', 'ff15::7:1']);
  });
});
