import * as assert from 'uvu/assert';

import { type Connector, connectTcp, type IOLoop, listenTcp, type Protocol } from '../../src/index.ts';
import { ReconnectingClientFactory } from '../../src/protocol/reconnecting-client-factory.ts';
import type { SimNetwork } from '../../src/testing/sim.ts';
import { RecorderFactory } from '../support/factories.ts';
import { Recorder } from '../support/protocols.ts';
import { portOf } from '../support/servers.ts';
import { simNetwork } from '../support/sim.ts';
import { suite, type TestContext } from '../support/suite.ts';

const HOST = '127.0.0.1';
const NOBODY_LISTENS = 9;
const MINUTE_MS = 60_000;

/** Notes when it begins to connect, by the clock of its loop, and what its protocols are. */
class Clients extends ReconnectingClientFactory {
  override jitter = 0;
  readonly attempts: number[] = [];
  readonly told: string[] = [];
  readonly made: Recorder[] = [];

  override startFactory(): void {
    this.told.push('start');
  }

  override stopFactory(): void {
    this.told.push('stop');
  }

  override startedConnecting(connector: Connector): void {
    this.attempts.push(connector.loop.time());
    super.startedConnecting(connector);
  }

  override buildProtocol(): Protocol {
    const protocol = new Recorder();
    this.made.push(protocol);
    return protocol;
  }

  /** The milliseconds between its attempts, rounded. */
  get waits(): number[] {
    return this.attempts.slice(1).map((at, i) => Math.round(at - (this.attempts[i] ?? 0)));
  }
}

/** Runs `body` on a loop of a simulated network, whose time it lets pass. */
async function simulated(
  context: TestContext,
  body: (network: SimNetwork, loop: IOLoop) => unknown,
): Promise<void> {
  const network = simNetwork(context);
  const loop = network.createLoop();
  await network.run(async () => await body(network, loop));
  await network.advance(MINUTE_MS);
}

suite('a factory that connects anew', (test) => {
  test('waits longer each time, up to a limit, and is started and stopped once', (context) =>
    simulated(context, async (network, loop) => {
      const clients = new Clients();
      clients.maxDelayMs = 10_000;
      clients.maxRetries = 6;
      const connector = connectTcp(HOST, NOBODY_LISTENS, clients, { loop });
      await network.advance(MINUTE_MS);
      assert.equal(clients.waits, [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
      assert.is(clients.retries, 6);
      assert.equal(clients.told, ['start', 'stop']);
      assert.is(connector.state, 'disconnected');
    }));

  test('waits a little more or less, and never more than the limit', (context) =>
    simulated(context, async (network, loop) => {
      const clients = new Clients();
      Object.assign(clients, {
        jitter: 0.5,
        factor: 1,
        initialDelayMs: 100,
        maxDelayMs: 120,
        maxRetries: 200,
      });
      connectTcp(HOST, NOBODY_LISTENS, clients, { loop });
      await network.advance(MINUTE_MS);
      const { waits } = clients;
      assert.is(waits.length, 200);
      assert.ok(Math.min(...waits) >= 50 && Math.max(...waits) <= 120, `${waits}`);
      assert.ok(Math.min(...waits) < 70 && Math.max(...waits) === 120, `${waits}`);
    }));

  test('begins anew with the delay when it is told that a connection was good', (context) =>
    simulated(context, async (network, loop) => {
      const factory = new RecorderFactory();
      const port = await listenTcp(0, factory, { loop, interface: HOST });
      const clients = new Clients();
      const connector = connectTcp(HOST, portOf(port.getHost()), clients, { loop });
      const waits: number[] = [];
      for (const good of [false, false, true]) {
        await network.advance(10_000);
        assert.is(connector.state, 'connected');
        if (good) clients.resetDelay();
        const lostAt = loop.time();
        clients.made.at(-1)?.transport.loseConnection();
        await network.advance(10_000);
        waits.push(Math.round((clients.attempts.at(-1) ?? 0) - lostAt));
      }
      assert.equal(waits, [1_000, 2_000, 1_000]);
      clients.stopTrying();
      connector.disconnect();
      await port.close();
    }));

  for (const state of ['connecting', 'waiting', 'connected'] as const)
    test(`stops trying while ${state}`, (context) =>
      simulated(context, async (network, loop) => {
        const port = await listenTcp(0, new RecorderFactory(), { loop, interface: HOST });
        const clients = new Clients();
        const target = state === 'connected' ? portOf(port.getHost()) : NOBODY_LISTENS;
        const connector = connectTcp(HOST, target, clients, { loop });
        if (state !== 'connecting') await network.advance(500);
        clients.stopTrying();
        await network.advance(500);
        assert.is(connector.state, state === 'connected' ? 'connected' : 'disconnected');
        connector.disconnect();
        await network.advance(MINUTE_MS);
        assert.is(clients.attempts.length, 1);
        assert.equal(clients.told, ['start', 'stop']);
        await port.close();
      }));

  for (const how of ['stopConnecting', 'signal'] as const)
    test(`does not try again what was given up: ${how}`, (context) =>
      simulated(context, async (network, loop) => {
        const clients = new Clients();
        const controller = new AbortController();
        const connector = connectTcp(HOST, NOBODY_LISTENS, clients, { loop, signal: controller.signal });
        if (how === 'signal') controller.abort();
        else connector.stopConnecting();
        await network.advance(MINUTE_MS);
        assert.is(clients.attempts.length, 1);
        assert.equal(clients.told, ['start', 'stop']);
      }));

  test('connects at once when it is told to while it waits, and not a second time', (context) =>
    simulated(context, async (network, loop) => {
      const port = await listenTcp(0, new RecorderFactory(), { loop, interface: HOST });
      const clients = new Clients();
      const connector = connectTcp(HOST, portOf(port.getHost()), clients, { loop });
      await network.advance(100);
      clients.made[0]?.transport.loseConnection();
      await network.advance(100);
      connector.connect();
      await network.advance(MINUTE_MS);
      assert.is(clients.attempts.length, 2);
      assert.is(connector.state, 'connected');
      assert.is(clients.numPorts, 1);
      clients.stopTrying();
      connector.disconnect();
      await port.close();
    }));

  test('serves several connectors, and stops with the last', (context) =>
    simulated(context, async (network, loop) => {
      const port = await listenTcp(0, new RecorderFactory(), { loop, interface: HOST });
      const clients = new Clients();
      const connectors = [portOf(port.getHost()), NOBODY_LISTENS, NOBODY_LISTENS].map((to) =>
        connectTcp(HOST, to, clients, { loop }),
      );
      await network.advance(500);
      assert.is(clients.numPorts, 3);
      clients.stopTrying();
      await network.advance(500);
      assert.is(clients.numPorts, 1);
      assert.equal(clients.told, ['start']);
      connectors[0]?.disconnect();
      await network.advance(500);
      assert.equal(clients.told, ['start', 'stop']);
      await port.close();
    }));

  test('refuses settings that are none', (context) => {
    const errors: unknown[] = [];
    const network = simNetwork(context);
    const loop = network.createLoop({ onError: (error) => errors.push(error) });
    return network.run(async () => {
      for (const setting of [{ jitter: 2 }, { factor: 0.5 }, { initialDelayMs: Number.NaN }]) {
        const clients = new Clients();
        Object.assign(clients, setting);
        connectTcp(HOST, NOBODY_LISTENS, clients, { loop });
        await network.advance(MINUTE_MS);
        assert.equal(clients.told, ['start', 'stop']);
      }
      assert.equal(
        errors.map((error) => (error instanceof Error && 'code' in error ? error.code : error)),
        Array.from({ length: 3 }, () => 'ERR_IOLOOP_INVALID_ARGUMENT'),
      );
    });
  });
});

suite('a factory that connects anew, and its loop ends', (test) => {
  test('is stopped, whether it waits or connects', async ({ loop }) => {
    const port = await listenTcp(0, new RecorderFactory(), { loop, interface: HOST });
    const dead = portOf(port.getHost());
    await port.close();
    const waiting = new Clients();
    connectTcp(HOST, dead, waiting, { loop });
    while (waiting.retries === 0) await new Promise((resolve) => setImmediate(resolve));
    const connecting = new Clients();
    connectTcp(HOST, dead, connecting, { loop });
    await loop.close({ graceMs: 0 });
    while (connecting.numPorts > 0) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(
      [waiting.told, connecting.told],
      [
        ['start', 'stop'],
        ['start', 'stop'],
      ],
    );
  });
});
