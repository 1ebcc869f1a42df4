import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import * as assert from 'uvu/assert';

import {
  type Address,
  encodeProxyHeader,
  Factory,
  IOLoop,
  IOLoopError,
  type IOStream,
  listenTcp,
  Protocol,
  type ServerOptions,
  TCPServer,
  UnixServer,
} from '../../src/index.ts';
import { authority, localhost } from '../support/certificates.ts';
import { Client, connectTo } from '../support/clients.ts';
import { signal } from '../support/driven.ts';
import { portOf, type Served, serve } from '../support/servers.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { nextTurn, passes } from '../support/turns.ts';
import { within } from '../support/within.ts';

const LINE = Buffer.from('PROXY TCP4 192.0.2.7 198.51.100.1 50007 443\r\n');
const BINARY = encodeProxyHeader({
  source: inet('192.0.2.7', 50_007),
  destination: inet('198.51.100.1', 443),
  authority: 'poems.example',
  crc32c: true,
});

function inet(address: string, port: number): Address {
  return { family: 'IPv4', address, port };
}

/** Says whom it serves, then echoes lines. */
async function introduce(stream: IOStream, address: Address): Promise<void> {
  assert.is(String(address), String(stream.remote));
  void stream.write(`${stream.remote} at ${stream.local}, ${stream.proxyHeader?.authority ?? 'no name'}\n`);
  for (;;) await stream.write(await stream.readUntil('\n'));
}

const INTRODUCED = '192.0.2.7:50007 at 198.51.100.1:443';

function behindProxies(context: TestContext, options: ServerOptions = {}): Promise<Served> {
  return serve(context, introduce, { proxyProtocol: true, ...options });
}

/** Settles when the kernel has taken `bytes`, and on the loopback that is: has given them to the server. */
function sent({ socket }: Client, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => socket.write(bytes, () => resolve()));
}

/** A header that names the client, and the name that it brings. */
const HEADERS = [
  [LINE, 'no name'],
  [BINARY, 'poems.example'],
] as const;

for (const backend of IOLoop.backends)
  suite(`a server behind proxies on ${backend}`, { backend, limitMs: 20_000 }, (test) => {
    test('serves the client that the proxy names, with all that comes behind the header', async (context) => {
      const served = await behindProxies(context);
      for (const [header, name] of HEADERS) {
        const client = served.connect();
        client.socket.end(Buffer.concat([header, Buffer.from('one\ntwo\n')]));
        assert.is(await client.all(), `${INTRODUCED}, ${name}\none\ntwo\n`);
      }
      assert.equal([served.errors, served.drops], [[], []]);
    });

    test('takes a header in two segments at any border', async (context) => {
      const served = await behindProxies(context);
      for (const [header, name] of HEADERS) {
        const bytes = Buffer.concat([header, Buffer.from('one\n')]);
        for (let split = 1; split < bytes.length; split++) {
          const client = served.connect();
          client.socket.setNoDelay();
          await sent(client, bytes.subarray(0, split));
          await passes(2);
          client.socket.end(bytes.subarray(split));
          assert.is(await client.all(), `${INTRODUCED}, ${name}\none\n`, `${name} split at ${split}`);
        }
      }
      assert.equal([served.errors, served.drops], [[], []]);
    });

    test('serves the proxy when that speaks for itself, or does not know for whom', async (context) => {
      const served = await behindProxies(context);
      for (const header of [
        encodeProxyHeader({ command: 'LOCAL' }),
        encodeProxyHeader({}),
        'PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n',
      ]) {
        const client = served.connect().send(header).end();
        const text = await client.all();
        assert.match(text, new RegExp(`^127\\.0\\.0\\.1:\\d+ at 127\\.0\\.0\\.1:${served.port}, no name\n$`));
      }
    });

    test('serves others as themselves, and takes a header of theirs for data', async (context) => {
      const served = await behindProxies(context, { trustedProxies: ['192.0.2.0/24', '::1', 'unix'] });
      const client = served.connect().end(LINE.toString());
      assert.match(
        await client.all(),
        new RegExp(`^127\\.0\\.0\\.1:\\d+ at 127\\.0\\.0\\.1:${served.port}, no name\n${LINE}$`),
      );
    });

    test('has nobody send a header unless it was told to', async (context) => {
      const served = await serve(context, introduce, { trustedProxies: ['loopback'] });
      assert.match(await served.connect().end('one\n').all(), /^127\.0\.0\.1:\d+ at .*\none\n$/);
    });

    test('verifies the client, not the proxy', async (context) => {
      const seen: string[] = [];
      const dropped: string[] = [];
      const told = signal();
      const verdicts = [true, false, Promise.resolve(true), Promise.resolve(false)];
      const served = await behindProxies(context, {
        verifyRequest: (address) => {
          seen.push(String(address));
          return verdicts.shift() ?? true;
        },
        onDrop: (reason, address) => {
          dropped.push(`${reason} ${address}`);
          if (dropped.length === 2) told.fire();
        },
      });
      const texts: string[] = [];
      for (let round = 0; round < 4; round++) texts.push(await served.connect().send(LINE).end().all());
      await within(5_000, told.promise, 'the second client that is dropped');
      const refused = ['', '[ECONNRESET]'];
      assert.equal([texts[0], texts[2]], Array(2).fill(`${INTRODUCED}, no name\n`));
      assert.ok(
        [texts[1], texts[3]].every((text) => refused.includes(text ?? '')),
        texts.join(),
      );
      assert.equal(seen, Array(4).fill('192.0.2.7:50007'));
      assert.equal(dropped, Array(2).fill('refused 192.0.2.7:50007'));
    });

    test('drops who sends none, at the first byte that shows it', async (context) => {
      const served = await behindProxies(context, { handshakeTimeoutMs: 60_000, maxProxyHeaderSize: 64 });
      for (const bytes of [
        'GET / HTTP/1.1\r\n\r\n',
        'X',
        'PROXY TCP4 nobody nowhere 1 2\r\n',
        encodeProxyHeader({ tlvs: [{ type: 0xe0, value: Buffer.alloc(64) }] }).subarray(0, 16),
      ])
        assert.match(await served.connect().send(bytes).all(), /^(\[ECONNRESET\])?$/);
      assert.match(await served.connect().end('PROXY TCP').all(), /^(\[ECONNRESET\])?$/);
      await served.told(() => served.drops.length === 5);
      assert.equal([served.drops, served.errors], [Array(5).fill('handshake'), []]);
      while (served.server.connections > 0) await nextTurn(context.loop);
    });

    test('drops who is not done with it in time, however many they are', async (context) => {
      const served = await behindProxies(context, { handshakeTimeoutMs: 100 });
      const clients = Array.from({ length: 100 }, (_, index) =>
        served.connect().send(BINARY.subarray(0, index % BINARY.length)),
      );
      for (const client of clients) assert.match(await client.all(), /^(\[ECONNRESET\])?$/);
      await served.told(() => served.drops.length === 100);
      assert.equal([new Set(served.drops), served.errors], [new Set(['handshake']), []]);
      while (served.server.connections > 0) await nextTurn(context.loop);
    });

    test('drops who sends byte for byte, and is not done in time', async (context) => {
      const served = await behindProxies(context, { handshakeTimeoutMs: 50, maxProxyHeaderSize: 65_551 });
      const header = encodeProxyHeader({ tlvs: [{ type: 0xe0, value: Buffer.alloc(65_000) }] });
      const client = served.connect();
      client.socket.setNoDelay();
      for (let at = 0; !client.socket.destroyed; at++) {
        client.socket.write(header.subarray(at, at + 1));
        await passes(1);
      }
      assert.match(await client.all(), /^(\[(ECONNRESET|EPIPE)\])?$/);
      await served.told(() => served.drops.length === 1);
      assert.equal([served.drops, served.errors], [['handshake'], []]);
      while (served.server.connections > 0) await nextTurn(context.loop);
    });

    test('counts those whose header it waits for', async (context) => {
      const served = await behindProxies(context, { maxConnections: 1 });
      const first = served.connect().send(LINE.subarray(0, 9));
      while (served.server.connections < 1) await nextTurn(context.loop);
      assert.match(await served.connect().send(LINE).all(), /^(\[ECONNRESET\])?$/);
      assert.equal(served.drops, ['connections']);
      first.send(LINE.subarray(9)).end();
      assert.is(await first.all(), `${INTRODUCED}, no name\n`);
    });

    test('ends those whose header it waits for when it is closed', async (context) => {
      const served = await behindProxies(context);
      const clients = [served.connect(), served.connect().send(LINE.subarray(0, 9))];
      while (served.server.connections < 2) await nextTurn(context.loop);
      await passes(2);
      await within(5_000, served.server.close({ graceMs: 60_000 }), 'the end of the server');
      for (const client of clients) assert.match(await client.all(), /^(\[ECONNRESET\])?$/);
      assert.equal([served.drops, served.errors], [[], []]);
    });

    test('shakes hands for TLS behind the header', async (context) => {
      const served = await behindProxies(context, { tls: localhost });
      const { socket } = served.connect().send(BINARY);
      const client = new Client(
        connectTls({ socket, ca: authority, servername: 'localhost' }),
        context.defer,
      );
      await client.heard(`${INTRODUCED}, poems.example\n`);
      client.end('one\n');
      assert.is(await client.all(), `${INTRODUCED}, poems.example\none\n`);
      const plain = served.connect().send(LINE).send('no handshake');
      await plain.all();
      await served.told(() => served.drops.length === 1);
      assert.equal([served.drops, served.errors], [['handshake'], []]);
    });

    test('reads the header of what it adopts, once', async (context) => {
      const behind = await behindProxies(context);
      const front = await serve(context, (stream) => behind.server.adopt(stream));
      const forwarded = await behindProxies(context);
      const middle = await serve(context, (stream) => forwarded.server.adopt(stream), {
        proxyProtocol: true,
      });
      for (const served of [front, middle]) {
        const client = served.connect();
        client.socket.end(Buffer.concat([LINE, Buffer.from('one\n')]));
        assert.is(await client.all(), `${INTRODUCED}, no name\none\n`);
      }
      assert.equal([behind.errors, forwarded.errors], [[], []]);
    });

    test('serves one client at a time by handleRequest(), which waits for its header', async (context) => {
      const server = new TCPServer(introduce, { loop: context.loop, proxyProtocol: true });
      context.defer(() => server.close({ graceMs: 0 }));
      const { port } = await server.listen(0, '127.0.0.1', { startServing: false });
      const client = connectTo({ host: '127.0.0.1', port }, context.defer).send(LINE.subarray(0, 9));
      const served = server.handleRequest({ timeoutMs: 5_000 });
      while (server.connections < 1) await nextTurn(context.loop);
      client.send(LINE.subarray(9)).end();
      await within(5_000, served, 'the end of the request');
      assert.is(await client.all(), `${INTRODUCED}, no name\n`);
    });

    test('tells protocols whom they are connected to', async (context) => {
      class Introducing extends Protocol {
        override connectionMade(): void {
          this.transport.write(`${this.transport.getPeer()} at ${this.transport.getHost()}`);
          this.transport.loseConnection();
        }
      }
      const built: string[] = [];
      class Introduced extends Factory {
        override buildProtocol(address: Address): Protocol {
          built.push(String(address));
          return new Introducing();
        }
      }
      const options = { loop: context.loop, interface: '127.0.0.1', proxyProtocol: true };
      await using port = await listenTcp(0, new Introduced(), options);
      const client = connectTo({ host: '127.0.0.1', port: portOf(port.getHost()) }, context.defer).send(LINE);
      assert.is(await client.all(), INTRODUCED);
      assert.equal(built, ['192.0.2.7:50007']);
    });

    test('may be in the Unix domain, where the peer stays the process that connects', async (context) => {
      const directory = mkdtempSync(join(tmpdir(), 'ioloop-proxy-'));
      context.defer(() => rmSync(directory, { recursive: true }));
      const server = new UnixServer(
        (stream) => stream.write(`${stream.remote} by ${stream.peerCredentials().pid}`),
        { loop: context.loop, proxyProtocol: true },
      );
      context.defer(() => server.close({ graceMs: 0 }));
      const path = join(directory, 's');
      await server.listen(path);
      const client = connectTo({ path }, context.defer).send(LINE).end();
      assert.is(await client.all(), `192.0.2.7:50007 by ${process.pid}`);
    });

    test('refuses options that are none', ({ loop }) => {
      for (const options of [
        { proxyProtocol: 'v2' },
        { proxyProtocol: true, trustedProxies: ['localhost'] },
        { proxyProtocol: true, maxProxyHeaderSize: 15 },
      ])
        assert.throws(
          () => Reflect.construct(TCPServer, [introduce, { loop, ...options }]),
          (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'),
        );
    });
  });
