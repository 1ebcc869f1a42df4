import type { LookupFunction } from 'node:net';
import * as assert from 'uvu/assert';

import { IOLoopError, SystemError } from '../../src/index.ts';
import { closeStream } from '../../src/native.ts';
import { bindSockets } from '../../src/net/bind-sockets.ts';
import { acceptSocket, closeFd, connectSocket, listenSocket, socketAddress } from '../../src/raw.ts';
import { suite, type TestContext } from '../support/suite.ts';

/** A lookup that answers with these addresses, whatever it is asked. */
function answering(...addresses: string[]): LookupFunction {
  return (_host, _options, callback) =>
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    );
}

/** Where sockets listen that are closed with the test. */
async function bound(
  defer: TestContext['defer'],
  ...args: Parameters<typeof bindSockets>
): Promise<string[]> {
  const fds = await bindSockets(...args);
  defer(() => fds.map(closeStream));
  return fds.map((fd) => String(socketAddress(fd)));
}

function portOf(address: string | undefined): number {
  return Number(address?.split(':').at(-1));
}

async function refusal(binding: Promise<readonly number[]>): Promise<Error> {
  const outcome = await binding.catch((error: unknown) => error);
  if (outcome instanceof Error) return outcome;
  throw new Error('it was bound');
}

suite('bindSockets', (test) => {
  test('takes both families with one socket by default', async ({ defer }) => {
    const fds = await bindSockets(0);
    defer(() => fds.map(closeStream));
    const [listener = -1] = fds;
    const port = portOf(String(socketAddress(listener)));
    for (const host of ['127.0.0.1', '::1']) {
      closeFd(connectSocket({ host, port }));
      closeFd(acceptSocket(listener));
    }
  });

  test('takes IPv6 alone when told to', async ({ defer }) => {
    const [address] = await bound(defer, 0, undefined, { ipv6Only: true });
    // IPv4's port is left to others.
    closeFd(listenSocket({ host: '0.0.0.0', port: portOf(address) }));
  });

  test('takes a literal', async ({ defer }) => {
    const [address] = await bound(defer, 0, '127.0.0.5');
    assert.match(String(address), /^127\.0\.0\.5:[1-9]/);
  });

  test('takes all addresses of a name, on one port', async ({ defer }) => {
    const lookup = answering('127.0.0.1', '::1', '127.0.0.2', '127.0.0.1');
    const addresses = await bound(defer, 0, 'a.example', { lookup });
    const port = portOf(addresses[0]);
    assert.ok(port > 0);
    assert.equal(addresses, [`127.0.0.1:${port}`, `[::1]:${port}`, `127.0.0.2:${port}`]);
  });

  test('leaves nothing open when one address is refused', async () => {
    const lookup = answering('127.0.0.1', '203.0.113.1');
    const error = await refusal(bindSockets(0, 'a.example', { lookup }));
    assert.instance(error, SystemError);
    assert.match(error.message, /^bind EADDRNOTAVAIL.*203\.0\.113\.1/);
  });

  test('gives up where no port is free at all addresses', async () => {
    // Each address takes the port of the other.
    const lookup = answering('127.0.0.1', '0.0.0.0');
    const error = await refusal(bindSockets(0, 'a.example', { lookup }));
    assert.match(error.message, 'EADDRINUSE');
  });

  test('says which address is taken, and looks for no other port than the one asked for', async ({
    defer,
  }) => {
    const taken = listenSocket({ host: '127.0.0.2', port: 0 });
    defer(() => closeFd(taken));
    const port = portOf(String(socketAddress(taken)));
    const lookup = answering('127.0.0.1', '127.0.0.2');
    const error = await refusal(bindSockets(port, 'a.example', { lookup }));
    assert.match(error.message, new RegExp(`EADDRINUSE.*127\\.0\\.0\\.2:${port}`));
  });

  for (const [name, args] of [
    ['port', [65_536]],
    ['host', [0, '']],
    ['host', [0, 'a\0b']],
    ['options.backlog', [0, '::1', { backlog: -1 }]],
    ['options.reusePort', [0, '::1', { reusePort: 1 }]],
    ['options.ipv6Only', [0, '::1', { ipv6Only: 'yes' }]],
    ['options.lookup', [0, '::1', { lookup: 'dns' }]],
  ] as const)
    test(`refuses ${JSON.stringify(args)}`, async () => {
      const error = await refusal(bindSockets(...(args as unknown as Parameters<typeof bindSockets>)));
      assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'), String(error));
      assert.match(error.message, `${name} must be`);
    });
});
