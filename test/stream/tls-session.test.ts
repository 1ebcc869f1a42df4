import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import {
  type ConnectionOptions,
  connect,
  createSecureContext,
  createServer as createTlsServer,
  type TlsOptions,
} from 'node:tls';
import * as assert from 'uvu/assert';

import { deferred } from '../../src/deferred.ts';
import { IOStream, Ready, type StreamDuplex, toDuplex } from '../../src/index.ts';
import { createServerContext, TlsSession } from '../../src/stream/tls-session.ts';
import { authority, client, localhost, other, stranger } from '../support/certificates.ts';
import { runSource } from '../support/child.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { passes } from '../support/turns.ts';
import { within } from '../support/within.ts';

const TRUST: ConnectionOptions = { ca: authority, host: 'localhost' };

/** What a test does with the other end of the connection. */
type Peer = (socket: Socket) => void;

/** A plain stream to `peer`, which is called once both are connected, in an adapter; closed with the test. */
async function duplexTo(context: TestContext, peer: Peer): Promise<StreamDuplex> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  const { port } = server.address() as AddressInfo;
  const stream = await IOStream.connect({ host: '127.0.0.1', port }, { loop: context.loop });
  const [socket] = (await within(5_000, accepted, 'the connection')) as [Socket];
  context.defer(async () => {
    stream.abort();
    socket.destroy();
    await stream.whenClosed;
    await new Promise((resolve) => server.close(resolve));
  });
  peer(socket.on('error', () => {}));
  return toDuplex(stream);
}

/** Our client, to a server of Node's with `options`; the server's own socket is given to `peer`. */
async function clientOf(context: TestContext, options: TlsOptions, own: ConnectionOptions, peer?: Peer) {
  const server = createTlsServer(options, (socket) => {
    socket.on('error', () => {});
    if (peer) peer(socket);
    else socket.pipe(socket);
  });
  server.on('tlsClientError', () => {});
  const duplex = await duplexTo(context, (socket) => server.emit('connection', socket));
  const session = TlsSession.client(duplex, { ...TRUST, ...own }, { timeoutMs: 5_000 });
  return within(8_000, session, 'the handshake');
}

/** Our server with `options`, and a client of Node's. */
async function serverOf(
  context: TestContext,
  options: TlsOptions,
  own: ConnectionOptions = {},
  secured?: Peer,
) {
  const peer = deferred<Socket>();
  let reset = (): void => {};
  const duplex = await duplexTo(context, (socket) => {
    const client = connect({ ...TRUST, ...own, socket }).on('error', () => {});
    client.once('secureConnect', () => secured?.(client));
    reset = () => void socket.resetAndDestroy();
    peer.resolve(client);
  });
  const handshake = TlsSession.server(duplex, createServerContext(options), { timeoutMs: 5_000 });
  const session = await within(8_000, handshake, 'the handshake');
  return { session, peer: await peer.promise, reset };
}

/** Reads to the end, as a stream does: until null, then waits to be told. */
function readAll(session: TlsSession): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const target = Buffer.alloc(7_919);
  return new Promise((resolve, reject) => {
    const read = (): void => {
      let size = session.read(target);
      for (; size !== null && size > 0; size = session.read(target))
        chunks.push(Buffer.from(target.subarray(0, size)));
      if (size === 0) resolve(Buffer.concat(chunks));
      else if (session.error !== null) reject(session.error);
    };
    listen(session, Ready.READ | Ready.ERROR, read);
  });
}

/** Writes all of `bytes` and ends, as a stream does: until null, then waits to be told. */
function writeAll(session: TlsSession, bytes: Buffer): Promise<void> {
  let at = 0;
  return new Promise((resolve) => {
    const write = (): void => {
      while (at < bytes.length) {
        const size = session.write(bytes.subarray(at, at + 50_000));
        if (size === null) return;
        at += size;
      }
      if (session.unflushed > 0) return;
      session.shutdown();
      resolve();
    };
    listen(session, Ready.WRITE, write);
  });
}

const listeners = new WeakMap<TlsSession, Map<number, () => void>>();

/** Calls each listener of `session` for its own bits. */
function listen(session: TlsSession, bits: number, listener: () => void): void {
  const all = listeners.get(session) ?? new Map<number, () => void>();
  listeners.set(session, all.set(bits, listener));
  session.onReady = (events) => {
    for (const [wanted, told] of all) if ((events & wanted) !== 0) told();
  };
}

/** How a handshake was refused. */
async function refusal(session: Promise<unknown>): Promise<NodeJS.ErrnoException> {
  return within(8_000, session, 'the refusal').then(
    () => assert.unreachable('the handshake succeeded'),
    (error) => error,
  );
}

suite('TLS session: handshake', (test) => {
  test('of a client verifies the name of the server and tells what was agreed', async (context) => {
    const session = await clientOf(
      context,
      { ...localhost, ALPNProtocols: ['h2', 'line'] },
      { ALPNProtocols: ['line'] },
    );
    assert.ok(session.authorized);
    assert.is(session.alpnProtocol, 'line');
    assert.is(session.error, null);
  });

  test('of a server chooses the certificate by name', async (context) => {
    const SNICallback: TlsOptions['SNICallback'] = (name, done) =>
      void passes(2).then(() =>
        done(null, name === 'other.example' ? createSecureContext(other) : undefined),
      );
    const options = { ...localhost, SNICallback };
    const named = await serverOf(context, options, { servername: 'other.example' });
    assert.is(named.session.servername, 'other.example');
    const unnamed = await serverOf(context, options, { servername: '' });
    assert.is(unnamed.session.servername, null);
    assert.is(unnamed.session.alpnProtocol, null);
  });

  test('of a server chooses the protocol of the connection', async (context) => {
    const ALPNCallback = ({ protocols }: { protocols: string[] }): string | undefined => protocols[1];
    const { session } = await serverOf(
      context,
      { ...localhost, ALPNCallback },
      { ALPNProtocols: ['a', 'b'] },
    );
    assert.is(session.alpnProtocol, 'b');
  });

  test('rejects a server that nobody vouches for', async (context) => {
    const error = await refusal(clientOf(context, stranger, {}));
    assert.is(error.code, 'DEPTH_ZERO_SELF_SIGNED_CERT');
  });

  test('rejects a server of another name', async (context) => {
    const error = await refusal(clientOf(context, other, {}));
    assert.is(error.code, 'ERR_TLS_CERT_ALTNAME_INVALID');
  });

  test('sends no IP address as a name, and verifies it', async (context) => {
    let sent: string | undefined;
    const SNICallback: TlsOptions['SNICallback'] = (name, done) => {
      sent = name;
      done(null);
    };
    const session = await clientOf(context, { ...localhost, SNICallback }, { host: '127.0.0.1' });
    assert.ok(session.authorized);
    assert.is(sent, undefined);
    assert.is(
      (await refusal(clientOf(context, localhost, { host: '127.0.0.2' }))).code,
      'ERR_TLS_CERT_ALTNAME_INVALID',
    );
  });

  test('takes a client with a good certificate, and none without', async (context) => {
    const options = { ...localhost, ca: authority, requestCert: true };
    const { session } = await serverOf(context, options, client);
    assert.ok(session.authorized);
    assert.is(session.socket.getPeerCertificate().subject.CN, 'a client');
    const bad = await refusal(serverOf(context, options, stranger));
    assert.match(bad.message, 'DEPTH_ZERO_SELF_SIGNED_CERT');
    const none = await refusal(serverOf(context, options));
    assert.is(none.code, 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE');
  });

  test('takes any client where that is asked for, and tells', async (context) => {
    const options = { ...localhost, ca: authority, requestCert: true, rejectUnauthorized: false };
    const { session } = await serverOf(context, options, stranger);
    assert.not(session.authorized);
  });

  test('ends at its deadline when the peer is silent', async (context) => {
    const duplex = await duplexTo(context, () => {});
    const error = await refusal(TlsSession.client(duplex, TRUST, { timeoutMs: 30 }));
    assert.is(error.code, 'ERR_IOLOOP_TIMEOUT');
    assert.ok(duplex.destroyed);
    const silent = await duplexTo(context, () => {});
    const refused = await refusal(
      TlsSession.server(silent, createServerContext(localhost), { timeoutMs: 30 }),
    );
    assert.is(refused.code, 'ERR_IOLOOP_TIMEOUT');
    assert.is(context.loop.metrics().timers, 0);
  });

  test('ends by its signal, before and during', async (context) => {
    const duplex = await duplexTo(context, () => {});
    const controller = new AbortController();
    const waiting = refusal(TlsSession.client(duplex, TRUST, { signal: controller.signal }));
    controller.abort(new Error('changed my mind'));
    const error = await waiting;
    assert.is(error.name, 'AbortError');
    assert.is((error.cause as Error).message, 'changed my mind');
    const { signal } = controller;
    assert.is(
      (await refusal(TlsSession.client(await duplexTo(context, () => {}), TRUST, { signal }))).name,
      'AbortError',
    );
  });

  test('fails when the peer resets, ends, or speaks another language', async (context) => {
    const shared = createServerContext(localhost);
    const peers: [Peer, string][] = [
      [(socket) => socket.resetAndDestroy(), 'ECONNRESET'],
      [(socket) => socket.end(), 'ECONNRESET'],
      [(socket) => socket.write('GET / HTTP/1.1\r\n\r\n'), 'ERR_SSL_HTTP_REQUEST'],
    ];
    for (const [peer, code] of peers) {
      const duplex = await duplexTo(context, peer);
      assert.is((await refusal(TlsSession.server(duplex, shared, {}))).code, code);
      assert.ok(duplex.destroyed);
    }
    for (const [peer, code] of peers.slice(0, 2)) {
      const duplex = await duplexTo(context, peer);
      assert.is((await refusal(TlsSession.client(duplex, TRUST, {}))).code, code);
      assert.ok(duplex.destroyed);
    }
  });

  test('of many connections at once tells each its own', async (context) => {
    const shared = createServerContext({
      ...localhost,
      ALPNProtocols: ['0', '1', '2', '3', '4', '5', '6', '7'],
    });
    const sessions = Array.from({ length: 8 }, async (_, index) => {
      const ALPNProtocols = [String(index)];
      const duplex = await duplexTo(
        context,
        (socket) => void connect({ ...TRUST, ALPNProtocols, socket }).on('error', () => {}),
      );
      return TlsSession.server(duplex, shared, { timeoutMs: 5_000 });
    });
    const agreed = (await within(8_000, Promise.all(sessions), 'the handshakes')).map(
      (each) => each.alpnProtocol,
    );
    assert.equal(agreed, ['0', '1', '2', '3', '4', '5', '6', '7']);
  });

  test('refuses a bad certificate when the context is made', () => {
    assert.throws(() => createServerContext({ ...localhost, key: other.key }), /key values mismatch/);
  });
});

suite('TLS session: reading and writing', { limitMs: 60_000 }, (test) => {
  test('carries random bytes both ways past a slow reader, and ends', async (context) => {
    const sent = randomBytes(count(4, 32) * 1024 * 1024);
    const session = await clientOf(context, localhost, {}, (socket) => {
      socket.on('data', (chunk) => {
        socket.write(chunk);
        socket.pause();
        setImmediate(() => socket.resume());
      });
      socket.on('end', () => socket.end());
    });
    const [received] = await within(
      50_000,
      Promise.all([readAll(session), writeAll(session, sent)]),
      'the echo',
    );
    assert.ok(received.equals(sent));
  });

  test('holds the peer back while nobody reads', async (context) => {
    const { session, peer } = await serverOf(context, localhost);
    peer.write(randomBytes(32 * 1024 * 1024));
    session.onReady = () => {};
    await passes(200);
    const { bytesRead } = session.socket;
    assert.ok(bytesRead < 4 * 1024 * 1024, `${bytesRead} bytes were read`);
  });

  test('copies what it takes, and takes no second write before that', async (context) => {
    const { session, peer } = await serverOf(context, localhost);
    const first = once(peer, 'data');
    const source = Buffer.from('before');
    assert.is(session.write(source), 6);
    assert.ok(session.unflushed >= 6);
    source.fill('x');
    assert.is(session.write(source), null);
    const [data] = await within(5_000, first, 'the data');
    assert.is(String(data), 'before');
    const written = new Promise<void>((resolve) =>
      listen(session, Ready.WRITE, () => void (session.unflushed === 0 && resolve())),
    );
    await within(5_000, written, 'the word that it is written');
    assert.is(session.write(Buffer.alloc(0)), 0);
    assert.is(session.write(source), 6);
  });

  test('reads the end after all before it, and writes on', async (context) => {
    const { session, peer } = await serverOf(context, localhost);
    const answer = once(peer, 'data');
    peer.end('question');
    assert.is(String(await within(5_000, readAll(session), 'the end')), 'question');
    assert.is(session.read(Buffer.alloc(1)), 0);
    session.write(Buffer.from('answer'));
    assert.is(String((await within(5_000, answer, 'the answer'))[0]), 'answer');
  });

  test('ends its half and reads on', async (context) => {
    const session = await clientOf(context, localhost, {}, (socket) => {
      socket.resume().on('end', () => socket.end('late answer'));
      socket.allowHalfOpen = true;
    });
    session.shutdown();
    assert.is(String(await within(5_000, readAll(session), 'the answer')), 'late answer');
  });

  test('tells of a reset, with what was decrypted before it', async (context) => {
    const { session, reset } = await serverOf(context, localhost, {}, (peer) => peer.write('last words'));
    const target = Buffer.alloc(16);
    const told = (bit: number): Promise<void> => new Promise((resolve) => listen(session, bit, resolve));
    await within(5_000, told(Ready.READ), 'a first word');
    const failed = told(Ready.ERROR);
    while (session.socket.readableLength === 0) await passes(1);
    reset();
    await within(5_000, failed, 'the error');
    assert.is((session.error as NodeJS.ErrnoException).code, 'ECONNRESET');
    assert.is(session.read(target), 10);
    assert.is(session.read(target), null);
    assert.is(session.write(target), null);
  });

  test('tells when the stream below is closed under it', async (context) => {
    const duplex = await duplexTo(context, (socket) => {
      connect({ ...TRUST, socket }).on('error', () => {});
    });
    const shared = createServerContext(localhost);
    const session = await within(8_000, TlsSession.server(duplex, shared, {}), 'the handshake');
    const failed = new Promise<void>((resolve) => listen(session, Ready.ERROR, resolve));
    duplex.destroy();
    await within(5_000, failed, 'the error');
    assert.is((session.error as NodeJS.ErrnoException).code, 'ECONNRESET');
  });
});

suite('TLS: loading', (test) => {
  test('an import of the package loads no TLS', async () => {
    const source = `
      const before = new Set(process.moduleLoadList);
      await import('./src/index.ts');
      const loaded = process.moduleLoadList.filter((name) => !before.has(name) && /tls/.test(name));
      console.log(JSON.stringify([before.has('NativeModule _tls_wrap'), loaded]));`;
    const { stdout, stderr } = await runSource(source);
    assert.is(stdout.trim(), '[false,[]]', stderr);
  });
});
