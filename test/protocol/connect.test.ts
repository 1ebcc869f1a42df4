import * as assert from 'uvu/assert';

import {
  AbortError,
  ConnectionDone,
  ConnectionLost,
  IOLoopError,
  SystemError,
  TimeoutError,
} from '../../src/index.ts';
import { connectTcp, connectTls, connectUnix } from '../../src/protocol/connect.ts';
import { listenTcp, listenTls, listenUnix } from '../../src/protocol/listen.ts';
import { authority, localhost } from '../support/certificates.ts';
import { RecorderClients, RecorderFactory } from '../support/factories.ts';
import { portOf } from '../support/servers.ts';
import { turnsUntil } from '../support/streams.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { within } from '../support/within.ts';

const HOST = '127.0.0.1';

/** A port that records, and is closed with the test. */
async function listening({ loop, defer }: TestContext): Promise<{ factory: RecorderFactory; port: number }> {
  const factory = new RecorderFactory();
  const port = await listenTcp(0, factory, { loop, interface: HOST, onError: () => {} });
  defer(() => port.close({ graceMs: 0 }));
  return { factory, port: portOf(port.getHost()) };
}

/** A port that nobody listens at. */
async function deadPort({ loop }: TestContext): Promise<number> {
  const port = await listenTcp(0, new RecorderFactory(), { loop, interface: HOST });
  const number = portOf(port.getHost());
  await port.close();
  return number;
}

function until(context: TestContext, clients: RecorderClients, what: string): Promise<void> {
  return within(
    5_000,
    turnsUntil(context.loop, () => clients.told.includes(what)),
    what,
  );
}

suite('a connector', (test) => {
  test('tells its factory of the beginning and of the end, and where it stands', async (context) => {
    const { factory, port } = await listening(context);
    const clients = new RecorderClients();
    const connector = connectTcp(HOST, port, clients);
    assert.is(connector.state, 'connecting');
    assert.is(connector.loop, context.loop);
    assert.is(`${connector.getDestination()}`, `${HOST}:${port}`);
    assert.equal(clients.told, ['start', 'connecting']);
    await within(
      5_000,
      turnsUntil(context.loop, () => factory.made.length > 0 && clients.made.length > 0),
      'both protocols',
    );
    assert.is(connector.state, 'connected');
    connector.disconnect();
    await until(context, clients, 'stop');
    assert.is(connector.state, 'disconnected');
    connector.disconnect();
    assert.equal(clients.told, ['start', 'connecting', 'lost', 'stop']);
    assert.instance(clients.reason, ConnectionDone);
    assert.is(clients.made[0]?.story, 'connectionMade connectionLost');
  });

  test('connects anew when its factory says so, which is started once', async (context) => {
    const { port } = await listening(context);
    const clients = new RecorderClients();
    clients.react = (what, connector) => {
      if (what === 'lost' && clients.made.length < 3) connector.connect();
    };
    clients.buildProtocol = () => {
      const protocol = RecorderClients.prototype.buildProtocol.call(clients);
      const [made] = clients.made.slice(-1);
      if (made !== undefined)
        made.react = (call) => call === 'connectionMade' && made.transport.loseConnection();
      return protocol;
    };
    connectTcp(HOST, port, clients);
    await until(context, clients, 'stop');
    assert.is(clients.told.join(' '), `start${' connecting lost'.repeat(3)} stop`);
  });

  test('refuses what its state does not allow', async (context) => {
    const { port } = await listening(context);
    const clients = new RecorderClients();
    const connector = connectTcp(HOST, port, clients);
    const isWrong = (error: unknown): boolean => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE');
    assert.throws(() => connector.connect(), isWrong);
    connector.stopConnecting();
    await until(context, clients, 'stop');
    assert.throws(() => connector.stopConnecting(), isWrong);
  });

  for (const end of ['stopConnecting', 'disconnect'] as const)
    test(`gives its attempt up: ${end}()`, async (context) => {
      const { port } = await listening(context);
      const clients = new RecorderClients();
      connectTcp(HOST, port, clients)[end]();
      await until(context, clients, 'stop');
      assert.equal(clients.told, ['start', 'connecting', 'failed', 'stop']);
      assert.instance(clients.reason, AbortError);
    });

  test('gives its attempt up in startedConnecting, and when that throws', async (context) => {
    const { port } = await listening(context);
    const clients = new RecorderClients();
    clients.react = (what, connector) => what === 'connecting' && connector.stopConnecting();
    connectTcp(HOST, port, clients);
    await until(context, clients, 'stop');
    assert.instance(clients.reason, AbortError);
    const error = new Error('not now');
    const throwing = new RecorderClients();
    throwing.react = () => {
      throw error;
    };
    assert.throws(
      () => connectTcp(HOST, port, throwing),
      (thrown: unknown) => thrown === error,
    );
    assert.equal(throwing.told, ['start', 'connecting', 'stop']);
  });

  test('gives up with its signal', async (context) => {
    const { port } = await listening(context);
    const clients = new RecorderClients();
    const controller = new AbortController();
    connectTcp(HOST, port, clients, { signal: controller.signal });
    controller.abort();
    await until(context, clients, 'stop');
    assert.instance(clients.reason, AbortError);
  });

  test('fails by what the kernel says, by time, and by names that are none', async (context) => {
    const dead = await deadPort(context);
    const cases = [
      [HOST, {}, SystemError],
      [
        'nowhere.invalid',
        { lookup: (_name, _options, answer) => answer(new Error('no such name'), '') },
        Error,
      ],
      ['nowhere.invalid', { lookup: () => {}, timeoutMs: 20 }, TimeoutError],
    ] satisfies [
      string,
      Parameters<typeof connectTcp>[3],
      typeof Error | typeof SystemError | typeof TimeoutError,
    ][];
    for (const [host, options, kind] of cases) {
      const clients = new RecorderClients();
      connectTcp(host, dead, clients, options);
      await until(context, clients, 'stop');
      assert.equal(clients.told, ['start', 'connecting', 'failed', 'stop']);
      assert.ok(clients.reason instanceof kind, `${clients.reason}`);
    }
  });

  test('loses what its factory refuses or fails to build', async (context) => {
    const { port } = await listening(context);
    const refusing = new RecorderClients();
    refusing.buildProtocol = () => null;
    connectTcp(HOST, port, refusing);
    await until(context, refusing, 'stop');
    assert.instance(refusing.reason, ConnectionDone);
  });

  test('connects by TLS and in the Unix domain', async (context) => {
    const { loop, defer } = context;
    const factory = new RecorderFactory();
    const secured = await listenTls(0, factory, { loop, interface: HOST, tls: localhost });
    const name = `\0ioloop-${process.pid}-connect`;
    const local = await listenUnix(name, factory, { loop });
    for (const port of [secured, local]) defer(() => port.close({ graceMs: 0 }));
    assert.equal(factory.told, ['start']);
    assert.is(factory.numPorts, 2);
    const tls = { ca: authority, servername: 'localhost' };
    const clients = [new RecorderClients(), new RecorderClients(), new RecorderClients()] as const;
    connectTls(HOST, portOf(secured.getHost()), clients[0], { tls });
    connectTls(HOST, portOf(secured.getHost()), clients[1]);
    const connector = connectUnix(name, clients[2]);
    assert.is(`${connector.getDestination()}`, `${local.getHost()}`);
    for (const made of [clients[0].made, clients[2].made]) await turnsUntil(loop, () => made.length === 1);
    await until(context, clients[1], 'failed');
    for (const { made } of clients) made[0]?.transport.loseConnection();
    for (const one of clients) await until(context, one, 'stop');
    await turnsUntil(loop, () => loop.metrics().streams === 0);
    await secured.stopListening();
    assert.equal(factory.told, ['start']);
    await local.stopListening();
    assert.equal(factory.told, ['start', 'stop']);
  });

  test('checks its arguments in the call', async ({ loop }) => {
    const clients = new RecorderClients();
    const calls = [
      () => Reflect.apply(connectTcp, null, [HOST, 80, {}]),
      () => connectTcp(HOST, 65_536, clients),
      () => Reflect.apply(connectTcp, null, [7, 80, clients]),
      () => Reflect.apply(connectTcp, null, [HOST, 80, clients, 'soon']),
      () => connectTcp(HOST, 80, clients, { timeoutMs: -1 }),
      () => connectUnix('', clients),
      () => Reflect.apply(connectTls, null, [HOST, 80, null, {}]),
    ];
    for (const call of calls)
      assert.throws(
        call,
        (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'),
        `${call}`,
      );
    assert.equal(clients.told, []);
    assert.ok(loop.fd >= 0);
  });
});

suite('a server of protocols', (test) => {
  test('refuses whom its factory has no protocol for, and drops whom it fails to build', async ({
    loop,
    defer,
  }) => {
    const factory = new RecorderFactory();
    const errors: unknown[] = [];
    const drops: string[] = [];
    const port = await listenTcp(0, factory, {
      loop,
      interface: HOST,
      onError: (error) => errors.push(error),
      onDrop: (reason) => drops.push(reason),
    });
    defer(() => port.close({ graceMs: 0 }));
    const error = new Error('no protocol today');
    factory.buildProtocol = () => {
      if (drops.length === 0) return null;
      throw error;
    };
    for (let i = 0; i < 2; i++) {
      const clients = new RecorderClients();
      connectTcp(HOST, portOf(port.getHost()), clients);
      await turnsUntil(loop, () => clients.told.includes('stop'));
    }
    assert.equal([drops, errors], [['refused'], [error]]);
  });

  test('ends those at work with a reset when their time is over, and tells them so', async ({ loop }) => {
    const factory = new RecorderFactory();
    const port = await listenTcp(0, factory, { loop, interface: HOST });
    const clients = new RecorderClients();
    connectTcp(HOST, portOf(port.getHost()), clients);
    await turnsUntil(loop, () => factory.made.length === 1 && clients.made.length === 1);
    const [served] = factory.made;
    clients.made[0]?.transport.pauseProducing();
    served?.transport.write(Buffer.alloc(12 * 1024 * 1024));
    assert.is(port.connections, 1);
    await within(5_000, port.close({ graceMs: 20 }), 'the end of the port');
    assert.is((await served?.whenLost())?.name, 'ConnectionAborted');
    clients.made[0]?.transport.resumeProducing();
    await turnsUntil(loop, () => clients.told.includes('stop'));
    assert.instance(clients.reason, ConnectionLost);
    assert.equal(factory.told, ['start', 'stop']);
    await port.stopListening();
    await port[Symbol.asyncDispose]();
    assert.equal(factory.told, ['start', 'stop']);
  });

  test('whose factory does not start listens no longer', async ({ loop }) => {
    const factory = new RecorderFactory();
    const error = new Error('no factory today');
    factory.startFactory = () => {
      throw error;
    };
    const failed = await listenTcp(0, factory, { loop, interface: HOST }).catch((thrown: unknown) => thrown);
    assert.is(failed, error);
    assert.is(factory.numPorts, 0);
    const refused = await Reflect.apply(listenTcp, null, [0, {}]).catch((thrown: unknown) => thrown);
    assert.ok(IOLoopError.is(refused, 'ERR_IOLOOP_INVALID_ARGUMENT'));
  });
});
