import { chmodSync } from 'node:fs';
import * as assert from 'uvu/assert';

import { IOLoop, SeqpacketSocket, SystemError } from '../../src/index.ts';
import { addon } from '../../src/native.ts';
import { closeFd, connectSocket, listenSocket } from '../../src/raw.ts';
import { codeOf, rejection, textsOf } from '../support/datagrams.ts';
import { openFds } from '../support/fds.ts';
import { renounceRoot } from '../support/root.ts';
import { suite } from '../support/suite.ts';
import { turnsIn } from '../support/turns.ts';
import { type SeqpacketListener, take, UnixSockets } from '../support/unix-sockets.ts';
import { within } from '../support/within.ts';

const LIMIT_MS = 5_000;

/** Connects until the backlog of `listener` is full. */
async function fillBacklog(sockets: UnixSockets, listener: SeqpacketListener, loop: IOLoop): Promise<number> {
  for (let connected = 0; ; connected++) {
    const { path } = listener;
    try {
      sockets.adopt(await SeqpacketSocket.connect({ path }, { loop, timeoutMs: 0 }));
    } catch (error) {
      if (codeOf(error) === 'ERR_IOLOOP_TIMEOUT') return connected;
      throw error;
    }
  }
}

for (const backend of IOLoop.backends)
  suite(`connecting a seqpacket socket on ${backend}`, { backend }, (test) => {
    test('makes a connection whose ends know each other', async (context) => {
      const sockets = new UnixSockets(context);
      const listener = sockets.listen();
      const { path } = listener;
      const client = sockets.adopt(await SeqpacketSocket.connect({ path }, { loop: context.loop }));
      const server = listener.accept();
      assert.ok(server !== null);
      await client.send('hello');
      await server.send('welcome');
      assert.equal(textsOf(await take(server, 1)), ['hello']);
      assert.equal(textsOf(await take(client, 1)), ['welcome']);
      assert.equal([client.remote, server.local].map(String), [path, path]);
      assert.equal(String(server.remote), String(client.local));
      const myself = { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() };
      assert.equal([client.peerCredentials(), server.peerCredentials()], [myself, myself]);
    });

    test('reads what was sent before it was accepted, the empty message too', async (context) => {
      const sockets = new UnixSockets(context);
      const listener = sockets.listen();
      const client = await SeqpacketSocket.connect({ path: listener.path }, { loop: context.loop });
      await client.send('');
      await client.send('early');
      await client.close();
      const server = listener.accept();
      assert.ok(server !== null);
      assert.equal(textsOf(await take(server, 3)), ['', 'early']);
    });

    test('is refused by name, and leaves nothing open', async (context) => {
      const sockets = new UnixSockets(context);
      const listener = sockets.listen();
      const datagram = await sockets.bind();
      const gone = sockets.path();
      const stream = sockets.path();
      closeFd(listenSocket({ path: gone }));
      const streamListener = listenSocket({ path: stream });
      context.defer(() => closeFd(streamListener));
      const missing = sockets.path();
      for (const [path, code] of [
        [missing, 'ENOENT'],
        [gone, 'ECONNREFUSED'],
        [stream, 'EPROTOTYPE'],
        [datagram.local.path, 'EPROTOTYPE'],
      ] as const) {
        const error = await rejection(SeqpacketSocket.connect({ path }, { loop: context.loop }));
        assert.ok(error instanceof SystemError && error.code === code, String(error));
        assert.equal([error.path, error.syscall], [path, 'connect']);
      }
      const { path } = listener;
      chmodSync(path, 0o400);
      renounceRoot(context.defer);
      assert.is(codeOf(await rejection(SeqpacketSocket.connect({ path }, { loop: context.loop }))), 'EACCES');
    });

    test('refuses what is no target, or no option', async (context) => {
      const { loop } = context;
      const calls = [[undefined], [{}], [{ path: '' }], [{ path: 'a\0b' }], [{ path: 'x'.repeat(200) }]];
      for (const options of [{ receiveFds: 1 }, { timeoutMs: -1 }, { signal: {} }, { maxQueueLength: 0 }])
        calls.push([{ path: '/x' }, { loop, ...options }]);
      for (const call of calls) {
        const connected: Promise<unknown> = Reflect.apply(SeqpacketSocket.connect, SeqpacketSocket, call);
        assert.is(codeOf(await rejection(connected)), 'ERR_IOLOOP_INVALID_ARGUMENT', JSON.stringify(call));
      }
    });

    test('waits for room in a full backlog, without spinning', async (context) => {
      const sockets = new UnixSockets(context);
      const listener = sockets.listen(2);
      const connected = await fillBacklog(sockets, listener, context.loop);
      assert.ok(connected > 1);
      const { path } = listener;
      const waiting = SeqpacketSocket.connect({ path }, { loop: context.loop });
      assert.ok((await turnsIn(1_000, context.loop)) < 50);
      assert.ok(listener.accept() !== null);
      const client = sockets.adopt(await within(LIMIT_MS, waiting, 'the connection'));
      await client.send('at last');
      let server = null;
      for (let accepted = 0; accepted < connected; accepted++) server = listener.accept();
      assert.ok(server !== null);
      assert.equal(textsOf(await take(server, 1)), ['at last']);
    });

    test('gives up after timeoutMs, by the signal, and with its loop', async (context) => {
      const sockets = new UnixSockets(context);
      const listener = sockets.listen(0);
      await fillBacklog(sockets, listener, context.loop);
      const { path } = listener;
      const loop = new IOLoop({ backend });
      const before = openFds().size;
      const start = context.loop.time();
      const late = await rejection(SeqpacketSocket.connect({ path }, { loop: context.loop, timeoutMs: 20 }));
      assert.is(codeOf(late), 'ERR_IOLOOP_TIMEOUT');
      assert.match(String(late), `connecting to ${path} took more than 20 ms`);
      assert.ok(context.loop.time() - start >= 20);

      const controller = new AbortController();
      const { signal } = controller;
      const aborted = rejection(SeqpacketSocket.connect({ path }, { loop: context.loop, signal }));
      controller.abort(new Error('enough'));
      const error = await aborted;
      assert.ok(error instanceof Error && error.name === 'AbortError');
      assert.equal(error.cause, new Error('enough'));
      assert.is(openFds().size, before);

      const ended = rejection(SeqpacketSocket.connect({ path }, { loop }));
      await within(LIMIT_MS, loop.close(), 'the end of the loop');
      assert.is(codeOf(await ended), 'ERR_IOLOOP_CLOSED');
    });

    test('does not begin when the signal has fired', async (context) => {
      const sockets = new UnixSockets(context);
      const listener = sockets.listen();
      const { path } = listener;
      const options = { loop: context.loop, signal: AbortSignal.abort() };
      assert.is(codeOf(await rejection(SeqpacketSocket.connect({ path }, options))), 'ABORT_ERR');
      assert.is(listener.accept(), null);
    });

    test('can be left to others: a connected descriptor is taken over, and no other', async (context) => {
      const sockets = new UnixSockets(context);
      const listener = sockets.listen();
      const take = (fd: number): SeqpacketSocket => SeqpacketSocket.fromFd(fd, { loop: context.loop });
      const throwsCode = (fd: number, code: string): void =>
        assert.throws(
          () => take(fd),
          (error: Error) => codeOf(error) === code,
        );
      throwsCode(listener.fd, 'EINVAL');
      throwsCode(999_999, 'EBADF');
      const unconnected = addon().openDatagram('seqpacket');
      addon().releaseStream(unconnected);
      throwsCode(unconnected, 'ENOTCONN');
      closeFd(unconnected);
      const path = sockets.path();
      const streams = [listenSocket({ path }), connectSocket({ path })];
      for (const fd of streams) {
        throwsCode(fd, 'EINVAL');
        closeFd(fd);
      }
    });
  });
