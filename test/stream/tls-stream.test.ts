import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpsServer, request } from 'node:https';
import { type AddressInfo, connect as connectPlain, createServer as createPlainServer } from 'node:net';
import { connect, createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import * as assert from 'uvu/assert';

import { IOStream, type ServerOptions, type StreamHandler, TCPServer, toDuplex } from '../../src/index.ts';
import { authority, client, localhost, other, stranger } from '../support/certificates.ts';
import { tcpFds, turnsUntil } from '../support/streams.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

/** Long enough for the slowest machine; what it covers ends at once. */
const LIMIT_MS = 8_000;

/** A server of ours, closed with the test; its port. */
async function serve({ loop, defer }: TestContext, handler: StreamHandler, options: ServerOptions = {}) {
  const server = new TCPServer(handler, { loop, tls: localhost, ...options });
  const { port } = await server.listen(0, '127.0.0.1');
  defer(() => server.close({ graceMs: 0 }));
  return { server, port };
}

/** A TLS server of Node's that sends back what it gets. */
async function serveNode({ defer }: TestContext, options: TlsOptions = localhost): Promise<number> {
  const sockets = new Set<TLSSocket>();
  const server = createServer(options, (socket) => {
    sockets.add(socket.on('error', () => {}));
    socket.pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  defer(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

/** A client of ours. */
async function dial({ loop, defer }: TestContext, port: number, tls: object = {}): Promise<IOStream> {
  const target = { host: '127.0.0.1', port };
  const options = { loop, timeoutMs: LIMIT_MS, tls: { ca: authority, servername: 'localhost', ...tls } };
  const stream = await within(LIMIT_MS, IOStream.connect(target, options), 'the connection');
  defer(() => {
    stream.abort();
    return stream.whenClosed;
  });
  return stream;
}

const echo: StreamHandler = async (stream) => {
  for await (const chunk of stream) await stream.write(chunk);
};

async function refusal(connecting: Promise<unknown>): Promise<NodeJS.ErrnoException> {
  return within(LIMIT_MS, connecting, 'the refusal').then(
    () => assert.unreachable('the connection succeeded'),
    (error) => error,
  );
}

/** Writes `sent`, ends, and reads what comes back to the end. */
async function roundTrip(stream: IOStream, sent: Buffer): Promise<Buffer> {
  const writing = stream.write(sent).then(() => stream.end());
  const received = stream.readUntilClose({ maxBytes: sent.length });
  const [bytes] = await within(50_000, Promise.all([received, writing]), 'the echo');
  return bytes;
}

suite('TLS streams: echo', { limitMs: 60_000 }, (test) => {
  const sent = randomBytes(count(10, 64) * 1024 * 1024);
  const options = { maxBufferSize: 2 * sent.length };

  test('from ours to Node', async (context) => {
    const port = await serveNode(context);
    const tls = { ca: authority, servername: 'localhost' };
    const stream = await IOStream.connect(
      { host: '127.0.0.1', port },
      { loop: context.loop, tls, ...options },
    );
    assert.ok(stream.encrypted);
    assert.ok((await roundTrip(stream, sent)).equals(sent));
    await within(5_000, stream.whenClosed, 'the close');
  });

  test('from Node to ours, past a reader that is slow', async (context) => {
    const { port } = await serve(context, echo);
    const socket = connect({ port, host: '127.0.0.1', ca: authority, servername: 'localhost' });
    context.defer(() => socket.destroy());
    socket.end(sent);
    const received: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => {
      received.push(chunk);
      socket.pause();
      setImmediate(() => socket.resume());
    });
    await within(50_000, once(socket, 'end'), 'the end');
    assert.ok(Buffer.concat(received).equals(sent));
  });

  test('from ours to ours', async (context) => {
    const { port } = await serve(context, echo);
    const tls = { ca: authority, servername: 'localhost' };
    const stream = await IOStream.connect(
      { host: '127.0.0.1', port },
      { loop: context.loop, tls, ...options },
    );
    assert.ok((await roundTrip(stream, sent)).equals(sent));
    await within(5_000, stream.whenClosed, 'the close');
  });

  test('line by line, many in one record', async (context) => {
    const { port } = await serve(context, async (stream) => {
      for (;;) void stream.write(await stream.readUntil('\n'));
    });
    const stream = await dial(context, port);
    const lines = Array.from({ length: 1000 }, (_, index) => `line ${index}\n`);
    void stream.write(lines.join(''));
    for (const line of lines) assert.is(String(await within(5_000, stream.readUntil('\n'), 'a line')), line);
  });
});

suite('TLS streams: what is agreed', (test) => {
  test('the certificate by the name that was asked for, the protocol by ALPN', async (context) => {
    const SNICallback: TlsOptions['SNICallback'] = async (name, done) => {
      const { createSecureContext } = await import('node:tls');
      done(null, name === 'other.example' ? createSecureContext(other) : undefined);
    };
    const tls = { ...localhost, SNICallback, ALPNProtocols: ['b', 'a'] };
    const { port } = await serve(context, (stream) => stream.end(`${stream.alpnProtocol}`), { tls });
    const named = await dial(context, port, { servername: 'other.example', ALPNProtocols: ['a', 'b'] });
    assert.is(named.alpnProtocol, 'b');
    assert.is(String(await within(5_000, named.readUntilClose(), "the server's word")), 'b');
    const plain = await dial(context, port);
    assert.is(plain.alpnProtocol, null);
    assert.is(String(await within(5_000, plain.readUntilClose(), "the server's word")), 'null');
  });

  test('a client without a good certificate meets no handler', async (context) => {
    let served = 0;
    const dropped: string[] = [];
    const tls = { ...localhost, ca: authority, requestCert: true };
    const { port } = await serve(context, (stream) => void (served++ || stream.write('welcome')), {
      tls,
      onDrop: (reason) => dropped.push(reason),
    });
    // In TLS 1.3 the client is done before the server has seen its certificate.
    for (const identity of [stranger, {}]) {
      const stream = await dial(context, port, identity);
      await refusal(stream.readBytes(1));
    }
    assert.is(served, 0);
    assert.equal(dropped, ['handshake', 'handshake']);
    const stream = await dial(context, port, client);
    assert.is(String(await within(5_000, stream.readBytes(7), 'the welcome')), 'welcome');
  });

  test('a server that nobody vouches for, or of another name, is refused', async (context) => {
    assert.is(
      (await refusal(dial(context, await serveNode(context, stranger)))).code,
      'DEPTH_ZERO_SELF_SIGNED_CERT',
    );
    const elsewhere = await serveNode(context, other);
    assert.is((await refusal(dial(context, elsewhere))).code, 'ERR_TLS_CERT_ALTNAME_INVALID');
  });

  test('new certificates are for new connections', async (context) => {
    const { server, port } = await serve(context, echo);
    const before = await dial(context, port);
    server.setTls(other);
    assert.is((await refusal(dial(context, port))).code, 'ERR_TLS_CERT_ALTNAME_INVALID');
    await dial(context, port, { servername: 'other.example' });
    void before.write('still here');
    assert.is(String(await within(5_000, before.readBytes(10), 'the echo')), 'still here');
  });
});

suite('TLS streams: the ends', (test) => {
  test('end() ends one half, and the answer to it comes', async (context) => {
    const { port } = await serve(
      context,
      async (stream) => {
        const question = await stream.readUntilClose();
        await stream.write(`${question}!`);
      },
      { tls: localhost, allowHalfOpen: true },
    );
    const stream = await dial(context, port);
    await stream.end('question');
    assert.is(String(await within(5_000, stream.readUntilClose(), 'the answer')), 'question!');
  });

  test('close() delivers what was written', async (context) => {
    const sent = randomBytes(4 * 1024 * 1024);
    const { port } = await serve(context, (stream) => {
      void stream.write(sent);
      void stream.close();
    });
    const stream = await dial(context, port);
    const received: Buffer[] = [];
    const reading = (async () => {
      for await (const chunk of stream) received.push(chunk);
    })();
    await within(8_000, reading, 'the end');
    assert.ok(Buffer.concat(received).equals(sent));
  });

  test('a reset ends both, by its name', async (context) => {
    const { port } = await serve(context, (stream) => stream.abort());
    const stream = await dial(context, port);
    await within(
      5_000,
      stream.readUntilClose().catch(() => {}),
      'the end',
    );
    await within(5_000, stream.whenClosed, 'the close');
    assert.is((stream.error as NodeJS.ErrnoException).code, 'ECONNRESET');
  });
});

suite('TLS streams: handshakes that do not end', (test) => {
  test('a silent client is dropped at the deadline', async (context) => {
    const dropped = new Promise<string>((resolve) => {
      void serve(context, echo, { handshakeTimeoutMs: 30, onDrop: resolve }).then(({ port }) => {
        const socket = connectPlain(port, '127.0.0.1').on('error', () => {});
        context.defer(() => socket.destroy());
      });
    });
    assert.is(await within(5_000, dropped, 'the drop'), 'handshake');
  });

  test('a silent server is given up, and its connection closed', async (context) => {
    const server = createPlainServer().listen(0, '127.0.0.1');
    context.defer(() => new Promise((resolve) => server.close(resolve)));
    await once(server, 'listening');
    const closed = once(server, 'connection').then(([socket]) => once(socket.resume(), 'close'));
    const { port } = server.address() as AddressInfo;
    const options = { loop: context.loop, tls: true, timeoutMs: 100 } as const;
    const error = await refusal(IOStream.connect({ host: '127.0.0.1', port }, options));
    assert.is(error.code, 'ERR_IOLOOP_TIMEOUT');
    await within(5_000, closed, "the server's close");
  });
});

suite('TLS streams: STARTTLS', (test) => {
  test('secures both sides of a connection that is under way', async (context) => {
    const { port } = await serve(
      context,
      async (plain) => {
        assert.is(String(await plain.readUntil('\n')), 'STARTTLS\n');
        await plain.write('GO\n');
        await echo(await plain.startTls({ server: true, ...localhost, timeoutMs: LIMIT_MS }), plain.remote);
      },
      { tls: undefined },
    );
    const plain = await IOStream.connect({ host: '127.0.0.1', port }, { loop: context.loop });
    await plain.write('STARTTLS\n');
    assert.is(String(await within(5_000, plain.readUntil('\n'), 'the word')), 'GO\n');
    const secure = await plain.startTls({ ca: authority, servername: 'localhost', timeoutMs: LIMIT_MS });
    await secure.write('secret');
    assert.is(String(await within(5_000, secure.readBytes(6), 'the echo')), 'secret');
    assert.ok(secure.encrypted);
    assert.throws(() => secure.detach(), /TLS/);
    await within(5_000, secure.close(), 'the close');
    await within(5_000, plain.whenClosed, 'the close of the plain stream');
  });

  test('is refused while plaintext is unread: it may have been injected', async (context) => {
    const refused = new Promise<unknown>((resolve) => {
      const handler: StreamHandler = async (plain) => {
        await plain.readUntil('\n');
        resolve(await refusal(plain.startTls({ server: true, ...localhost })));
      };
      void serve(context, handler, { tls: undefined }).then(({ port }) => {
        const socket = connectPlain(port, '127.0.0.1').on('error', () => {});
        context.defer(() => socket.destroy());
        socket.write('STARTTLS\nMAIL FROM:<mallory>\n');
      });
    });
    const error = (await within(5_000, refused, 'the refusal')) as NodeJS.ErrnoException;
    assert.is(error.code, 'ERR_IOLOOP_INVALID_STATE');
  });
});

suite('TLS streams: as a Node stream', (test) => {
  test('node:https asks over one, and node:http answers over another', async (context) => {
    const http = createHttpsServer(localhost, ({ socket }, response) => {
      response.end(String('encrypted' in socket && socket.encrypted));
    });
    const { port } = await serve(context, (stream) => void http.emit('secureConnection', toDuplex(stream)));
    http.emit('listening');
    context.defer(() => void http.close());
    const sent = request({ port, host: '127.0.0.1', ca: authority, servername: 'localhost', agent: false });
    sent.end();
    const [response] = await within(5_000, once(sent, 'response'), 'the head');
    const [body] = await within(5_000, once(response.setEncoding('utf8'), 'data'), 'the body');
    assert.is(body, 'true');
  });
});

suite('TLS streams: a peer that takes nothing any more', { limitMs: 20_000 }, (test) => {
  // What the session has taken by then, and the stream below, is no longer in the queue.
  for (const behind of [1, 30_000, 60_000])
    test(`holds close() up for closeTimeoutMs, with ${behind} bytes behind`, async (context) => {
      const { loop } = context;
      const [left, right] = tcpFds();
      const plain = IOStream.fromFd(left, { loop, closeTimeoutMs: 200 });
      const peer = IOStream.fromFd(right, { loop });
      const [stream, reader] = await Promise.all([
        plain.startTls({ server: true, ...localhost }),
        peer.startTls({ ca: authority, servername: 'localhost' }),
      ]);
      context.defer(async () => {
        peer.abort();
        stream.abort();
        await stream.whenClosed;
      });
      reader.pause();
      peer.pause();
      // What the kernel has not taken after some turns, it does not take.
      for (let turns = 0; turns < 8; turns = plain.bytesQueued > 0 ? turns + 1 : 0) {
        if (plain.bytesQueued === 0) void stream.write(Buffer.alloc(8_000));
        await nextTurn(loop);
      }
      void stream.write(Buffer.alloc(behind));
      await turnsUntil(loop, () => stream.isIdle);
      await within(LIMIT_MS, stream.close(), 'the close');
      assert.is(plain.fd, -1);
    });
});
