import { existsSync } from 'node:fs';
import * as assert from 'uvu/assert';

import { IOLoop, type UnixDatagramSocket } from '../../src/index.ts';
import { Arrivals, codeOf, rejection, textsOf } from '../support/datagrams.ts';
import { openFds } from '../support/fds.ts';
import { suite } from '../support/suite.ts';
import { passes, turnsIn } from '../support/turns.ts';
import { fill, take, UnixSockets } from '../support/unix-sockets.ts';
import { within } from '../support/within.ts';

const LIMIT_MS = 2_000;

for (const backend of IOLoop.backends)
  suite(`the end of a Unix datagram socket on ${backend}`, { backend }, (test) => {
    test('may come in its own listener: its batch stands, and no other comes', async (context) => {
      const [one, other] = new UnixSockets(context).pair({ maxBatch: 1 });
      const arrivals = new Arrivals<string>();
      for (const text of ['first', 'second', 'third']) await one.send(text);
      other.onMessages((batch) => {
        void other.close();
        assert.is(other.fd, -1);
        arrivals.add(String(batch.data(0)));
        assert.throws(
          () => batch.reply(0, 'late'),
          (error: Error) => codeOf(error) === 'ERR_IOLOOP_CLOSED',
        );
      });
      await arrivals.first(1, 'datagrams');
      await passes(3);
      assert.equal(arrivals.all, ['first']);
    });

    test('may come in the listener of another, which is not called then', async (context) => {
      const sockets = new UnixSockets(context);
      const receivers = [await sockets.bind(), await sockets.bind(), await sockets.bind()];
      const called = new Arrivals<UnixDatagramSocket>();
      const sender = sockets.open();
      for (const receiver of receivers) await sender.send('x', receiver.local.path);
      for (const receiver of receivers)
        receiver.onMessages(() => {
          called.add(receiver);
          for (const each of receivers) void each.close();
        });
      await called.first(1, 'calls');
      await passes(3);
      assert.is(called.all.length, 1);
    });

    test('settles what waits, and refuses what comes after it', async (context) => {
      const sockets = new UnixSockets(context);
      const socket = await sockets.bind();
      const iterated = take(socket, 1);
      await Promise.all([socket.close(), socket.close()]);
      assert.equal(await iterated, []);
      assert.ok(socket.closed);
      assert.is(codeOf(await rejection(socket.send('', '/x'))), 'EBADF');
      assert.is(codeOf(await rejection(socket.bind(sockets.path()))), 'ERR_IOLOOP_CLOSED');
      assert.is(codeOf(await rejection(socket.connect('/x'))), 'ERR_IOLOOP_CLOSED');
      for (const use of [
        () => socket.onMessages(() => {}),
        () => socket.disconnect(),
        () => socket.peerCredentials(),
      ])
        assert.throws(use, (error: Error) => codeOf(error) === 'ERR_IOLOOP_CLOSED');
    });

    test('leaves what has come to the one who has it', async (context) => {
      const [one, other] = new UnixSockets(context).pair();
      await one.send('first');
      await one.send('second');
      const iteration = other[Symbol.asyncIterator]();
      assert.is(String((await within(LIMIT_MS, iteration.next(), 'a datagram')).value.data), 'first');
      await other.close();
      assert.ok((await iteration.next()).done);
    });

    test('comes with the end of the loop, which sends what it can', async (context) => {
      const loop = new IOLoop({ backend });
      const sockets = new UnixSockets(context);
      const receiver = await sockets.bind();
      const socket = await sockets.bind({ loop });
      const { path } = socket.local;
      const iterated = take(socket, 1);
      const blocked = sockets.open({ loop, onError: () => {} });
      await blocked.connect(receiver.local.path);
      const filled = fill(blocked, (data) => blocked.send(data));
      const waiting = blocked.send('behind');
      const ended = loop.close();
      const received = await take(receiver, filled + 1);
      await within(LIMIT_MS, Promise.all([ended, waiting]), 'the end of the loop');
      assert.equal(await iterated, []);
      assert.is(String(received.at(-1)?.data), 'behind');
      assert.equal([socket.fd, blocked.fd, existsSync(path)], [-1, -1, false]);
    });

    test('is not put off by one who takes nothing, for longer than the loop waits', async (context) => {
      const loop = new IOLoop({ backend });
      const sockets = new UnixSockets(context);
      const receiver = await sockets.bind();
      const blocked = sockets.open({ loop, onError: () => {} });
      fill(blocked, (data) => blocked.send(data, receiver.local.path));
      const waiting = rejection(blocked.send('never', receiver.local.path));
      await within(LIMIT_MS, loop.close({ graceMs: 10 }), 'the end of the loop');
      assert.is(codeOf(await waiting), 'ECANCELED');
    });

    test('is the end, though its descriptor has a duplicate that was sent', async (context) => {
      const [one, other] = new UnixSockets(context).pair();
      const watched = await new UnixSockets(context).bind();
      watched.onMessages(() => {});
      const before = openFds().size;
      await one.sendFds([watched.fd], 'on its way');
      const late = new UnixSockets(context).open();
      await late.connect(watched.local.path);
      await watched.close();
      // The duplicate alone is readable now, and in the kernel's set no more.
      await late.send('to the duplicate');
      assert.is(await turnsIn(200, context.loop), 0);
      assert.is(context.loop.metrics().staleEvents, 0);
      assert.is(openFds().size, before);
      assert.equal(textsOf(await take(other, 1)), ['on its way']);
    });
  });
