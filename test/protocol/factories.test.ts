import * as assert from 'uvu/assert';

import {
  type Address,
  ClientFactory,
  ConnectionDone,
  type ConnectionLost,
  type Connector,
  connectTcp,
  connectTls,
  connectUnix,
  delay,
  Factory,
  IOLoop,
  IOLoopError,
  type ListeningPort,
  listenTcp,
  listenTls,
  listenUnix,
  Protocol,
  ReconnectingClientFactory,
} from '../../src/index.ts';
import { authority, localhost } from '../support/certificates.ts';
import { signal } from '../support/driven.ts';
import { Recorder } from '../support/protocols.ts';
import { portOf } from '../support/servers.ts';
import { simNetwork } from '../support/sim.ts';
import { turnsUntil } from '../support/streams.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { UnixSockets } from '../support/unix-sockets.ts';
import { within } from '../support/within.ts';

/** Sends what it gets back, in two parts. */
class Echo extends Protocol {
  override dataReceived(data: Buffer): void {
    this.transport.writeSequence([data.subarray(0, 1), data.subarray(1)]);
  }
}

/** A factory that notes when it starts and stops. */
class EchoFactory extends Factory {
  override protocol = Echo;
  readonly told: string[] = [];

  override startFactory(): void {
    this.told.push('start');
  }

  override stopFactory(): void {
    this.told.push('stop');
  }
}

/** A client of one recorder, which notes what it is told. */
class Client extends ClientFactory {
  readonly recorder: Recorder = new Recorder((call, { transport, text }) => {
    if (call === 'connectionMade') transport.write('ping');
    if (text === 'ping') transport.loseConnection();
  });
  readonly told: string[] = [];
  readonly #over = signal<Error>();

  override startFactory(): void {
    this.told.push('start');
  }

  override stopFactory(): void {
    this.told.push('stop');
  }

  override startedConnecting({ state }: Connector): void {
    this.told.push(state);
  }

  override buildProtocol(_address: Address): Protocol | null {
    return this.recorder;
  }

  override clientConnectionFailed({ state }: Connector, reason: Error): void {
    this.told.push(`failed: ${state}`);
    this.#over.fire(reason);
  }

  override clientConnectionLost({ state }: Connector, reason: ConnectionLost): void {
    this.told.push(`lost: ${state}`);
    this.#over.fire(reason);
  }

  /** Why it failed, or was lost. */
  whenOver(): Promise<Error> {
    return within(5_000, this.#over.promise, 'the end of the client');
  }
}

/** Under TLS the streams below say goodbye after those above. */
function streamsGone(loop: IOLoop): Promise<void> {
  return turnsUntil(loop, () => loop.metrics().streams === 0);
}

/** How factories listen, and how clients connect to them. */
interface Way {
  readonly name: string;
  readonly listen: (context: TestContext, factory: Factory) => Promise<ListeningPort>;
  readonly connect: (context: TestContext, to: Address, factory: ClientFactory) => Connector;
}

const WAYS: readonly Way[] = [
  {
    name: 'TCP',
    listen: ({ loop }, factory) => listenTcp(0, factory, { loop, interface: '127.0.0.1' }),
    connect: ({ loop }, to, factory) => connectTcp('127.0.0.1', portOf(to), factory, { loop }),
  },
  {
    name: 'TLS',
    listen: ({ loop }, factory) => listenTls(0, factory, { loop, interface: '127.0.0.1', tls: localhost }),
    connect: ({ loop }, to, factory) =>
      connectTls('localhost', portOf(to), factory, {
        loop,
        tls: { ca: authority, servername: 'localhost' },
        lookup: (_host, _options, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }]),
      }),
  },
  {
    name: 'a Unix socket',
    listen: (context, factory) =>
      listenUnix(new UnixSockets(context).path(), factory, { loop: context.loop }),
    connect: ({ loop }, to, factory) => connectUnix('path' in to ? to.path : '', factory, { loop }),
  },
];

for (const backend of IOLoop.backends)
  for (const { name, listen, connect } of WAYS)
    suite(`factories over ${name} on ${backend}`, { backend }, (test) => {
      test('serve and connect, and stop when nobody needs them any more', async (context) => {
        const factory = new EchoFactory();
        const port = await listen(context, factory);
        context.defer(() => port.close({ graceMs: 0 }));
        assert.equal([factory.told, factory.numPorts], [['start'], 1]);
        const client = new Client();
        const connector = connect(context, port.getHost(), client);
        assert.is(connector.loop, context.loop);
        assert.ok((await client.whenOver()) instanceof ConnectionDone);
        assert.is(client.recorder.text, 'ping');
        assert.equal(client.told, ['start', 'connecting', 'lost: disconnected', 'stop']);
        await port.stopListening();
        assert.equal([factory.told, factory.numPorts], [['start', 'stop'], 0]);
        await streamsGone(context.loop);
      });

      test('start once for two ports, and stop with the second', async (context) => {
        const factory = new EchoFactory();
        const ports = [await listen(context, factory), await listen(context, factory)];
        assert.is(factory.numPorts, 2);
        for (const port of ports) await port.close({ graceMs: 0 });
        assert.equal(factory.told, ['start', 'stop']);
      });

      test('refuse a connection for which they build no protocol', async (context) => {
        const factory = new EchoFactory();
        factory.buildProtocol = () => null;
        const port = await listen(context, factory);
        context.defer(() => port.close({ graceMs: 0 }));
        const client = new Client();
        connect(context, port.getHost(), client);
        await client.whenOver();
        assert.equal([client.recorder.text, client.recorder.story], ['', 'connectionMade connectionLost']);
      });

      test('tell who cannot connect, and connect anew if they are asked to', async (context) => {
        const factory = new EchoFactory();
        const port = await listen(context, factory);
        const client = new Client();
        await port.close();
        const connector = connect(context, port.getHost(), client);
        const reason = await client.whenOver();
        assert.match(String('code' in reason && reason.code), /^(ECONNREFUSED|ENOENT)$/);
        assert.equal(client.told, ['start', 'connecting', 'failed: disconnected', 'stop']);
        assert.throws(
          () => connector.stopConnecting(),
          (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE'),
        );
      });

      test('give an attempt up', async (context) => {
        const port = await listen(context, new EchoFactory());
        context.defer(() => port.close({ graceMs: 0 }));
        const client = new Client();
        const connector = connect(context, port.getHost(), client);
        assert.throws(
          () => connector.connect(),
          (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE'),
        );
        connector.stopConnecting();
        assert.is((await client.whenOver()).name, 'AbortError');
        assert.equal(client.told.slice(1), ['connecting', 'failed: disconnected', 'stop']);
      });

      test('lose a connection by its connector', async (context) => {
        const port = await listen(context, new EchoFactory());
        context.defer(() => port.close({ graceMs: 0 }));
        const client = new Client();
        client.recorder.react = (call) => {
          if (call !== 'connectionMade') return;
          assert.is(connector.state, 'connected');
          connector.disconnect();
        };
        const connector = connect(context, port.getHost(), client);
        assert.ok((await client.whenOver()) instanceof ConnectionDone);
        const { family } = port.getHost();
        assert.is(connector.getDestination().family, family);
        await streamsGone(context.loop);
      });
    });

suite('a factory that reconnects', (test) => {
  /** Notes when it tries, by a clock that takes no time. */
  class Trying extends ReconnectingClientFactory {
    readonly loop: IOLoop;
    readonly tries: number[] = [];
    override jitter = 0;
    override protocol = Protocol;

    constructor(loop: IOLoop) {
      super();
      this.loop = loop;
    }

    override startedConnecting(connector: Connector): void {
      super.startedConnecting(connector);
      this.tries.push(this.loop.time());
    }

    /** Seconds from one try to the next. */
    get waits(): number[] {
      return this.tries.slice(1).map((time, i) => Math.round((time - (this.tries[i] ?? 0)) / 1_000));
    }
  }

  test('waits longer each time, up to the longest delay, and gives up after maxRetries', async (context) => {
    const network = simNetwork(context);
    const loop = network.createLoop();
    const factory = new Trying(loop);
    factory.maxDelayMs = 5_000;
    factory.maxRetries = 5;
    await network.run(async () => {
      connectTcp('127.0.0.1', 4000, factory, { loop });
      await delay(60_000, { loop });
    });
    assert.equal([factory.waits, factory.retries, factory.numPorts], [[1, 2, 4, 5, 5], 5, 0]);
  });

  test('spreads its waits by the jitter', async (context) => {
    const network = simNetwork(context);
    const loop = network.createLoop();
    const factory = new Trying(loop);
    factory.initialDelayMs = 10_000;
    factory.factor = 1;
    factory.jitter = 0.5;
    factory.maxRetries = 20;
    await network.run(async () => {
      connectTcp('127.0.0.1', 4000, factory, { loop });
      await delay(600_000, { loop });
    });
    assert.ok(
      factory.waits.every((wait) => wait >= 5 && wait <= 15),
      String(factory.waits),
    );
    assert.ok(new Set(factory.waits).size > 1, String(factory.waits));
  });

  test('begins anew after resetDelay(), and stops trying when it is told to', async (context) => {
    const network = simNetwork(context);
    const loop = network.createLoop();
    const factory = new Trying(loop);
    await network.run(async () => {
      connectTcp('127.0.0.1', 4000, factory, { loop });
      await delay(4_000, { loop });
      factory.resetDelay();
      const port = await listenTcp(4000, Factory.forProtocol(Protocol), { loop });
      await delay(5_000, { loop });
      assert.is(port.connections, 1);
      await port.close({ graceMs: 0 });
      await delay(2_500, { loop });
      factory.stopTrying();
      await delay(60_000, { loop });
    });
    assert.equal([factory.waits.slice(0, 3), factory.numPorts], [[1, 2, 4], 0]);
    assert.ok(factory.tries.length <= 6, String(factory.waits));
  });
});
