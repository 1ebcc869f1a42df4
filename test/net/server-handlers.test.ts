import { AsyncLocalStorage } from 'node:async_hooks';
import * as assert from 'uvu/assert';

import { IOLoop, IOLoopError, IOStream, TCPServer } from '../../src/index.ts';
import { closeFd } from '../../src/raw.ts';
import { runSource } from '../support/child.ts';
import { signal } from '../support/driven.ts';
import { serve } from '../support/servers.ts';
import { suite } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

for (const backend of IOLoop.backends)
  suite(`a server's handler on ${backend}`, { backend }, (test) => {
    test('is told who came', async (context) => {
      const remotes: string[] = [];
      const served = await serve(context, async (stream, address) => {
        assert.equal(stream.remote, address);
        remotes.push(address.toString());
        await stream.write('+');
      });
      const client = served.connect();
      await client.heard('+');
      assert.equal(remotes, [`127.0.0.1:${client.socket.localPort}`]);
    });

    test('owns the stream until its promise settles, which closes it', async (context) => {
      const served = await serve(context, async (stream) => {
        for (;;) {
          const line = await stream.readUntil('\n');
          if (line.toString() === 'quit\n') break;
          void stream.write(line);
        }
        void stream.write('bye');
      });
      const client = served.connect().send('one\ntwo\nquit\nthree\n');
      assert.is(await client.all(), 'one\ntwo\nbye');
      assert.equal([served.server.connections, served.errors], [0, []]);
    });

    test('answers ten lines that came with a FIN, however late', async (context) => {
      const gate = signal();
      const served = await serve(context, async (stream) => {
        for (let line = 0; line < 10; line++) {
          const text = await stream.readUntil('\n');
          if (line === 0) await gate.promise;
          void stream.write(text);
        }
      });
      const lines = Array.from({ length: 10 }, (_, line) => `line ${line}\n`).join('');
      const client = served.connect().end(lines);
      while (context.loop.metrics().bytesBuffered === 0) await nextTurn(context.loop);
      for (let turn = 0; turn < 5; turn++) await nextTurn(context.loop);
      gate.fire();
      assert.is(await client.all(), lines);
      assert.equal(served.errors, []);
    });

    test('may leave the stream to onData', async (context) => {
      const served = await serve(context, async (stream) => {
        stream.onData((chunk) => stream.write(chunk));
      });
      const client = served.connect().send('one');
      await client.heard('one');
      client.end('two');
      assert.is(await client.all(), 'onetwo');
    });

    test('may leave the stream to a read that is pending', async (context) => {
      const served = await serve(context, async (stream) => {
        void stream.readUntil('\n').then((line) => stream.end(line));
      });
      assert.is(await served.connect().send('later\n').all(), 'later\n');
    });

    test('that returns no promise leaves the stream open', async (context) => {
      const accepted = signal<IOStream>();
      const served = await serve(context, accepted.fire);
      const client = served.connect();
      const stream = await within(5_000, accepted.promise, 'the stream');
      for (let turn = 0; turn < 5; turn++) await nextTurn(context.loop);
      void stream.write('still here');
      await client.heard('still here');
      client.end();
      await within(5_000, stream.whenClosed, 'the close behind the end of the peer');
    });

    test('may detach the stream', async (context) => {
      const given = signal<{ fd: number; unread: Buffer }>();
      const served = await serve(context, async (stream) => {
        await stream.readUntil('\n');
        given.fire(stream.detach());
      });
      const client = served.connect().send('line\nrest');
      const { fd, unread } = await within(5_000, given.promise, 'the descriptor');
      assert.is(served.server.connections, 0);
      const stream = IOStream.fromFd(fd, { loop: context.loop, unread });
      assert.is((await stream.readBytes(4)).toString(), 'rest');
      await stream.end('taken over');
      client.end();
      assert.is(await client.all(), 'taken over');
      await within(5_000, stream.whenClosed, 'the end of the stream');
      assert.throws(() => closeFd(fd), /EBADF/);
    });

    for (const [what, fail] of [
      ['throws', () => assert.unreachable('on purpose')],
      ['rejects', () => Promise.reject(new Error('on purpose'))],
      [
        'rejects later',
        (stream: IOStream) => stream.readUntil('\n').then(() => Promise.reject(new Error('on purpose'))),
      ],
    ] as const)
      test(`that ${what} ends that connection only`, async (context) => {
        let calls = 0;
        const served = await serve(context, (stream) => {
          if (calls++ > 0) return fail(stream);
          stream.onData((chunk) => stream.write(chunk));
          return undefined;
        });
        const first = served.connect().send('first');
        await first.heard('first');
        const second = served.connect().send('x\n');
        assert.is(await second.all(), '');
        assert.equal(
          served.errors.map((error) => error instanceof Error && error.message),
          ['on purpose'],
        );
        first.send('goes on');
        await first.heard('goes on');
        assert.is(served.server.connections, 1);
      });

    test('is told by a rejected read that the client left, and that is no error', async (context) => {
      const rejected = signal<unknown>();
      const served = await serve(context, async (stream) => {
        stream.onClose((error) => closed.fire(error));
        await stream.readUntil('\n').catch((error: unknown) => {
          rejected.fire(error);
          throw error;
        });
      });
      const closed = signal<unknown>();
      served.connect().send('no line').end();
      const error = await within(5_000, rejected.promise, 'the rejection');
      assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_STREAM_CLOSED'));
      assert.is(String(await within(5_000, closed.promise, 'the close')), 'null');
      assert.equal(served.errors, []);
    });

    test('hears of a reset, and that is no error either', async (context) => {
      const closed = signal<Error | null>();
      const served = await serve(context, async (stream) => {
        stream.onClose(closed.fire);
        void stream.write('+');
        await stream.readUntil('\n');
      });
      const client = served.connect();
      await client.heard('+');
      client.reset();
      const error = await within(5_000, closed.promise, 'the close');
      assert.match(String(error), /ECONNRESET/);
      assert.equal(served.errors, []);
    });

    test("fails with another stream's end, which is its error", async (context) => {
      const served = await serve(context, async () => {
        const upstream = await IOStream.connect({ host: '127.0.0.1', port: other.port });
        await upstream.readUntil('\n');
      });
      const other = await serve(context, async () => {});
      assert.is(await served.connect().all(), '');
      await served.told(() => served.errors.length > 0);
      assert.ok(IOLoopError.is(served.errors[0], 'ERR_IOLOOP_STREAM_CLOSED'));
    });

    test('has a context of its own', async (context) => {
      const storage = new AsyncLocalStorage<number>();
      let connections = 0;
      const served = await serve(context, async (stream) => {
        assert.is(storage.getStore(), undefined);
        storage.enterWith(++connections);
        const mine = connections;
        for await (const chunk of stream) {
          assert.is(storage.getStore(), mine);
          void stream.write(`${mine}:${chunk}\n`);
        }
      });
      const clients = ['a', 'b', 'c'].map((name) => served.connect().send(name));
      await Promise.all(clients.map((client) => client.heard('\n')));
      for (const client of clients) client.end('!');
      const answers = await Promise.all(clients.map((client) => client.all()));
      assert.equal(answers.sort(), ['1:a\n1:!\n', '2:b\n2:!\n', '3:c\n3:!\n']);
      assert.equal(served.errors, []);
    });

    test('has a listener that throws reported, and its stream ended', async (context) => {
      const served = await serve(context, (stream) => {
        stream.onData(() => assert.unreachable('in the listener'));
      });
      assert.match(await served.connect().send('x').all(), /^(\[ECONNRESET\])?$/);
      assert.match(String(served.errors[0]), /in the listener/);
    });
  });

suite('a server without onError', (test) => {
  test('prints one line on stderr that names the client', async () => {
    const { stderr, code } = await runSource(`
      import { connect } from 'node:net';
      import { TCPServer } from './src/index.ts';
      const server = new TCPServer(async () => { throw new TypeError('two\\r\\nlines \\x9b[2J'); });
      const { port } = await server.listen(0, '127.0.0.1');
      const client = connect(port, '127.0.0.1').resume();
      client.on('close', () => server.close());
    `);
    assert.match(stderr, /^ioloop: the handler of 127\.0\.0\.1:\d+ failed: TypeError: two lines {2}\[2J\n$/);
    assert.is(code, 0);
  });

  test('has what its own onError throws reported by the loop', async ({ loop, defer }) => {
    const reported = signal<unknown>();
    const own = new IOLoop({ backend: loop.backend, onError: reported.fire });
    defer(() => own.close());
    const server = new TCPServer(() => assert.unreachable('the handler'), {
      loop: own,
      onError: () => assert.unreachable('the report'),
    });
    defer(() => server.close({ graceMs: 0 }));
    const { port } = await server.listen(0, '127.0.0.1');
    const stream = await IOStream.connect({ host: '127.0.0.1', port });
    assert.match(String(await within(5_000, reported.promise, 'the report')), /the report/);
    await stream.close();
  });
});

suite('the arguments of a server', (test) => {
  for (const [name, ...args] of [
    ['no handler'],
    ['a limit that is no number', () => {}, { maxConnections: '1' }],
    ['a negative limit', () => {}, { maxConnections: -1 }],
    ['a verifier that is no function', () => {}, { verifyRequest: true }],
    ['an onError that is no function', () => {}, { onError: 1 }],
    ['an onDrop that is no function', () => {}, { onDrop: {} }],
    ['a handshake without end', () => {}, { handshakeTimeoutMs: Number.NaN }],
    ["a stream's option out of range", () => {}, { highWaterMark: -1 }],
    ['another loop than a loop', () => {}, { loop: {} }],
  ] as const)
    test(`refuse ${name}`, ({ loop }) => {
      const [handler, options = {}] = args;
      const make = (): unknown => Reflect.construct(TCPServer, [handler, { loop, ...options }]);
      assert.throws(make, (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'));
    });
});
