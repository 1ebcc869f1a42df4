import * as assert from 'uvu/assert';

import { IOLoop, IOStream, SystemError } from '../../../src/index.ts';
import {
  type Factory,
  LimitConnectionsByPeer,
  LimitTotalConnectionsFactory,
  listenTcp,
  type Reason,
  ThrottlingFactory,
  TimeoutFactory,
  TrafficLoggingFactory,
  type WrappingFactory,
} from '../../../src/protocol/index.ts';
import type { SimOptions } from '../../../src/testing/sim.ts';
import { Random } from '../../support/random.ts';
import { portOf } from '../../support/servers.ts';
import { suite } from '../../support/suite.ts';
import { count } from '../../support/tier.ts';
import { Echoing, Noting, Remembering, SimHost } from '../../support/wrapped.ts';

type Policy = (factory: Factory, loop: IOLoop) => WrappingFactory;

const MiB = 1024 * 1024;
const rate = { readLimit: 1_000 * MiB, writeLimit: 1_000 * MiB };

/** All of them, none of which is in the way. */
const policies: readonly Policy[] = [
  (factory, loop) => new TimeoutFactory(factory, { timeoutMs: 60_000, loop }),
  (factory) => new LimitTotalConnectionsFactory(factory, { connectionLimit: 1_000 }),
  (factory) => new LimitConnectionsByPeer(factory, { maxConnectionsPerPeer: 1_000 }),
  (factory, loop) => new ThrottlingFactory(factory, { ...rate, loop }),
  (factory) => new TrafficLoggingFactory(factory, () => () => {}),
];

/** `factory` in all of `order`, innermost first. */
function stack(factory: Factory, order: readonly Policy[], loop: IOLoop): WrappingFactory[] {
  const layers: WrappingFactory[] = [];
  for (const policy of order) layers.push(policy(layers.at(-1) ?? factory, loop));
  return layers;
}

function outermost(layers: readonly WrappingFactory[]): WrappingFactory {
  const last = layers.at(-1);
  if (last === undefined) throw new Error('there is no layer');
  return last;
}

/** All orders of `items`. */
function* permutations<T>(items: readonly T[]): Generator<T[]> {
  if (items.length === 0) yield [];
  for (const [index, item] of items.entries())
    for (const rest of permutations(items.toSpliced(index, 1))) yield [item, ...rest];
}

/** No layer knows a connection any more. */
function assertEmpty(layers: readonly WrappingFactory[]): void {
  for (const layer of layers) {
    assert.is(layer.protocols.size, 0, layer.constructor.name);
    if (layer instanceof LimitTotalConnectionsFactory) assert.is(layer.connectionCount, 0);
    if (layer instanceof LimitConnectionsByPeer) assert.is(layer.peerConnections.size, 0);
  }
}

/** Ends its connection in some way, when it hears something or at once. */
class Erratic extends Noting {
  readonly #random: Random;

  constructor(random: Random) {
    super();
    this.#random = random;
  }

  override connectionMade(): void {
    super.connectionMade();
    if (this.#random.below(8) === 0) this.#act();
  }

  override dataReceived(data: Buffer): void {
    super.dataReceived(data);
    this.#act();
  }

  override connectionLost(reason: Parameters<Noting['connectionLost']>[0]): void {
    super.connectionLost(reason);
    if (this.#random.below(8) === 0) throw new Error('thrown in connectionLost');
  }

  #act(): void {
    const { transport } = this;
    const acts: (() => void)[] = [
      () => transport.loseConnection(),
      () => transport.abortConnection(),
      () => transport.loseWriteConnection(),
      () => transport.stopProducing(),
      () => transport.writeSequence([Buffer.from('a'), Buffer.from('b')]),
      () => {
        transport.write(Buffer.alloc(this.#random.below(2 * MiB)));
        transport.loseConnection();
      },
      () => {
        transport.pauseProducing();
        transport.resumeProducing();
        transport.write('more');
      },
      () => {
        transport.write('once');
        throw new Error('thrown in a callback');
      },
    ];
    acts[this.#random.below(acts.length)]?.();
  }
}

/** What a client does before it leaves, in some way. */
async function misbehave(client: IOStream, random: Random): Promise<void> {
  // The server may have left at any time: that is no error here.
  const quietly = (promise: Promise<unknown>): Promise<unknown> => promise.catch(() => {});
  for (let message = random.below(3); message >= 0; message--) void quietly(client.write('message'));
  if (random.below(2) === 0) await quietly(client.readBytes(1, { partial: true, timeoutMs: 50 }));
  if (random.below(3) === 0) client.abort();
  else if (random.below(2) === 0) await quietly(client.close());
  else {
    void quietly(client.end());
    await quietly(client.readUntilClose({ maxBytes: 4 * MiB, timeoutMs: 50 }));
    client.abort();
  }
  await client.whenClosed;
}

suite('what an async connectionLost rejects with', (test) => {
  test('goes through all policies to onError', async (context) => {
    const failure = new Error('rejected in connectionLost');
    const errors: unknown[] = [];
    const host = new SimHost(context, { onError: (error: unknown) => void errors.push(error) });
    class Rejecting extends Noting {
      override async connectionLost(reason: Reason): Promise<void> {
        super.connectionLost(reason);
        throw failure;
      }
    }
    const factory = new Remembering(() => new Rejecting());
    await host.run(async () => {
      const peer = host.open(outermost(stack(factory, policies, host.loop)));
      await peer.close();
      await factory.last.lost();
      await host.pass(1);
    });
    assert.equal(errors, [failure]);
  });
});

suite('stacked policies', (test) => {
  test('work in any order', async (context) => {
    for (const order of permutations(policies)) {
      const host = new SimHost(context);
      const factory = new Remembering(() => new Echoing());
      const layers = stack(factory, order, host.loop);
      await host.run(async () => {
        outermost(layers).doStart();
        const peer = host.open(outermost(layers));
        void peer.write('hello');
        assert.is(String(await peer.readBytes(5)), 'hello');
        for (const layer of layers) assert.is(layer.protocols.size, 1);
        await peer.close();
        await factory.last.lost();
        outermost(layers).doStop();
      });
      assert.equal(factory.last.calls, ['made', 'received', 'lost']);
      assert.equal(factory.calls, ['start', 'stop']);
      assertEmpty(layers);
      assert.is(host.loop.metrics().timers, 0);
      await host.network.close();
    }
  });

  test('limit all connections together and each by itself', async (context) => {
    const host = new SimHost(context);
    const { loop } = host;
    const factory = new Remembering(() => new Noting());
    const each = new ThrottlingFactory(factory, { writeLimit: 2_000, perConnection: true, burstMs: 0, loop });
    const all = new ThrottlingFactory(each, { writeLimit: 3_000, burstMs: 0, loop });
    await host.run(async () => {
      const first = host.open(all);
      factory.last.transport.write(Buffer.alloc(1_000_000));
      await host.pass(10_000);
      const alone = first.bytesRead;
      assert.ok(alone > 19_500 && alone <= 20_000 + 200, `${alone} bytes`);
      const second = host.open(all);
      factory.last.transport.write(Buffer.alloc(1_000_000));
      await host.pass(10_000);
      const both = first.bytesRead - alone + second.bytesRead;
      assert.ok(both > 29_000 && both <= 30_000 + 200, `${both} bytes`);
    });
  });

  test('count as activity what a throttle lets through', async (context) => {
    const host = new SimHost(context);
    const { loop } = host;
    const factory = new Remembering(() => new Noting());
    const throttling = new ThrottlingFactory(factory, { writeLimit: 1_000, loop });
    await host.run(async () => {
      const peer = host.open(new TimeoutFactory(throttling, { timeoutMs: 500, loop }));
      factory.last.transport.write(Buffer.alloc(10_000));
      factory.last.transport.loseConnection();
      assert.is((await peer.readUntilClose()).length, 10_000);
      await factory.last.lost();
    });
  });
});

/** Whether each of `protocols` was told of its end once, and of nothing after that. */
function assertLostOnce(protocols: readonly Noting[]): void {
  for (const { calls } of protocols) {
    assert.is(calls[0], 'made');
    assert.is(calls.indexOf('lost'), calls.length - 1, calls.join());
  }
}

suite('stacked policies on a bad network', { limitMs: 600_000 }, (test) => {
  const rough: SimOptions = { maxDelayMs: 20, shortRead: 0.5, shortWrite: 0.5, spuriousAgain: 0.2 };

  test('lose each connection once, and remember none', async (context) => {
    for (let seed = 1; seed <= count(20, 2_000); seed++) {
      const host = new SimHost(context, { onError: () => {} }, { ...rough, seed });
      const { loop } = host;
      const random = new Random(seed);
      const factory = new Remembering(() => new Erratic(random));
      const tight = { readLimit: MiB, writeLimit: MiB, maxHeldBytes: MiB, burstMs: 0, loop };
      const order: Policy[] = [(inner) => new ThrottlingFactory(inner, tight), ...policies];
      const layers = stack(factory, order, loop);
      await host.run(async () => {
        const peers = Array.from({ length: 10 }, () => host.open(outermost(layers)));
        await Promise.all(peers.map((peer) => misbehave(peer, random)));
      });
      assert.is(factory.built.length, 10);
      assertLostOnce(factory.built);
      assertEmpty(layers);
      assert.is(loop.metrics().timers, 0, `timers of seed ${seed}`);
      await host.network.close();
    }
  });
});

for (const backend of IOLoop.backends)
  suite(`stacked policies on ${backend}`, { backend, limitMs: 600_000 }, (test) => {
    test('lose each connection once, and remember none', async ({ loop, defer }) => {
      const random = new Random(7);
      const factory = new Remembering(() => new Erratic(random));
      const layers = stack(factory, policies, loop);
      const port = await listenTcp(0, outermost(layers), { interface: '127.0.0.1', loop, onError: () => {} });
      defer(() => port.close({ graceMs: 0 }));
      const target = { host: '127.0.0.1', port: portOf(port.getHost()) };
      const visit = async (): Promise<void> => {
        try {
          await misbehave(await IOStream.connect(target, { loop, allowHalfOpen: true }), random);
        } catch (error) {
          // The server was faster.
          assert.ok(error instanceof SystemError && error.code === 'ECONNRESET', String(error));
        }
      };
      for (let round = 0; round < count(10, 500); round++)
        await Promise.all(Array.from({ length: 20 }, visit));
      assert.is(factory.built.length, 20 * count(10, 500));
      for (const protocol of factory.built) await protocol.lost();
      assertLostOnce(factory.built);
      assertEmpty(layers);
      await port.close();
      assert.equal(factory.calls, ['start', 'stop']);
    });
  });
