import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import * as assert from 'uvu/assert';

import { IOLoop, type IOStream } from '../../src/index.ts';
import { runSource } from '../support/child.ts';
import { signal } from '../support/driven.ts';
import { serve } from '../support/servers.ts';
import { suite } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

/** Greets, and stays until the client leaves. */
async function greet(stream: IOStream): Promise<void> {
  void stream.write('+');
  await stream.readUntilClose();
}

function raise(): never {
  throw new Error('on purpose');
}

for (const backend of IOLoop.backends)
  suite(`whom a server serves on ${backend}`, { backend }, (test) => {
    test('is asked of verifyRequest, with the address', async (context) => {
      const asked: string[] = [];
      const served = await serve(context, greet, {
        verifyRequest: (address) => {
          asked.push(address.toString());
          return asked.length === 1;
        },
      });
      const first = served.connect();
      await first.heard('+');
      const second = served.connect();
      assert.is(await second.all(), '');
      assert.is(asked.length, 2);
      assert.is(asked[0], `127.0.0.1:${first.socket.localPort}`);
      assert.equal([served.drops, served.errors, served.server.connections], [['refused'], [], 1]);
    });

    test('may be decided later, and what the client says meanwhile is kept', async (context) => {
      const verdict = signal<boolean>();
      const served = await serve(
        context,
        async (stream) => {
          void stream.write(await stream.readUntil('\n'));
        },
        { verifyRequest: () => verdict.promise },
      );
      const client = served.connect().end('early\n');
      while (context.loop.metrics().bytesBuffered === 0) await nextTurn(context.loop);
      assert.is(served.server.connections, 1);
      verdict.fire(true);
      assert.is(await client.all(), 'early\n');
    });

    for (const [what, verifyRequest] of [
      ['a promise of no', async () => false],
      ['a yes that is not true', () => JSON.parse('1')],
      ['a promise of a yes that is not true', async () => JSON.parse('1')],
    ] as const)
      test(`are not those who get ${what}`, async (context) => {
        const served = await serve(context, greet, { verifyRequest });
        assert.match(await served.connect().all(), /^(\[ECONNRESET\])?$/);
        await served.told(() => served.drops.length > 0);
        assert.equal([served.drops, served.errors, served.server.connections], [['refused'], [], 0]);
      });

    for (const [what, verifyRequest] of [
      ['throws', raise],
      ['rejects', async () => raise()],
    ] as const)
      test(`are not those for whom verifyRequest ${what}, which is reported`, async (context) => {
        const served = await serve(context, greet, { verifyRequest });
        assert.match(await served.connect().all(), /^(\[ECONNRESET\])?$/);
        await served.told(() => served.drops.length > 0);
        assert.match(String(served.errors), /^Error: on purpose$/);
        assert.equal([served.errors.length, served.drops], [1, ['refused']]);
      });

    test('does not matter for a client that left before it was decided', async (context) => {
      const verdict = signal<boolean>();
      let calls = 0;
      const served = await serve(context, () => void calls++, { verifyRequest: () => verdict.promise });
      const client = served.connect();
      while (served.server.connections === 0) await nextTurn(context.loop);
      client.reset();
      while (served.server.connections > 0) await nextTurn(context.loop);
      verdict.fire(true);
      await nextTurn(context.loop);
      assert.equal([calls, served.errors, served.drops], [0, [], []]);
    });

    test('is at most maxConnections at a time', async (context) => {
      const served = await serve(context, greet, { maxConnections: 2 });
      const clients = [served.connect(), served.connect()];
      for (const client of clients) await client.heard('+');
      assert.is(await served.connect().all(), '');
      assert.is(await served.connect().all(), '');
      assert.equal(served.drops, ['connections', 'connections']);
      assert.is(context.loop.metrics().acceptsShed, 2);
      clients[0]?.end();
      assert.is(await clients[0]?.all(), '+');
      await served.connect().heard('+');
      assert.is(served.server.connections, 2);
    });

    test('is nobody with maxConnections 0', async (context) => {
      const served = await serve(context, greet, { maxConnections: 0 });
      assert.is(await served.connect().all(), '');
      assert.equal([served.drops, served.server.connections], [['connections'], 0]);
    });

    test('counts those that are being closed', async (context) => {
      const stream = signal<IOStream>();
      const served = await serve(context, stream.fire, { maxConnections: 1 });
      // Reads nothing, so that what is written stays queued.
      const client = connectTcp({ host: '127.0.0.1', port: served.port }).pause();
      const accepted = await within(5_000, stream.promise, 'the connection');
      const large = Buffer.alloc(8 * 1024 * 1024);
      void accepted.write(large);
      void accepted.close();
      await nextTurn(context.loop);
      assert.ok(accepted.closed);
      assert.is(served.server.connections, 1);
      assert.is(await served.connect().all(), '');
      assert.equal(served.drops, ['connections']);
      const ended = once(client.resume(), 'close');
      await within(5_000, accepted.whenClosed, 'the end of the stream');
      await within(5_000, ended, 'the end of the connection');
      assert.is(client.bytesRead, large.length);
      assert.is(served.server.connections, 0);
    });

    test('is reported by the loop where onDrop throws', async ({ loop, defer }) => {
      const reported = signal<unknown>();
      const own = new IOLoop({ backend: loop.backend, onError: reported.fire });
      defer(() => own.close());
      for (const verifyRequest of [() => false, async () => false]) {
        const served = await serve({ loop: own, defer }, greet, {
          verifyRequest,
          onDrop: () => assert.unreachable('in onDrop'),
        });
        await served.connect().all();
        assert.match(String(await within(5_000, reported.promise, 'the report')), /in onDrop/);
      }
    });

    test('shows in the metrics', async (context) => {
      const served = await serve(context, greet);
      const clients = [served.connect(), served.connect(), served.connect()];
      for (const client of clients) await client.heard('+');
      assert.equal([context.loop.metrics().streams, served.server.connections], [3, 3]);
      for (const client of clients) client.end();
      for (const client of clients) await client.all();
      assert.equal([context.loop.metrics().streams, served.server.connections], [0, 0]);
    });

    test('gets the options of the server', async (context) => {
      const accepted = signal<IOStream>();
      const served = await serve(context, accepted.fire, { noDelay: false, keepAliveMs: 7_000 });
      served.connect();
      const stream = await within(5_000, accepted.promise, 'the connection');
      const options = ['TCP_NODELAY', 'SO_KEEPALIVE', 'TCP_KEEPIDLE'].map((name) => stream.getOption(name));
      assert.equal(options, [0, 1, 7]);
    });

    test('has no delay by default', async (context) => {
      const accepted = signal<IOStream>();
      const served = await serve(context, accepted.fire);
      served.connect();
      const stream = await within(5_000, accepted.promise, 'the connection');
      assert.ok(stream.getOption('TCP_NODELAY') > 0);
    });
  });

suite('a server in a process that is short of memory', (test) => {
  // The budget is the process's.
  test('tells whom it ended for want of it, and goes on serving the others', async () => {
    const { stdout, stderr, code } = await runSource(`
      import { connect } from 'node:net';
      import { IOLoop, TCPServer } from './src/index.ts';
      const loop = new IOLoop({ memoryBudget: 1 << 20 });
      const server = new TCPServer(
        async (stream, address) => {
          if ((await stream.readUntil('\\n')).toString() === 'small\\n') return stream.write('answer');
          stream.onClose(({ code, message }) => console.log(String(address) === dropped, code, message));
          for (let piece = 0; piece < 2048; piece++) void stream.write(Buffer.alloc(8192));
          await stream.readUntilClose();
        },
        {
          onDrop: (reason, address) => {
            dropped = String(address);
            console.log(reason);
            // Reading nothing, a socket does not see its reset by itself.
            large.resume();
          },
        },
      );
      let dropped;
      const { port } = await server.listen(0, '127.0.0.1');
      const large = connect(port, '127.0.0.1').on('error', () => {}).pause();
      large.write('large\\n');
      large.on('close', () => {
        const small = connect(port, '127.0.0.1').on('data', (text) => console.log(String(text)));
        small.end('small\\n').on('close', () => server.close());
      });
    `);
    assert.equal([stderr, code], ['', 0]);
    assert.match(
      stdout,
      /^memory\ntrue ERR_IOLOOP_MEMORY_BUDGET the process's streams hold \d+ of 1048576 bytes.*\nanswer\n$/,
    );
  });
});
