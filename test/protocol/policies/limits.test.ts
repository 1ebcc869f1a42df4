import * as assert from 'uvu/assert';

import { toAddress, toUnixAddress } from '../../../src/address.ts';
import { IOLoop } from '../../../src/index.ts';
import {
  type Factory,
  LimitConnectionsByPeer,
  LimitTotalConnectionsFactory,
  listenTcp,
  Protocol,
} from '../../../src/protocol/index.ts';
import { peerOf } from '../../../src/protocol/policies/peer-of.ts';
import { type Client, connectTo } from '../../support/clients.ts';
import { portOf } from '../../support/servers.ts';
import { suite, type TestContext } from '../../support/suite.ts';
import { ipAddress, Noting, Remembering, SimHost } from '../../support/wrapped.ts';

/** Greets whom it serves. */
class Greeting extends Noting {
  override connectionMade(): void {
    super.connectionMade();
    this.transport.write('welcome');
  }
}

/** Says that there are too many. */
class Busy extends Protocol {
  override connectionMade(): void {
    this.transport.write('busy');
    this.transport.loseConnection();
  }
}

/** Says so too, and stays. */
class Waiting extends Protocol {
  override connectionMade(): void {
    this.transport.write('wait');
  }
}

/** Has `factory` listen; connects clients to it, and remembers whom it refuses. */
async function listen(factory: Factory, { loop, defer }: TestContext) {
  const drops: string[] = [];
  const onDrop = (reason: string): unknown => drops.push(reason);
  const port = await listenTcp(0, factory, { interface: '127.0.0.1', loop, onDrop });
  defer(() => port.close({ graceMs: 0 }));
  const connect = (): Client => connectTo({ host: '127.0.0.1', port: portOf(port.getHost()) }, defer);
  return { connect, drops };
}

for (const backend of IOLoop.backends) {
  suite(`a total limit of connections on ${backend}`, { backend }, (test) => {
    test('serves so many, refuses the next, and serves again when one has left', async (context) => {
      const factory = new Remembering(() => new Greeting());
      const limited = new LimitTotalConnectionsFactory(factory, { connectionLimit: 2 });
      const { connect, drops } = await listen(limited, context);
      const first = connect();
      await first.heard('welcome');
      await connect().heard('welcome');
      assert.is(await connect().all(), '');
      assert.equal(drops, ['refused']);
      assert.is(limited.connectionCount, 2);
      first.end();
      await factory.built[0]?.lost();
      assert.is(limited.connectionCount, 1);
      await connect().heard('welcome');
      assert.is(factory.built.length, 3);
    });

    test('has the others told by a protocol of their own, which has its own limit', async (context) => {
      const factory = new Remembering(() => new Greeting());
      const options = { connectionLimit: 1, overflowProtocol: Waiting };
      const limited = new LimitTotalConnectionsFactory(factory, options);
      const { connect, drops } = await listen(limited, context);
      await connect().heard('welcome');
      await connect().heard('wait');
      assert.is(await connect().all(), '');
      assert.equal(drops, ['refused']);
      assert.equal([limited.connectionCount, limited.overflowCount], [1, 1]);
    });

    test('lets those it turns away keep nobody out', async (context) => {
      const factory = new Remembering(() => new Greeting());
      const options = { connectionLimit: 1, overflowProtocol: Busy };
      const limited = new LimitTotalConnectionsFactory(factory, options);
      const { connect } = await listen(limited, context);
      const first = connect();
      await first.heard('welcome');
      assert.is(await connect().all(), 'busy');
      first.end();
      await factory.last.lost();
      await connect().heard('welcome');
      assert.is(limited.connectionCount, 1);
    });
  });

  suite(`a limit of connections by peer on ${backend}`, { backend }, (test) => {
    test('serves so many of one peer, and refuses the next', async (context) => {
      const factory = new Remembering(() => new Greeting());
      const limited = new LimitConnectionsByPeer(factory, { maxConnectionsPerPeer: 2 });
      const { connect, drops } = await listen(limited, context);
      const first = connect();
      await first.heard('welcome');
      await connect().heard('welcome');
      assert.is(await connect().all(), '');
      assert.equal(drops, ['refused']);
      assert.equal([...limited.peerConnections], [['127.0.0.1', 2]]);
      first.end();
      await factory.built[0]?.lost();
      await connect().heard('welcome');
    });
  });
}

suite('a limit by peer', (test) => {
  test('counts each peer by itself, and forgets those who have left', async (context) => {
    const host = new SimHost(context);
    const limited = new LimitConnectionsByPeer(new Remembering(() => new Noting()), {
      maxConnectionsPerPeer: 1,
    });
    await host.run(async () => {
      host.open(limited, '192.0.2.1');
      host.open(limited, '192.0.2.2');
      host.open(limited, '2001:db8:0:1::1');
      host.open(limited, '2001:db8:0:2::1');
      assert.is(host.connect(limited, '192.0.2.1'), null);
      assert.is(host.connect(limited, '::ffff:192.0.2.2'), null);
      assert.is(host.connect(limited, '2001:db8:0:1:ffff::9'), null);
      assert.equal(
        [...limited.peerConnections.keys()],
        ['192.0.2.1', '192.0.2.2', '2001:db8:0:1::/64', '2001:db8:0:2::/64'],
      );
    });
    assert.is(limited.peerConnections.size, 0);
    assert.is(limited.protocols.size, 0);
  });

  test('counts nobody whom the factory inside refuses', async (context) => {
    const host = new SimHost(context);
    const none = new LimitTotalConnectionsFactory(new Remembering(() => new Noting()), {
      connectionLimit: 0,
    });
    const limited = new LimitConnectionsByPeer(none, { maxConnectionsPerPeer: 1 });
    await host.run(async () => {
      assert.is(host.connect(limited), null);
      assert.is(limited.peerConnections.size, 0);
      none.connectionLimit = 1;
      host.open(limited);
    });
  });

  test('takes for one peer what is one', () => {
    const peers = [
      ['192.0.2.7', '192.0.2.7'],
      ['::ffff:192.0.2.7', '192.0.2.7'],
      ['::ffff:c000:207', '192.0.2.7'],
      ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
      ['2001:db8:1:2::6', '2001:db8:1:2::/64'],
      ['::1', '::/64'],
      ['::', '::/64'],
      ['64:ff9b::192.0.2.7', '64:ff9b::/64'],
      ['fe80::1%eth0', 'fe80::1%eth0'],
      ['febf::1', 'febf::1'],
      ['fec0::1', 'fec0::/64'],
    ] as const;
    for (const [address, peer] of peers) assert.is(peerOf(ipAddress(address), 64), peer, address);
    assert.is(peerOf(ipAddress('2001:db8:1:ffff::'), 50), '2001:db8:1:c000::/50');
    assert.is(peerOf(ipAddress('2001:db8::1'), 128), '2001:db8::1/128');
    assert.is(peerOf(toUnixAddress('/run/x.sock'), 64), null);
    assert.is(peerOf(toAddress(null), 64), null);
  });
});

suite('limits of connections', (test) => {
  test('say what is no number of them', () => {
    const factory = new Remembering(() => new Noting());
    const total = (connectionLimit: number): unknown =>
      new LimitTotalConnectionsFactory(factory, { connectionLimit });
    assert.throws(() => total(-1), /options.connectionLimit must be an integer from 0 to \d+, not -1/);
    assert.throws(() => total(Number.NaN), /options.connectionLimit/);
    const peer = (ipv6PrefixLength: number): unknown =>
      new LimitConnectionsByPeer(factory, { ipv6PrefixLength });
    assert.throws(() => peer(0), /options.ipv6PrefixLength must be an integer from 1 to 128, not 0/);
    assert.throws(() => peer(129), /options.ipv6PrefixLength/);
  });
});
