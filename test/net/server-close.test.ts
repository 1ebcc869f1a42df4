import * as assert from 'uvu/assert';

import { IOLoop, IOLoopError, type IOStream, TCPServer } from '../../src/index.ts';
import { runSource } from '../support/child.ts';
import { signal } from '../support/driven.ts';
import { portOf, serve } from '../support/servers.ts';
import { suite } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

/** Answers each line: at once, or "later" once `gate` is fired. */
function answering(gate: ReturnType<typeof signal<void>>) {
  return async (stream: IOStream): Promise<void> => {
    for (;;) {
      const line = (await stream.readUntil('\n')).toString();
      if (line === 'later\n') await gate.promise;
      void stream.write(line);
    }
  };
}

function isClosed(error: unknown): boolean {
  return IOLoopError.is(error, 'ERR_IOLOOP_CLOSED');
}

for (const backend of IOLoop.backends)
  suite(`the end of a server on ${backend}`, { backend }, (test) => {
    test('by stop() refuses new clients and leaves the others alone', async (context) => {
      const served = await serve(context, answering(signal()));
      const client = served.connect().send('one\n');
      await client.heard('one\n');
      served.server.stop();
      served.server.stop();
      assert.equal(served.server.addresses, []);
      assert.is(await served.connect().all(), '[ECONNREFUSED]');
      client.send('two\n');
      await client.heard('two\n');
      assert.is(served.server.connections, 1);
    });

    test('by stop() may be followed by listening anew', async (context) => {
      const served = await serve(context, answering(signal()));
      served.server.stop();
      served.port = portOf(await served.server.listen(0, '127.0.0.1'));
      const client = served.connect().send('one\n');
      await client.heard('one\n');
    });

    test('closes who is idle at once, and lets who is busy finish', async (context) => {
      const gate = signal();
      const served = await serve(context, answering(gate));
      const idle = served.connect().send('one\n');
      await idle.heard('one\n');
      const busy = served.connect().send('one\nlater\n');
      await busy.heard('one\n');
      let done = false;
      const closed = served.server.close({ graceMs: 60_000 }).then(() => {
        done = true;
      });
      assert.is(await idle.all(), 'one\n');
      assert.equal([done, served.server.connections], [false, 1]);
      gate.fire();
      assert.is(await busy.all(), 'one\nlater\n');
      await within(5_000, closed, 'the end of the server');
      assert.equal([served.server.connections, served.errors, served.drops], [0, [], []]);
    });

    test('waits for half a request, and for the rest of an answer', async (context) => {
      const served = await serve(context, async (stream) => {
        await stream.readUntil('\n');
        void stream.write(Buffer.alloc(4 * 1024 * 1024, '.'));
        await stream.readUntil('\n');
      });
      const half = served.connect().send('half');
      while (context.loop.metrics().bytesBuffered < 4) await nextTurn(context.loop);
      const slow = served.connect().send('\n');
      slow.socket.pause();
      while (context.loop.metrics().bytesQueued === 0) await nextTurn(context.loop);
      const closed = served.server.close({ graceMs: 60_000 });
      for (let turn = 0; turn < 5; turn++) await nextTurn(context.loop);
      assert.is(served.server.connections, 2);
      half.send(' a line\n');
      slow.socket.resume();
      const answers = await Promise.all([half.all(), slow.all()]);
      assert.equal(
        answers.map((answer) => answer.length),
        [4 * 1024 * 1024, 4 * 1024 * 1024],
      );
      await within(5_000, closed, 'the end of the server');
    });

    test('aborts who is busy when the time is over', async (context) => {
      const errors: unknown[] = [];
      const served = await serve(context, async (stream) => {
        void stream.write('+');
        stream.onClose((error) => errors.push(error));
        await new Promise(() => {});
      });
      const client = served.connect();
      await client.heard('+');
      const before = context.loop.time();
      await within(5_000, served.server.close({ graceMs: 50 }), 'the end of the server');
      assert.ok(context.loop.time() - before >= 50);
      assert.is(await client.all(), '+[ECONNRESET]');
      assert.is(served.server.connections, 0);
    });

    test('is one end, however often it is asked for', async (context) => {
      const served = await serve(context, answering(signal()));
      const client = served.connect().send('one\n');
      await client.heard('one\n');
      const { server } = served;
      assert.is(server.close(), server.close({ graceMs: 1 }));
      await within(5_000, server.close(), 'the end of the server');
      await server[Symbol.asyncDispose]();
      for (const refused of [server.listen(0, '127.0.0.1'), server.listenFd(0)]) {
        const error = await refused.then(
          () => null,
          (reason: unknown) => reason,
        );
        assert.ok(isClosed(error));
      }
    });

    test('overtakes a lookup that is under way', async ({ loop, defer }) => {
      const server = new TCPServer(() => {}, { loop });
      defer(() => server.close());
      const lookedUp = signal();
      const listening = server.listen(0, 'name.test', {
        lookup: (_name, _options, callback) =>
          void lookedUp.promise.then(() => callback(null, [{ address: '127.0.0.1', family: 4 }])),
      });
      await server.close();
      lookedUp.fire();
      const error = await within(
        5_000,
        listening.then(
          () => null,
          (reason: unknown) => reason,
        ),
        'the refusal',
      );
      assert.ok(isClosed(error));
      assert.equal(server.addresses, []);
    });

    test('overtakes verifyRequest: who is found good by then is not served', async (context) => {
      const verdict = signal<boolean>();
      let calls = 0;
      const served = await serve(context, () => void calls++, { verifyRequest: () => verdict.promise });
      const client = served.connect();
      while (served.server.connections === 0) await nextTurn(context.loop);
      const closed = served.server.close({ graceMs: 60_000 });
      verdict.fire(true);
      await within(5_000, closed, 'the end of the server');
      assert.match(await client.all(), /^(\[ECONNRESET\])?$/);
      assert.equal([calls, served.drops, served.errors], [0, [], []]);
    });

    test('may come from within its own handler, with more clients in the queue', async (context) => {
      const stopped = signal();
      const served = await serve(context, async (stream) => {
        served.server.stop();
        stopped.fire();
        await stream.write('+');
      });
      const clients = Array.from({ length: 20 }, () => served.connect());
      const answers = await Promise.all(clients.map((client) => client.all()));
      await within(5_000, stopped.promise, 'the stop');
      const greeted = answers.filter((answer) => answer === '+').length;
      assert.is(greeted, 1);
      for (const answer of answers) assert.match(answer, /^(\+|\[ECONNRESET\]|\[ECONNREFUSED\])$/);
    });

    test('may be close() from within its own handler, which is waited for', async (context) => {
      const closed = signal();
      const served = await serve(context, async (stream) => {
        void served.server.close({ graceMs: 60_000 }).then(closed.fire);
        await nextTurn(context.loop);
        await nextTurn(context.loop);
        void stream.write('bye');
      });
      assert.is(await served.connect().all(), 'bye');
      await within(5_000, closed.promise, 'the end of the server');
    });

    test('comes with the end of the loop, in order', async ({ defer }) => {
      const loop = new IOLoop({ backend });
      defer(() => loop.close());
      const gate = signal();
      // Nobody is here, so that it is gone at once.
      await serve({ loop, defer }, answering(gate));
      const served = await serve({ loop, defer }, answering(gate));
      const others = await serve({ loop, defer }, answering(gate));
      const idle = served.connect().send('one\n');
      await idle.heard('one\n');
      const busy = others.connect().send('one\nlater\n');
      await busy.heard('one\n');
      const closed = loop.close({ graceMs: 60_000 });
      assert.is(await idle.all(), 'one\n');
      assert.is(await served.connect().all(), '[ECONNREFUSED]');
      assert.is(await others.connect().all(), '[ECONNREFUSED]');
      gate.fire();
      assert.is(await busy.all(), 'one\nlater\n');
      await within(5_000, closed, 'the end of the loop');
    });

    test('comes with the end of the loop by force, when its time is over', async ({ defer }) => {
      const loop = new IOLoop({ backend });
      defer(() => loop.close());
      const served = await serve({ loop, defer }, answering(signal()));
      const busy = served.connect().send('one\nlater\n');
      await busy.heard('one\n');
      await within(5_000, loop.close({ graceMs: 20 }), 'the end of the loop');
      assert.is(await busy.all(), 'one\n[ECONNRESET]');
    });

    test('refuses times that are none', async (context) => {
      const served = await serve(context, (stream) => stream.write('+'));
      const { server } = served;
      for (const graceMs of [Number.NaN, '1'])
        assert.throws(
          () => Reflect.apply(server.close, server, [{ graceMs }]),
          (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'),
        );
      await served.connect().heard('+');
    });
  });

suite('a process that serves', (test) => {
  const PROGRAM = `
    import { connect } from 'node:net';
    import { TCPServer } from './src/index.ts';
    const server = new TCPServer(async (stream) => { await stream.readUntilClose(); });
    const { port } = await server.listen(0, '127.0.0.1');
  `;

  test('ends when its server is no longer referenced', async () => {
    const { code, stderr } = await runSource(`${PROGRAM} server.unref();`);
    assert.equal([code, stderr], [0, '']);
  });

  test('ends when its server is closed', async () => {
    const { code, stderr } = await runSource(`${PROGRAM}
      const client = connect(port, '127.0.0.1').resume().once('connect', () => server.close());
    `);
    assert.equal([code, stderr], [0, '']);
  });

  test('is kept alive by a connection, not by the listening, after unref()', async () => {
    const { code, stdout } = await runSource(`${PROGRAM}
      server.unref();
      connect(port, '127.0.0.1').unref().once('connect', () => setTimeout(() => {
        console.log(server.connections);
        server.stop();
        process.exit(7);
      }, 50).unref());
    `);
    assert.equal([code, stdout], [7, '1\n']);
  });
});
