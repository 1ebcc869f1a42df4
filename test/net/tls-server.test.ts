import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import * as assert from 'uvu/assert';

import { IOLoop, IOLoopError, IOStream, TCPServer } from '../../src/index.ts';
import { authority, localhost, other, stranger } from '../support/certificates.ts';
import { Client } from '../support/clients.ts';
import { signal } from '../support/driven.ts';
import { type Served, serve } from '../support/servers.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

/** A client of node:tls, which trusts the authority of these tests. */
function connectSecurely(
  { port }: Served,
  defer: TestContext['defer'],
  options: ConnectionOptions = {},
): Client {
  return new Client(
    connectTls({ host: '127.0.0.1', port, ca: authority, servername: 'localhost', ...options }),
    defer,
  );
}

/** Connects by a stream of ours. */
function openSecurely({ port }: Served, servername = 'localhost'): Promise<IOStream> {
  return IOStream.connect({ host: '127.0.0.1', port }, { tls: { ca: authority, servername } });
}

/** Echoes lines. */
async function echoLines(stream: IOStream): Promise<void> {
  for (;;) await stream.write(await stream.readUntil('\n'));
}

function isKeyError(error: Error): boolean {
  return 'code' in error && String(error.code).startsWith('ERR_OSSL');
}

/** What `promise` rejects with. */
async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await within(5_000, promise, 'the refusal');
  } catch (error) {
    return error;
  }
  return assert.unreachable('it was allowed');
}

for (const backend of IOLoop.backends)
  suite(`a TLS server on ${backend}`, { backend, limitMs: 20_000 }, (test) => {
    test('calls its handler after the handshake', async (context) => {
      const streams: IOStream[] = [];
      const served = await serve(
        context,
        (stream, address) => {
          streams.push(stream);
          assert.is(String(address), String(stream.remote));
          return echoLines(stream);
        },
        { tls: localhost },
      );
      const client = connectSecurely(served, context.defer).send('one\n');
      await client.heard('one\n');
      assert.equal(
        streams.map(({ encrypted, alpnProtocol }) => [encrypted, alpnProtocol]),
        [[true, null]],
      );
      assert.is(served.server.connections, 1);
      client.end('two\n');
      assert.is(await client.all(), 'one\ntwo\n');
      while (served.server.connections > 0) await nextTurn(context.loop);
      assert.equal([served.errors, served.drops], [[], []]);
    });

    test('delivers all that its handler wrote before it was done', async (context) => {
      const text = 'x'.repeat(3 * 1024 * 1024);
      const served = await serve(context, (stream) => stream.write(text), { tls: localhost });
      assert.is((await connectSecurely(served, context.defer).all()).length, text.length);
    });

    test('agrees on a protocol, and shows each name its certificate', async (context) => {
      const protocols: (string | null)[] = [];
      const { createSecureContext } = process.getBuiltinModule('node:tls');
      const served = await serve(
        context,
        async (stream) => {
          protocols.push(stream.alpnProtocol);
        },
        {
          tls: {
            ...localhost,
            ALPNProtocols: ['chat', 'http/1.1'],
            SNICallback: (name, done) =>
              done(null, name === 'other.example' ? createSecureContext(other) : undefined),
          },
        },
      );
      const client = connectSecurely(served, context.defer, { ALPNProtocols: ['http/1.1', 'chat'] });
      assert.is(await client.all(), '');
      const second = connectSecurely(served, context.defer, { servername: 'other.example' });
      assert.is(await second.all(), '');
      assert.equal(protocols, ['chat', null]);
    });

    test('drops who shakes no hands in time', async (context) => {
      const served = await serve(context, echoLines, { tls: localhost, handshakeTimeoutMs: 50 });
      const silent = served.connect();
      assert.match(await silent.all(), /^(\[ECONNRESET\])?$/);
      await served.told(() => served.drops.length > 0);
      assert.equal([served.drops, served.errors, served.server.connections], [['handshake'], [], 0]);
    });

    test('drops who speaks no TLS, who leaves, and who does not trust it', async (context) => {
      const served = await serve(context, echoLines, { tls: stranger });
      await served.connect().send('GET / HTTP/1.1\r\n\r\n').all();
      await served.told(() => served.drops.length === 1);
      const leaver = served.connect();
      while (served.server.connections === 0) await nextTurn(context.loop);
      leaver.reset();
      await served.told(() => served.drops.length === 2);
      assert.match(
        await connectSecurely(served, context.defer).all(),
        /\[.*(SELF_SIGNED|UNABLE_TO_VERIFY).*\]$/,
      );
      while (served.server.connections > 0) await nextTurn(context.loop);
      assert.equal(new Set(served.drops), new Set(['handshake']));
      assert.equal(served.errors, []);
    });

    test('tells a client whom it refuses why', async (context) => {
      const served = await serve(context, echoLines, { tls: { ...localhost, minVersion: 'TLSv1.3' } });
      const client = connectSecurely(served, context.defer, { maxVersion: 'TLSv1.2' });
      assert.is(await client.all(), '[ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION]');
      while (served.server.connections > 0) await nextTurn(context.loop);
      assert.equal([served.drops, served.errors], [['handshake'], []]);
    });

    test('begins a few handshakes a turn, serves everybody in the end, and warns of nothing', async (context) => {
      const warnings: Error[] = [];
      const onWarning = (warning: Error): void => void warnings.push(warning);
      process.on('warning', onWarning);
      context.defer(() => process.off('warning', onWarning));
      const served = await serve(context, echoLines, { tls: localhost });
      const clients = Array.from({ length: 40 }, () => connectSecurely(served, context.defer).send('one\n'));
      await Promise.all(clients.map((client) => client.heard('one\n')));
      assert.is(served.server.connections, 40);
      assert.equal(warnings, []);
    });

    test('takes new certificates for new connections', async (context) => {
      const served = await serve(context, echoLines, { tls: localhost });
      const before = connectSecurely(served, context.defer).send('one\n');
      await before.heard('one\n');
      served.server.setTls(other);
      const after = connectSecurely(served, context.defer, { servername: 'other.example' }).send('two\n');
      await after.heard('two\n');
      before.send('still here\n');
      await before.heard('still here\n');
      assert.throws(() => served.server.setTls({ ...other, key: 'no key' }), isKeyError);
      const third = connectSecurely(served, context.defer, { servername: 'other.example' }).send('three\n');
      await third.heard('three\n');
    });

    test('refuses a key that is none when it is made', ({ loop }) => {
      assert.throws(
        () => new TCPServer(() => {}, { loop, tls: { ...localhost, key: 'no key' } }),
        isKeyError,
      );
    });

    test('closes: the idle at once, the busy when they are done, handshakes never', async (context) => {
      const gate = signal();
      const served = await serve(
        context,
        async (stream) => {
          for (;;) {
            const line = (await stream.readUntil('\n')).toString();
            if (line === 'later\n') await gate.promise;
            void stream.write(line);
          }
        },
        { tls: localhost },
      );
      const idle = connectSecurely(served, context.defer).send('one\n');
      await idle.heard('one\n');
      const busy = connectSecurely(served, context.defer).send('one\nlater\n');
      await busy.heard('one\n');
      const silent = served.connect();
      while (served.server.connections < 3) await nextTurn(context.loop);
      const closed = served.server.close({ graceMs: 60_000 });
      assert.is(await idle.all(), 'one\n');
      await silent.all();
      gate.fire();
      assert.is(await busy.all(), 'one\nlater\n');
      await within(5_000, closed, 'the end of the server');
      assert.equal([served.drops, served.errors], [[], []]);
    });

    test('aborts the busy when the time is over, and those who do not take their last bytes', async (context) => {
      const served = await serve(
        context,
        async (stream) => {
          const line = (await stream.readUntil('\n')).toString();
          void stream.write(Buffer.alloc(8 * 1024 * 1024));
          if (line === 'stay\n') await new Promise(() => {});
        },
        { tls: localhost },
      );
      for (const line of ['stay\n', 'go\n']) {
        const client = connectSecurely(served, context.defer).send(line);
        client.socket.pause();
      }
      while (context.loop.metrics().bytesQueued < 2 * 1024 * 1024) await nextTurn(context.loop);
      await within(5_000, served.server.close({ graceMs: 50 }), 'the end of the server');
      assert.is(served.server.connections, 0);
    });

    test('secures what it adopts, and what is unread of it begins the handshake', async (context) => {
      const secured = await serve(context, echoLines, { tls: localhost });
      const sniffing = await serve(context, async (stream) => {
        const [first = 0] = await stream.readBytes(1);
        stream.unshift(Buffer.of(first));
        // A handshake, RFC 8446, 5.1.
        assert.is(first, 0x16);
        secured.server.adopt(stream);
      });
      const client = connectSecurely(sniffing, context.defer).send('one\n');
      await client.heard('one\n');
      assert.equal([sniffing.server.connections, secured.server.connections], [0, 1]);
      client.end();
      await client.all();
      while (secured.server.connections > 0) await nextTurn(context.loop);
    });

    test('hands a stream that it has decrypted to another', async (context) => {
      const inner = await serve(context, echoLines);
      const outer = await serve(context, (stream) => inner.server.adopt(stream), { tls: localhost });
      const client = connectSecurely(outer, context.defer).send('one\n');
      await client.heard('one\n');
      assert.equal([outer.server.connections, inner.server.connections], [0, 1]);
      const closed = inner.server.close({ graceMs: 60_000 });
      assert.is(await client.all(), 'one\n');
      await within(5_000, closed, 'the end of the inner server');
    });
  });

for (const backend of IOLoop.backends)
  suite(`startTls on ${backend}`, { backend, limitMs: 20_000 }, (test) => {
    /** Says STARTTLS and goes on under TLS. */
    async function upgrade(stream: IOStream): Promise<IOStream> {
      assert.is((await stream.readUntil('\n')).toString(), 'STARTTLS\n');
      await stream.write('go ahead\n');
      return stream.startTls({ server: true, ...localhost });
    }

    /** The client's part of it. */
    async function upgraded({ port }: Served): Promise<IOStream> {
      const stream = await IOStream.connect({ host: '127.0.0.1', port });
      void stream.write('STARTTLS\n');
      assert.is((await stream.readUntil('\n')).toString(), 'go ahead\n');
      return stream.startTls({ ca: authority, servername: 'localhost' });
    }

    test('secures a connection that is under way, at both ends', async (context) => {
      const served = await serve(context, async (stream) => echoLines(await upgrade(stream)));
      const stream = await upgraded(served);
      void stream.write('one\n');
      assert.is((await stream.readUntil('\n')).toString(), 'one\n');
      assert.ok(stream.encrypted);
      assert.is(served.server.connections, 1);
      await stream.close();
      while (served.server.connections > 0) await nextTurn(context.loop);
      assert.equal(served.errors, []);
    });

    test('has the handler hold the stream that goes on', async (context) => {
      const gate = signal();
      const served = await serve(context, async (stream) => {
        const secured = await upgrade(stream);
        const line = await secured.readUntil('\n');
        await gate.promise;
        await secured.write(line);
        await secured.close();
      });
      const stream = await upgraded(served);
      void stream.end('asked, and ended\n');
      const closed = served.server.close({ graceMs: 60_000 });
      for (let turn = 0; turn < 20; turn++) await nextTurn(context.loop);
      gate.fire();
      assert.is(
        (await within(5_000, stream.readUntilClose(), 'the answer')).toString(),
        'asked, and ended\n',
      );
      await within(5_000, closed, 'the end of the server');
      await stream.close();
    });

    test('leaves a stream that has a listener to it', async (context) => {
      const served = await serve(context, async (stream) => {
        const secured = await upgrade(stream);
        secured.onData((chunk) => secured.write(chunk));
      });
      const stream = await upgraded(served);
      void stream.write('one\n');
      assert.is((await stream.readUntil('\n')).toString(), 'one\n');
      const closed = served.server.close({ graceMs: 60_000 });
      assert.is((await stream.readUntilClose()).length, 0);
      await within(5_000, closed, 'the end of the server');
      await stream.close();
    });

    test('is refused while plaintext is unread', async (context) => {
      const refused = signal<unknown>();
      const served = await serve(context, async (stream) => {
        await stream.readUntil('\n');
        refused.fire(await rejection(stream.startTls({ server: true, ...localhost })));
      });
      const client = served.connect().send('STARTTLS\ninjected command\n');
      const error = await within(5_000, refused.promise, 'the refusal');
      assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE'));
      assert.is(await client.all(), '');
    });

    test('is refused at the other end, too', async (context) => {
      const served = await serve(context, async (stream) => {
        await stream.write('go ahead\ninjected answer\n');
        await stream.readUntilClose();
      });
      const stream = await IOStream.connect({ host: '127.0.0.1', port: served.port });
      await stream.readUntil('\n');
      const error = await rejection(stream.startTls({ ca: authority, servername: 'localhost' }));
      assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE'));
      await stream.close();
    });

    test('is refused under TLS', async (context) => {
      const served = await serve(context, echoLines, { tls: localhost });
      const stream = await openSecurely(served);
      assert.ok(IOLoopError.is(await rejection(stream.startTls({})), 'ERR_IOLOOP_INVALID_STATE'));
      await stream.close();
    });

    test('fails where the server is not who it should be', async (context) => {
      const served = await serve(context, echoLines, { tls: localhost });
      assert.match(String(await rejection(openSecurely(served, 'other.example'))), /altnames|ALTNAME/i);
      while (context.loop.metrics().streams > 0) await nextTurn(context.loop);
    });

    test('outlives the end of the loop as long as it has something to say', async ({ defer }) => {
      const loop = new IOLoop({ backend });
      defer(() => loop.close());
      const text = 'x'.repeat(2 * 1024 * 1024);
      const received = signal<string>();
      const other = new IOLoop({ backend, current: true });
      defer(() => other.close());
      const served = await serve(
        { loop: other, defer },
        async (stream) => received.fire((await stream.readUntilClose({ maxBytes: 4 << 20 })).toString()),
        { tls: localhost, maxBufferSize: 4 << 20 },
      );
      const tls = { ca: authority, servername: 'localhost' };
      const stream = await IOStream.connect({ host: '127.0.0.1', port: served.port }, { loop, tls });
      void stream.write(text);
      await within(5_000, loop.close({ graceMs: 5_000 }), 'the end of the loop');
      assert.is((await within(5_000, received.promise, 'the text')).length, text.length);
    });
  });
