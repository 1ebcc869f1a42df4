import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import * as assert from 'uvu/assert';

import { IOLoop, type IOStream, TCPServer } from '../../src/index.ts';
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

/** Echoes lines. */
async function echoLines(stream: IOStream): Promise<void> {
  for (;;) await stream.write(await stream.readUntil('\n'));
}

function isKeyError(error: Error): boolean {
  return 'code' in error && String(error.code).startsWith('ERR_OSSL');
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
