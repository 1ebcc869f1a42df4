import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';

import {
  DatagramSocket,
  type DiagnosticsChannel,
  diagnostics,
  IOLoop,
  IOStream,
  SeqpacketServer,
  SeqpacketSocket,
  TCPServer,
  UDPServer,
} from '../src/index.ts';
import { authority, localhost } from './support/certificates.ts';
import { runSource } from './support/child.ts';
import { connectTo } from './support/clients.ts';
import { signal } from './support/driven.ts';
import { serve } from './support/servers.ts';
import { simNetwork } from './support/sim.ts';
import { suite, type TestContext } from './support/suite.ts';
import { UnixSockets } from './support/unix-sockets.ts';
import { within } from './support/within.ts';

/** Collects the messages of `channel` until the test is over. */
function collect<Message>(channel: DiagnosticsChannel<Message>, { defer }: TestContext): Message[] {
  const messages: Message[] = [];
  const listener = (message: Message): void => void messages.push(message);
  channel.subscribe(listener);
  defer(() => channel.unsubscribe(listener));
  return messages;
}

/** The next message of `channel`. */
function next<Message>(channel: DiagnosticsChannel<Message>): Promise<Message> {
  const { promise, fire } = signal<Message>();
  const listener = (message: Message): void => {
    channel.unsubscribe(listener);
    fire(message);
  };
  channel.subscribe(listener);
  return within(5_000, promise, `a message on ${String(channel.name)}`);
}

suite('the channels of diagnostics', (test) => {
  test('have the names that are documented', () => {
    assert.equal(
      Object.values(diagnostics).map(({ name }) => name),
      [
        'ioloop.loop.created',
        'ioloop.loop.closed',
        'ioloop.server.listening',
        'ioloop.server.stopped',
        'ioloop.connection.opened',
        'ioloop.connection.closed',
        'ioloop.connection.dropped',
        'ioloop.datagram.dropped',
        'ioloop.client.connecting',
        'ioloop.client.connected',
        'ioloop.client.failed',
        'ioloop.client.closed',
        'ioloop.error',
      ],
    );
  });

  test('are those of node:diagnostics_channel', async () => {
    const messages: unknown[] = [];
    const listener = (message: unknown): void => void messages.push(message);
    subscribe('ioloop.loop.created', listener);
    const loop = new IOLoop({ current: false });
    assert.equal(unsubscribe('ioloop.loop.created', listener), true);
    assert.is(messages.length, 1);
    await loop.close();
  });

  test('are all in the document, each by its word here', () => {
    const rows = readFileSync(new URL('../docs/diagnostics.md', import.meta.url), 'utf8').matchAll(
      /^\| `(\w+)` \| `(ioloop\.[\w.]+)` \|/gm,
    );
    assert.equal(
      [...rows].map(([, word, name]) => [word, name]),
      Object.entries(diagnostics).map(([word, { name }]) => [word, name]),
    );
  });

  test('have no listener left when a test is over', () => {
    for (const { name, hasSubscribers } of Object.values(diagnostics))
      assert.not(hasSubscribers, String(name));
  });

  test('report a subscriber that throws as an uncaughtException, and go on', async () => {
    const { stdout, stderr, code } = await runSource(`
      import { diagnostics, IOStream, TCPServer } from ${JSON.stringify(new URL('../src/index.ts', import.meta.url))};
      process.on('uncaughtException', (error) => console.log(error.message));
      diagnostics.connectionOpened.subscribe(() => { throw new Error('thrown by a subscriber'); });
      const server = new TCPServer((stream) => stream.write('served'));
      const { port } = await server.listen(0, '127.0.0.1');
      const client = await IOStream.connect({ host: '127.0.0.1', port });
      console.log(String(await client.readUntilClose()));
      await server.close();
    `);
    assert.equal([stdout, code], ['thrown by a subscriber\nserved\n', 0], stderr);
  });
});

for (const backend of IOLoop.backends)
  suite(`what is told on ${backend}`, { backend }, (test) => {
    test('of a loop: that it was made, and closed', async (context) => {
      const created = collect(diagnostics.loopCreated, context);
      const closed = collect(diagnostics.loopClosed, context);
      const loop = new IOLoop({ backend, current: false });
      assert.equal([created.length, created[0]?.loop === loop, closed.length], [1, true, 0]);
      await loop.close();
      assert.equal([closed.length, closed[0]?.loop === loop], [1, true]);
    });

    test('of a handler, timer or callback: what it threw', async (context) => {
      const errors = collect(diagnostics.error, context);
      const heard = signal<unknown>();
      const loop = new IOLoop({ backend, current: false, onError: heard.fire });
      context.defer(() => loop.close());
      const error = new Error('thrown by a callback');
      loop.addCallback(() => {
        throw error;
      });
      assert.is(await within(5_000, heard.promise, 'onError'), error);
      assert.equal(errors, [{ error, server: null, connection: null }]);
    });

    test('of a server: where it listens, and until when', async (context) => {
      const listening = collect(diagnostics.serverListening, context);
      const stopped = collect(diagnostics.serverStopped, context);
      const server = new TCPServer(() => {}, { loop: context.loop });
      const addresses = [await server.listen(0, '127.0.0.1'), await server.listen(0, '127.0.0.1')];
      assert.equal(
        listening.map(({ address }) => address),
        addresses,
      );
      server.stop();
      await server.close();
      assert.equal(
        stopped.map(({ address }) => address),
        addresses,
      );
      for (const message of [...listening, ...stopped]) assert.is(message.server, server);
    });

    test('of a connection: who it is, what it has sent and how it ended', async (context) => {
      const opened = collect(diagnostics.connectionOpened, context);
      const served = await serve(
        context,
        async (stream) => {
          await stream.write(await stream.readUntil('\n'));
        },
        {},
      );
      const closing = next(diagnostics.connectionClosed);
      const client = served.connect();
      client.send('hello\n');
      assert.is(await client.all(), 'hello\n');
      const { server, connection, address } = await closing;
      assert.is(server, served.server);
      assert.equal(opened, [{ server, connection, address }]);
      assert.ok(address.toString().startsWith('127.0.0.1:'));
      assert.equal([connection.bytesRead, connection.bytesWritten, connection.error], [6, 6, null]);
    });

    test('of a connection that breaks: the error', async (context) => {
      const served = await serve(context, (stream) => void stream.write('+'), {});
      const closing = next(diagnostics.connectionClosed);
      const opening = next(diagnostics.connectionOpened);
      served.server.setTls(localhost);
      const client = served.connect();
      const { connection } = await opening;
      client.reset();
      const closed = await closing;
      assert.is(closed.connection, connection);
      const { error } = closed.connection;
      assert.is(error instanceof Error && 'code' in error && error.code, 'ECONNRESET');
    });

    test('of a connection that one server hands to another: its end here, its beginning there', async (context) => {
      const second = new TCPServer((stream) => stream.write('the second'), { loop: context.loop });
      context.defer(() => second.close({ graceMs: 0 }));
      const told: string[] = [];
      const first = await serve(context, (stream) => second.adopt(stream), {});
      const nameOf = (server: unknown): string => (server === second ? 'second' : 'first');
      const opened = (message: { server: unknown }): void =>
        void told.push(`opened ${nameOf(message.server)}`);
      const closed = (message: { server: unknown }): void =>
        void told.push(`closed ${nameOf(message.server)}`);
      diagnostics.connectionOpened.subscribe(opened);
      diagnostics.connectionClosed.subscribe(closed);
      context.defer(() => {
        diagnostics.connectionOpened.unsubscribe(opened);
        diagnostics.connectionClosed.unsubscribe(closed);
      });
      assert.is(await first.connect().all(), 'the second');
      assert.equal(told.sort(), ['closed first', 'closed second', 'opened first', 'opened second']);
    });

    test('of a client that is not served: why', async (context) => {
      const drops = collect(diagnostics.connectionDropped, context);
      const served = await serve(context, () => {}, { verifyRequest: () => false });
      await served.connect().ended;
      await served.told(() => served.drops.length > 0);
      assert.equal(
        drops.map(({ server, reason }) => [server === served.server, reason]),
        [[true, 'refused']],
      );
      assert.ok(drops[0]?.address?.toString().startsWith('127.0.0.1:'));
    });

    test('of a handler that fails: what it threw, and over which connection', async (context) => {
      const error = new Error('thrown by a handler');
      const streams: IOStream[] = [];
      const served = await serve(
        context,
        (stream) => {
          streams.push(stream);
          throw error;
        },
        {},
      );
      const told = next(diagnostics.error);
      await served.connect().ended;
      assert.equal(await told, { error, server: served.server, connection: streams[0] });
      await served.told(() => served.errors.length > 0);
      assert.equal(served.errors, [error]);
    });

    test('of a client that leaves while it is served: no error', async (context) => {
      const errors = collect(diagnostics.error, context);
      const served = await serve(context, async (stream) => void (await stream.readUntil('\n')), {});
      const closing = next(diagnostics.connectionClosed);
      served.connect().end('no line');
      await closing;
      assert.equal(errors, []);
    });

    test('of clients: that they connect, are connected, and over', async (context) => {
      const served = await serve(context, (stream) => stream.write('served'), {});
      const connecting = collect(diagnostics.clientConnecting, context);
      const connected = collect(diagnostics.clientConnected, context);
      const closing = next(diagnostics.clientClosed);
      const target = { host: '127.0.0.1', port: served.port };
      const stream = await IOStream.connect(target, { loop: context.loop });
      assert.equal(connecting, [{ target }]);
      assert.equal([connected.length, connected[0]?.connection === stream], [1, true]);
      assert.is(String(await stream.readUntilClose()), 'served');
      const closed = await closing;
      assert.equal([closed.target === target, closed.connection === stream], [true, true]);
      assert.equal([closed.connection.bytesRead, closed.connection.error], [6, null]);
    });

    test('of clients under TLS: the stream that is encrypted', async (context) => {
      const served = await serve(context, (stream) => stream.write('served'), { tls: localhost });
      const connected = collect(diagnostics.clientConnected, context);
      const target = { host: '127.0.0.1', port: served.port };
      const tls = { ca: authority, servername: 'localhost' };
      await using stream = await IOStream.connect(target, { loop: context.loop, tls });
      assert.ok(connected[0]?.connection === stream && stream.encrypted);
    });

    test('of a client that cannot connect: the error that it gets', async (context) => {
      const failed = collect(diagnostics.clientFailed, context);
      const target = { path: new UnixSockets(context).path() };
      const error = await IOStream.connect(target, { loop: context.loop }).catch((thrown: unknown) => thrown);
      assert.equal(
        [failed.length, failed[0]?.target === target, failed[0]?.error === error],
        [1, true, true],
      );
      assert.is(error instanceof Error && 'code' in error && error.code, 'ENOENT');
    });

    test('of a server of datagrams: where it listens, what it drops and what fails', async (context) => {
      const listening = collect(diagnostics.serverListening, context);
      const stopped = collect(diagnostics.serverStopped, context);
      const error = new Error('thrown by a handler');
      const server = new UDPServer(
        () => {
          throw error;
        },
        { loop: context.loop, onError: () => {}, verifyRequest: (_address, { data }) => data.length > 1 },
      );
      context.defer(() => server.close({ graceMs: 0 }));
      const address = await server.listen(0, '127.0.0.1');
      assert.equal(listening, [{ server, address }]);
      const dropped = next(diagnostics.datagramDropped);
      const failed = next(diagnostics.error);
      const socket = new DatagramSocket({ type: 'udp4', loop: context.loop });
      context.defer(() => socket.close());
      await socket.bind(0, '127.0.0.1');
      await socket.send('1', address.port, '127.0.0.1');
      await socket.send('12', address.port, '127.0.0.1');
      const drop = await dropped;
      assert.equal([drop.server === server, drop.reason], [true, 'refused']);
      assert.is(String(drop.address), String(socket.local));
      assert.equal(await failed, { error, server, connection: null });
      await server.close();
      assert.equal(stopped, [{ server, address }]);
    });
  });

// unix(7): Linux has them.
if (process.platform === 'linux')
  suite('what is told of a server of messages', (test) => {
    test('is told alike, but for the bytes that nobody counts', async (context) => {
      const sockets = new UnixSockets(context);
      const path = sockets.path();
      const server = new SeqpacketServer(
        async (socket) => {
          for await (const { data } of socket) await socket.send(data);
        },
        { loop: context.loop },
      );
      context.defer(() => server.close({ graceMs: 0 }));
      await server.listen(path);
      const opening = next(diagnostics.connectionOpened);
      const closing = next(diagnostics.connectionClosed);
      const client = sockets.adopt(await SeqpacketSocket.connect({ path }, { loop: context.loop }));
      const opened = await opening;
      await client.close();
      assert.equal([opened.server === server, opened.address.toString()], [true, '']);
      const closed = await closing;
      assert.ok(closed.connection === opened.connection);
      assert.equal([closed.connection.fd, closed.connection.bytesRead], [-1, undefined]);
    });
  });

suite('what is told of a simulated network', (test) => {
  /** The names of all channels that tell something, in order. */
  async function trace(context: TestContext): Promise<string[]> {
    const told: string[] = [];
    const network = simNetwork(context, { seed: 7, maxDelayMs: 20 });
    const undos = Object.values(diagnostics).map((channel: DiagnosticsChannel<unknown>) => {
      const listener = (): void => void told.push(String(channel.name));
      channel.subscribe(listener);
      return () => channel.unsubscribe(listener);
    });
    const loop = network.createLoop();
    await network.run(async () => {
      const server = new TCPServer((stream) => stream.write('served'), { loop });
      const { port } = await server.listen(0, '127.0.0.1');
      const stream = await IOStream.connect({ host: '127.0.0.1', port }, { loop });
      assert.is(String(await stream.readUntilClose()), 'served');
      await stream.close();
      await server.close();
    });
    await network.close();
    for (const undo of undos) undo();
    return told;
  }

  test('comes in the same order in two runs of a seed', async (context) => {
    const told = await trace(context);
    assert.equal([...told].sort(), [
      'ioloop.client.closed',
      'ioloop.client.connected',
      'ioloop.client.connecting',
      'ioloop.connection.closed',
      'ioloop.connection.opened',
      'ioloop.loop.closed',
      'ioloop.loop.created',
      'ioloop.server.listening',
      'ioloop.server.stopped',
    ]);
    assert.equal(await trace(context), told);
  });
});

suite('without subscribers', (test) => {
  test('nothing is published', async (context) => {
    const published: unknown[] = [];
    const { promise, fire } = signal();
    for (const channel of Object.values(diagnostics)) {
      const own = Object.getOwnPropertyDescriptor(channel, 'publish');
      channel.publish = (message: unknown) => void published.push(message);
      context.defer(() => {
        if (own === undefined) Reflect.deleteProperty(channel, 'publish');
      });
    }
    const loop = new IOLoop({ current: false, onError: () => fire() });
    const server = new TCPServer((stream) => stream.write('served'), { loop });
    const { port } = await server.listen(0, '127.0.0.1');
    assert.is(await connectTo({ host: '127.0.0.1', port }, context.defer).all(), 'served');
    await (await IOStream.connect({ host: '127.0.0.1', port }, { loop })).close();
    await IOStream.connect({ path: '/not/there' }, { loop }).catch(() => {});
    loop.addCallback(() => {
      throw new Error('thrown by a callback');
    });
    await within(5_000, promise, 'onError');
    await loop.close();
    assert.equal(published, []);
  });
});
