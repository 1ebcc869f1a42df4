import { SocketAddress } from 'node:net';
import * as assert from 'uvu/assert';
import { toAddress } from '../src/address.ts';
import { acceptStream, addon, closeStream, readPeer } from '../src/native.ts';
import { EAGAIN } from '../src/raw.ts';
import { suite } from './support/suite.ts';

/** The peer that accept would tell of `groups`, the eight 16-bit groups of an IPv6 address. */
function peerOf(groups: readonly number[]) {
  const word = (index: number) => ((groups[index * 2] as number) << 16) | (groups[index * 2 + 1] as number);
  const words = { word0: word(0), word1: word(1), word2: word(2), word3: word(3) };
  return toAddress({ family: 6, port: 80, scope: 0, ...words });
}

function nodesText(groups: readonly number[]): string {
  const address = groups.map((group) => group.toString(16)).join(':');
  return new SocketAddress({ address, family: 'ipv6' }).address;
}

suite('the address of an accepted peer', (test) => {
  test('is written as Node writes it, wherever its zeros are', () => {
    for (let zeros = 0; zeros < 256; zeros++) {
      for (const other of [1, 0xffff, 0x0a0b]) {
        const groups = Array.from({ length: 8 }, (_, index) => ((zeros >> index) & 1 ? 0 : other));
        const address = peerOf(groups);
        assert.is(address.toString(), `[${nodesText(groups)}]:80`);
      }
    }
  });

  test('ends in dots where it holds an IPv4 address', () => {
    assert.is(peerOf([0, 0, 0, 0, 0, 0xffff, 0x0102, 0xfffe]).toString(), '[::ffff:1.2.255.254]:80');
    assert.is(peerOf([0, 0, 0, 0, 0, 0, 0x0102, 0x0304]).toString(), '[::1.2.3.4]:80');
    assert.is(peerOf([0, 0, 0, 0, 0, 0, 0, 2]).toString(), '[::2]:80');
  });

  test('names the interface of a link-local address', () => {
    const words = { word0: 0xfe80 << 16, word1: 0, word2: 0, word3: 1 };
    const peer = toAddress({ family: 6, port: 1, scope: 1, ...words });
    assert.is(peer.toString(), `[fe80::1%${addon().interfaceName(1)}]:1`);
  });

  test('goes through JSON like any other', () => {
    const peer = toAddress({ family: 4, port: 9, scope: 0, word0: -1, word1: 0, word2: 0, word3: 0 });
    assert.is(JSON.stringify(peer), '{"family":"IPv4","address":"255.255.255.255","port":9}');
  });

  test('is the one that the socket itself tells', () => {
    const { connectStream, listenStream, peerAddress, socketAddress } = addon();
    for (const [bound, dialed] of [
      ['127.0.0.1', '127.0.0.1'],
      ['::1', '::1'],
      ['::', '127.0.0.1'],
    ] as const) {
      const listener = listenStream(undefined, bound, 0, 16, false, false, -1);
      const local = toAddress(socketAddress(listener));
      assert.ok('port' in local);
      const client = connectStream(undefined, dialed, local.port, '', 0);
      // On the loopback the connection waits before connect(2) returns.
      const accepted = acceptStream(listener);
      assert.is(toAddress(readPeer()).toString(), toAddress(peerAddress(accepted)).toString());
      assert.is(acceptStream(listener), EAGAIN);
      for (const fd of [accepted, client, listener]) assert.is(closeStream(fd), 0);
    }
  });
});
