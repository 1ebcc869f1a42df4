import { existsSync, statSync } from 'node:fs';
import * as assert from 'uvu/assert';

import {
  type Address,
  IOLoop,
  type SeqpacketHandler,
  SeqpacketServer,
  type SeqpacketServerOptions,
  SeqpacketSocket,
} from '../../src/index.ts';
import { addon } from '../../src/native.ts';
import { closeFd, listenSocket } from '../../src/raw.ts';
import { Told } from '../support/datagram-servers.ts';
import { Arrivals, codeOf, rejection } from '../support/datagrams.ts';
import { signal } from '../support/driven.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';
import { numbered, numbersOf, take, UnixSockets, upTo } from '../support/unix-sockets.ts';
import { within } from '../support/within.ts';

/** Sends every message back, one by one. */
const echo: SeqpacketHandler = async (socket) => {
  for await (const { data } of socket) await socket.send(data);
};

/** A server at a path, what it tells, and its clients. */
class Served extends Told {
  readonly server: SeqpacketServer;
  readonly path: string;
  readonly #sockets: UnixSockets;
  readonly #loop: IOLoop;

  constructor(context: TestContext, handler: SeqpacketHandler, options: SeqpacketServerOptions = {}) {
    super();
    this.#sockets = new UnixSockets(context);
    this.#loop = context.loop;
    this.path = this.#sockets.path();
    this.server = new SeqpacketServer(handler, { loop: context.loop, ...this.options, ...options });
    context.defer(() => this.server.close({ graceMs: 0 }));
  }

  async connect(path = this.path): Promise<SeqpacketSocket> {
    const connecting = SeqpacketSocket.connect({ path }, { loop: this.#loop });
    return this.#sockets.adopt(await within(2_000, connecting, 'the connection'));
  }
}

async function serve(...given: ConstructorParameters<typeof Served>): Promise<Served> {
  const served = new Served(...given);
  await served.server.listen(served.path);
  return served;
}

/** The next message that `socket` gets; null: its peer has ended. */
async function next(socket: SeqpacketSocket): Promise<string | null> {
  const message = await socket.receive({ timeoutMs: 5_000 });
  return message === null ? null : String(message.data);
}

for (const backend of IOLoop.backends)
  suite(`a seqpacket server on ${backend}`, { backend }, (test) => {
    test('serves connections that keep the borders of messages', async (context) => {
      const addresses: Address[] = [];
      const { server, path, connect } = bound(
        await serve(context, (socket, address) => {
          addresses.push(address);
          return echo(socket, address);
        }),
      );
      assert.equal(server.addresses.map(String), [path]);
      const client = await connect();
      for (const message of ['one', '', 'three']) void client.send(message);
      for (const message of ['one', '', 'three']) assert.is(await next(client), message);
      assert.equal([addresses.map(String), server.connections], [[''], 1]);
    });

    test('has all answered that came before the end of the peer', async (context) => {
      const { connect, server } = bound(await serve(context, echo));
      const client = await connect();
      for (const number of upTo(100)) void client.send(numbered(number));
      await client.end();
      assert.equal(numbersOf(await take(client, 101)), upTo(100));
      await within(5_000, client.close(), 'the end of the client');
      assert.is(server.connections, 0);
    });

    test('closes a connection when its handler is done, unless somebody reads it', async (context) => {
      const { connect } = bound(
        await serve(context, async (socket) => {
          const request = await next(socket);
          if (request === 'listen')
            socket.onMessages((batch) => {
              for (let i = 0; i < batch.length; i++) batch.reply(i, `heard ${batch.data(i)}`);
            });
          await socket.send(`${request}, yes`);
        }),
      );
      const one = await connect();
      void one.send('bye');
      assert.equal([await next(one), await next(one)], ['bye, yes', null]);
      const other = await connect();
      void other.send('listen');
      assert.is(await next(other), 'listen, yes');
      void other.send('more');
      assert.is(await next(other), 'heard more');
    });

    test('tells what a handler and a listener threw, and ends that connection only', async (context) => {
      const served = await serve(context, async (socket) => {
        const request = await next(socket);
        if (request === 'reject') throw new Error('rejected');
        socket.onMessages(() => {
          throw new Error('of the listener');
        });
        await socket.send('go on');
      });
      const lasting = await served.connect();
      const one = await served.connect();
      void one.send('reject');
      assert.is(await next(one), null);
      const other = await served.connect();
      void other.send('listen');
      assert.is(await next(other), 'go on');
      void other.send('fail');
      assert.is(await next(other), null);
      assert.equal(served.errors.all.map(String), ['Error: rejected', 'Error: of the listener']);
      assert.is(served.server.connections, 1);
      void lasting.send('listen');
      assert.is(await next(lasting), 'go on');
    });

    test('takes no client that left for an error', async (context) => {
      const left = signal();
      const done = new Arrivals<unknown>();
      const served = await serve(context, async (socket) => {
        await left.promise;
        try {
          await socket.send('to nobody');
        } catch (error) {
          done.add(error);
          void socket.send('to nobody, and nobody waits');
          throw error;
        }
      });
      await (await served.connect()).close();
      left.fire();
      const [error] = await done.first(1, 'failed sends');
      assert.is(codeOf(error), 'EPIPE');
      while (served.server.connections > 0) await nextTurn(context.loop);
      assert.equal(served.errors.all, []);
    });

    test('closes whom it has no room for, and whom verifyRequest refuses', async (context) => {
      const verdicts = [true, Promise.resolve(false), false, Promise.resolve(true)];
      const verifyRequest = () => verdicts.shift() ?? true;
      const served = await serve(context, echo, { verifyRequest, maxConnections: 2 });
      const welcome = await served.connect();
      for (let refused = 0; refused < 2; refused++) assert.is(await next(await served.connect()), null);
      const verified = await served.connect();
      for (const client of [welcome, verified]) {
        void client.send('hello');
        assert.is(await next(client), 'hello');
      }
      assert.is(await next(await served.connect()), null);
      assert.equal(served.drops.all, ['refused', 'refused', 'connections']);
      assert.is(context.loop.metrics().acceptsShed, 1);
    });

    test('knows who its clients are', async (context) => {
      const { connect } = bound(
        await serve(context, (socket) => socket.send(JSON.stringify(socket.peerCredentials()))),
      );
      const credentials = JSON.parse((await next(await connect())) ?? '');
      assert.equal(credentials, { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() });
    });

    test('at its end closes who is idle, and lets who is busy finish', async (context) => {
      const gate = signal();
      const { server, connect } = bound(
        await serve(context, async (socket) => {
          for await (const { data } of socket) {
            if (String(data) === 'later') await gate.promise;
            await socket.send(data);
          }
        }),
      );
      const idle = await connect();
      void idle.send('hello');
      assert.is(await next(idle), 'hello');
      const busy = await connect();
      void busy.send('hello');
      assert.is(await next(busy), 'hello');
      void busy.send('later');
      while (server.connections < 2) await nextTurn(context.loop);
      // What was sent is received in the turn after it.
      for (let turn = 0; turn < 3; turn++) await nextTurn(context.loop);
      const closed = server.close({ graceMs: 60_000 });
      assert.is(await next(idle), null);
      assert.is(server.connections, 1);
      gate.fire();
      assert.equal([await next(busy), await next(busy)], ['later', null]);
      await within(5_000, closed, 'the end of the server');
      assert.is(server.connections, 0);
    });

    test('at its end aborts who is still busy when the time is over', async (context) => {
      const { server, connect } = bound(await serve(context, () => new Promise<void>(() => {})));
      const client = await connect();
      while (server.connections === 0) await nextTurn(context.loop);
      await within(5_000, server.close({ graceMs: 1 }), 'the end of the server');
      assert.is(await next(client), null);
      assert.is(codeOf(await rejection(server.listen('/not/there'))), 'ERR_IOLOOP_CLOSED');
    });

    test('ends with its loop', async (context) => {
      const loop = new IOLoop({ backend });
      const { path, connect } = bound(new Served(context, echo));
      await new SeqpacketServer(echo, { loop }).listen(path);
      const client = await connect();
      void client.send('hello');
      assert.is(await next(client), 'hello');
      await within(5_000, loop.close(), 'the end of the loop');
      assert.is(await next(client), null);
      assert.not(existsSync(path));
    });

    test('makes its file for its owner alone, and removes it', async (context) => {
      const { server, path } = await serve(context, echo);
      assert.is(statSync(path).mode & 0o777, 0o600);
      const late = new SeqpacketServer(echo, { loop: context.loop });
      context.defer(() => late.close());
      assert.is(codeOf(await rejection(late.listen(path))), 'EADDRINUSE');
      server.stop();
      assert.not(existsSync(path));
      await late.listen(path, { mode: 0o666, backlog: 1 });
      assert.is(statSync(path).mode & 0o777, 0o666);
    });

    test('takes over a socket that listens, and none of another type', async (context) => {
      const { server, path, connect } = bound(new Served(context, echo));
      const fd = addon().listenSeqpacket(path, 16, 0o600);
      addon().releaseStream(fd);
      assert.is(String(await server.listenFd(fd)), path);
      const client = await connect();
      void client.send('hello');
      assert.is(await next(client), 'hello');
      const stream = listenSocket({ path: `${path}-stream` });
      context.defer(() => closeFd(stream));
      assert.is(codeOf(await rejection(server.listenFd(stream))), 'EINVAL');
    });

    test('checks its arguments', async (context) => {
      const { server, path } = new Served(context, echo);
      for (const options of [
        { maxConnections: -1 },
        { receiveFds: 1 },
        { maxQueueSize: 'x' },
        { onError: 1 },
      ])
        assert.throws(() => Reflect.construct(SeqpacketServer, [echo, options]), /options\./);
      assert.throws(() => Reflect.construct(SeqpacketServer, [1]), /handler must be a function/);
      for (const given of [[''], [path, { mode: -1 }], [path, { backlog: 'x' }]]) {
        const refused: Promise<unknown> = Reflect.apply(server.listen, server, given);
        assert.is(codeOf(await rejection(refused)), 'ERR_IOLOOP_INVALID_ARGUMENT', JSON.stringify(given));
      }
    });
  });

/** Its parts, of which `connect` may be called alone. */
function bound(served: Served): Pick<Served, 'server' | 'path' | 'connect'> {
  return { server: served.server, path: served.path, connect: (path) => served.connect(path) };
}
