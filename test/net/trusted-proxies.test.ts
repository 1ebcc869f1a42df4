import * as assert from 'uvu/assert';

import { type Address, IOLoopError } from '../../src/index.ts';
import { TrustedProxies } from '../../src/net/trusted-proxies.ts';
import { suite } from '../support/suite.ts';

function inet(address: string): Address {
  return { family: address.includes(':') ? 'IPv6' : 'IPv4', address, port: 1 };
}

function isTrusted(list: readonly string[] | undefined, address: string): boolean {
  return new TrustedProxies(list).has(inet(address));
}

const UNIX: Address = { family: 'Unix', path: '' };

suite('trusted proxies', (test) => {
  test('are those of this machine where nothing is said', () => {
    for (const address of ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1'])
      assert.ok(isTrusted(undefined, address), address);
    for (const address of ['10.0.0.1', '128.0.0.1', '::2', 'fe80::1%lo', '::ffff:10.0.0.1'])
      assert.not.ok(isTrusted(undefined, address), address);
    assert.ok(new TrustedProxies().has(UNIX));
    assert.not.ok(new TrustedProxies(['loopback']).has(UNIX));
    assert.ok(new TrustedProxies(['unix']).has(UNIX));
    assert.not.ok(isTrusted([], '127.0.0.1'));
  });

  test('are addresses and networks', () => {
    for (const [entry, inside, outside] of [
      ['192.0.2.1', '192.0.2.1', '192.0.2.2'],
      ['10.0.0.0/8', '10.255.0.1', '11.0.0.1'],
      ['10.0.0.0/31', '10.0.0.1', '10.0.0.2'],
      ['0.0.0.0/0', '203.0.113.9', '2001:db8::1'],
      ['2001:DB8::/32', '2001:db8:ffff::1', '2001:db9::1'],
      ['fe80::/10', 'fe80::1%eth0', 'fec0::1'],
    ] as const) {
      assert.ok(isTrusted([entry], inside), `${inside} in ${entry}`);
      assert.not.ok(isTrusted([entry], outside), `${outside} in ${entry}`);
    }
  });

  test('are the same whether their IPv4 address is mapped to IPv6 or not', () => {
    for (const [entry, address] of [
      ['10.0.0.0/8', '::ffff:10.1.2.3'],
      ['::ffff:10.0.0.0/104', '10.1.2.3'],
      ['::ffff:10.0.0.0/104', '::ffff:10.1.2.3'],
    ] as const) {
      assert.ok(isTrusted([entry], address), `${address} in ${entry}`);
      assert.not.ok(isTrusted([entry], address.replace('10', '11')));
    }
  });

  test('are nothing else', () => {
    for (const list of [
      ['localhost'],
      ['10.0.0.0/33'],
      ['::/129'],
      ['10.0.0.0/08'],
      ['10.0.0.0/'],
      ['10.0.0/8'],
      ['fe80::1%eth0'],
      [''],
      [10],
      'loopback',
      null,
    ])
      assert.throws(
        () => Reflect.construct(TrustedProxies, [list]),
        (error: unknown) =>
          IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT') && error.message.includes('trustedProxies'),
        JSON.stringify(list),
      );
  });
});
