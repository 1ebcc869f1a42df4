import { AsyncLocalStorage } from 'node:async_hooks';
import * as assert from 'uvu/assert';

import { IOLoop, IOLoopError, type UDPRequest, UDPServer } from '../../src/index.ts';
import { runSource } from '../support/child.ts';
import { ask, heard, serveUdp } from '../support/datagram-servers.ts';
import { codeOf, rejection } from '../support/datagrams.ts';
import { signal } from '../support/driven.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

/** A server whose handler answers "later" when `gate` is fired, and a client whose "later" it has. */
async function serveLater(context: TestContext) {
  const gate = signal();
  const begun = signal();
  const served = await serveUdp(context, async (request: UDPRequest) => {
    if (String(request.data) === 'later') {
      begun.fire();
      await gate.promise;
    }
    await request.reply(request.data);
  });
  const client = await served.connect();
  void client.send('later');
  await within(5_000, begun.promise, 'the request');
  return { ...served, served, client, gate };
}

for (const backend of IOLoop.backends)
  suite(`the end of a server of datagrams on ${backend}`, { backend }, (test) => {
    test('by stop() takes no more requests, and has those that are pending answered', async (context) => {
      const { server, served, client, gate } = await serveLater(context);
      server.stop();
      server.stop();
      assert.equal([server.addresses, server.requests], [[], 1]);
      void client.send('another');
      for (let turn = 0; turn < 5; turn++) await nextTurn(context.loop);
      assert.is(server.requests, 1);
      gate.fire();
      assert.is(await heard(client), 'later');
      // The port is free again, and the server goes on there.
      await server.listen(served.port, '127.0.0.1');
      assert.is(await ask(client, 'hello'), 'hello');
    });

    test('waits for the requests that are pending', async (context) => {
      const { server, client, gate } = await serveLater(context);
      let isDone = false;
      const closed = server.close({ graceMs: 60_000 }).then(() => {
        isDone = true;
      });
      for (let turn = 0; turn < 5; turn++) await nextTurn(context.loop);
      assert.equal([isDone, server.requests], [false, 1]);
      gate.fire();
      assert.is(await heard(client), 'later');
      await within(5_000, closed, 'the end of the server');
      assert.is(server.requests, 0);
      assert.ok(IOLoopError.is(await rejection(server.listen(0)), 'ERR_IOLOOP_CLOSED'));
    });

    test('comes when the time is over, and then nobody can answer', async (context) => {
      const { server, served, gate } = await serveLater(context);
      await within(5_000, server.close({ graceMs: 1 }), 'the end of the server');
      assert.is(server.requests, 1);
      gate.fire();
      const [error] = await served.errors.first(1, 'errors');
      assert.equal([codeOf(error), server.requests], ['EBADF', 0]);
    });

    test('is at once without requests, also from within a handler, whose reply leaves', async (context) => {
      const served = await serveUdp(context, (request) => {
        void request.reply('bye');
        void served.server.close();
      });
      const client = await served.connect();
      assert.is(await ask(client, 'close'), 'bye');
      await within(5_000, served.server.close(), 'the end of the server');
      assert.equal(served.server.addresses, []);
    });

    test('has the end of the loop wait for its requests', async (context) => {
      const loop = new IOLoop({ backend });
      const gate = signal();
      const begun = signal();
      const server = new UDPServer(
        async (request) => {
          begun.fire();
          await gate.promise;
          await request.reply('answer');
        },
        { loop },
      );
      const { port } = await server.listen(0, '127.0.0.1');
      const { sockets } = await serveUdp(context, () => {});
      const client = sockets.open();
      await client.connect(port, '127.0.0.1');
      void client.send('question');
      await within(5_000, begun.promise, 'the request');
      const closed = loop.close();
      gate.fire();
      assert.is(await heard(client), 'answer');
      await within(5_000, closed, 'the end of the loop');
    });

    test('ends the listening that is under way', async ({ loop }) => {
      const server = new UDPServer(() => {}, { loop });
      const listening = server.listen(0, 'localhost');
      await server.close();
      assert.ok(IOLoopError.is(await rejection(listening), 'ERR_IOLOOP_CLOSED'));
      assert.equal(server.addresses, []);
    });

    test('leaves nothing verified afterwards to a handler', async (context) => {
      const verdict = signal<boolean>();
      const asked = signal();
      const served = await serveUdp(
        context,
        () => {
          throw new Error('served');
        },
        {
          verifyRequest: () => {
            asked.fire();
            return verdict.promise;
          },
        },
      );
      void (await served.connect()).send('hello');
      await within(5_000, asked.promise, 'the verification');
      assert.is(served.server.requests, 1);
      await served.server.close({ graceMs: 1 });
      verdict.fire(true);
      await served.drops.first(1, 'drops');
      assert.equal([served.errors.all, served.server.requests], [[], 0]);
    });
  });

suite('a server of datagrams in a process', (test) => {
  test('keeps it alive while it listens, unless it is told not to', async () => {
    const { stdout, code } = await runSource(`
      import { UDPServer } from './src/index.ts';
      const server = new UDPServer(() => {});
      await server.listen(0, '127.0.0.1');
      setTimeout(() => {
        console.log('alive');
        server.unref();
      }, 50).unref();
      process.on('exit', () => console.log('exit'));
    `);
    assert.equal([stdout, code], ['alive\nexit\n', 0]);
  });

  test('keeps it from no end when it was told so before it listens', async () => {
    const { stdout, code } = await runSource(`
      import { UDPServer } from './src/index.ts';
      const server = new UDPServer(() => {}).unref();
      console.log((await server.listen(0, '127.0.0.1')).address);
    `);
    assert.equal([stdout, code], ['127.0.0.1\n', 0]);
  });

  test('has a line on stderr for a handler that fails, and for what a socket tells', async () => {
    const { stderr, code } = await runSource(`
      import { DatagramSocket, UDPServer } from './src/index.ts';
      const server = new UDPServer(async (request) => {
        await client.close();
        void request.reply('nobody hears it');
        throw new TypeError('two\\nlines');
      });
      const { port } = await server.listen(0, '127.0.0.1');
      const client = new DatagramSocket({ type: 'udp4' });
      await client.connect(port, '127.0.0.1');
      await client.send('hello');
      const print = console.error;
      let lines = 0;
      console.error = (line) => {
        print(line);
        if (++lines === 2) void server.close();
      };
    `);
    const lines = stderr.trim().split('\n').sort();
    assert.match(lines[1] ?? '', /^ioloop: the handler of 127\.0\.0\.1:\d+ failed: TypeError: two lines$/);
    assert.match(lines[0] ?? '', /^ioloop: socket \d+: send ECONNREFUSED/);
    assert.equal([lines.length, code], [2, 0]);
  });

  test('runs each handler in an async context of its own', async (context) => {
    const storage = new AsyncLocalStorage<string>();
    const stores: unknown[] = [];
    const served = await serveUdp(context, (request) => {
      stores.push(storage.getStore());
      storage.enterWith(String(request.data));
      void request.reply(request.data);
    });
    const client = await served.connect();
    for (const question of ['1', '2']) void client.send(question);
    assert.equal([await heard(client), await heard(client)], ['1', '2']);
    assert.equal(stores, [undefined, undefined]);
  });
});
