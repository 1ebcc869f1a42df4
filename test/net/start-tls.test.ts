import * as assert from 'uvu/assert';

import { IOLoop, IOLoopError, IOStream } from '../../src/index.ts';
import { authority, localhost } from '../support/certificates.ts';
import { signal } from '../support/driven.ts';
import { type Served, serve } from '../support/servers.ts';
import { suite } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

/** Connects by a stream of ours. */
function openSecurely({ port }: Served, servername = 'localhost'): Promise<IOStream> {
  return IOStream.connect({ host: '127.0.0.1', port }, { tls: { ca: authority, servername } });
}

/** Echoes lines. */
async function echoLines(stream: IOStream): Promise<void> {
  for (;;) await stream.write(await stream.readUntil('\n'));
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

    test('fails where the peer has left before', async (context) => {
      const { promise: refused, fire } = signal<unknown>();
      const served = await serve(context, async (stream) => {
        const ended = new Promise<void>((resolve) => stream.onEnd(() => resolve()));
        await stream.readUntil('\n');
        await within(5_000, ended, 'the end');
        await stream.write('go ahead\n');
        fire(await rejection(stream.startTls({ server: true, ...localhost })));
      });
      const stream = await IOStream.connect({ host: '127.0.0.1', port: served.port });
      await stream.end('STARTTLS\n');
      assert.is((await stream.readUntil('\n')).toString(), 'go ahead\n');
      const error = await within(5_000, refused, 'the refusal');
      assert.is(Reflect.get(Object(error), 'code'), 'ECONNRESET');
      await within(5_000, stream.whenClosed, 'the close');
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
