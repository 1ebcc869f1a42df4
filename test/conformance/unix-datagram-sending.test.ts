import { chmodSync, renameSync } from 'node:fs';
import * as assert from 'uvu/assert';

import { IOLoop, SystemError, type UnixDatagramSocket, UnixServer } from '../../src/index.ts';
import { codeOf, rejection, textsOf } from '../support/datagrams.ts';
import { renounceRoot } from '../support/root.ts';
import { suite } from '../support/suite.ts';
import { turnsIn } from '../support/turns.ts';
import { fill, numbered, numbersOf, take, UnixSockets, upTo } from '../support/unix-sockets.ts';
import { within } from '../support/within.ts';

const EACH_WAY = ['by path', 'connected'] as const;
type Way = (typeof EACH_WAY)[number];

/** How to send to a receiver that does not read. */
interface Route {
  readonly receiver: UnixDatagramSocket;
  readonly sender: UnixDatagramSocket;
  readonly send: (data: string | Uint8Array) => Promise<void>;
}

async function route(sockets: UnixSockets, way: Way, options = {}): Promise<Route> {
  const receiver = await sockets.bind();
  const sender = sockets.open(options);
  const { path } = receiver.local;
  if (way === 'connected') await sender.connect(path);
  return { receiver, sender, send: (data) => sender.send(data, way === 'connected' ? undefined : path) };
}

for (const backend of IOLoop.backends)
  suite(`a Unix datagram socket that sends, on ${backend}`, { backend }, (test) => {
    test('names who cannot be sent to, and why', async (context) => {
      const sockets = new UnixSockets(context);
      const sender = sockets.open();
      const gone = await sockets.bind();
      const stale = `${gone.local.path}.stale`;
      renameSync(gone.local.path, stale);
      await gone.close();
      const server = new UnixServer(() => {}, { loop: context.loop });
      context.defer(() => server.close());
      const stream = sockets.path();
      await server.listen(stream, { mode: 0o666 });
      const missing = sockets.path();
      for (const [path, code] of [
        [missing, 'ENOENT'],
        [stale, 'ECONNREFUSED'],
        [stream, 'EPROTOTYPE'],
      ] as const) {
        const error = await rejection(sender.send('four', path));
        assert.ok(error instanceof SystemError && error.code === code, String(error));
        assert.match(error.message, `4 bytes to ${path}`);
        const refused = await rejection(sender.connect(path));
        assert.ok(refused instanceof SystemError && refused.code === code, String(refused));
        assert.is(refused.path, path);
      }
    });

    test('is refused by a file that it may not write to', async (context) => {
      const sockets = new UnixSockets(context);
      const receiver = await sockets.bind();
      chmodSync(receiver.local.path, 0o400);
      renounceRoot(context.defer);
      assert.is(codeOf(await rejection(sockets.open().send('', receiver.local.path))), 'EACCES');
      assert.is(codeOf(await rejection(sockets.open().connect(receiver.local.path))), 'EACCES');
    });

    test('sends to whom it is connected to, until that ends', async (context) => {
      const sockets = new UnixSockets(context);
      const { receiver, sender } = await route(sockets, 'connected');
      await sender.send('connected');
      const { path } = receiver.local;
      assert.throws(() => sender.send('', path), isCode('ERR_IOLOOP_INVALID_STATE'));
      sender.disconnect();
      assert.throws(() => sender.send('nowhere'), isCode('ERR_IOLOOP_INVALID_ARGUMENT'));
      assert.throws(() => sender.disconnect(), isCode('ERR_IOLOOP_INVALID_STATE'));
      await sender.send('by path', path);
      assert.equal(textsOf(await take(receiver, 2)), ['connected', 'by path']);
      await sender.connect(path);
      await receiver.close();
      assert.is(codeOf(await rejection(sender.send('gone'))), 'ECONNREFUSED');
    });

    test('takes from nobody but whom it is connected to', async (context) => {
      const sockets = new UnixSockets(context);
      const [one, other, third] = [await sockets.bind(), await sockets.bind(), await sockets.bind()];
      await one.connect(other.local.path);
      assert.is(codeOf(await rejection(third.send('', one.local.path))), 'EPERM');
      await other.send('answer', one.local.path);
      assert.equal(textsOf(await take(one, 1)), ['answer']);
    });

    test('names the size of what no buffer holds, and goes on', async (context) => {
      const sockets = new UnixSockets(context);
      const { receiver, send } = await route(sockets, 'by path', { sendBufferSize: 16_384 });
      const error = await rejection(send(Buffer.alloc(1_000_000)));
      assert.is(codeOf(error), 'EMSGSIZE');
      assert.match(String(error), '1000000 bytes');
      await send('short');
      assert.equal(textsOf(await take(receiver, 1)), ['short']);
    });

    for (const way of EACH_WAY) {
      test(`${way}: waits for a full receiver, and loses and reorders nothing`, async (context) => {
        const sockets = new UnixSockets(context);
        const { receiver, sender, send } = await route(sockets, way);
        const filled = fill(sender, send);
        assert.ok(filled > 2, 'the receiver takes some');
        const sent = [];
        for (let number = filled; number < 1_000; number++)
          sent.push(send(numbered(number, (number % 900) + 4)));
        assert.ok(sender.bytesQueued > 100_000);
        assert.is(context.loop.metrics().bytesQueued, sender.bytesQueued);
        assert.equal(numbersOf(await take(receiver, 1_000)), upTo(1_000));
        await within(2_000, Promise.all(sent), 'the sends');
        assert.is(sender.bytesQueued, 0);
        assert.is(receiver.dropped, 0);
      });

      test(`${way}: does not spin while it waits`, async (context) => {
        const sockets = new UnixSockets(context);
        const { sender, send } = await route(sockets, way, { closeTimeoutMs: 0, onError: () => {} });
        fill(sender, send);
        const before = context.loop.metrics();
        assert.ok((await turnsIn(2_000, context.loop)) < 50);
        const { systemCalls } = context.loop.metrics();
        assert.ok(systemCalls - before.systemCalls < 200, `${systemCalls - before.systemCalls} system calls`);
      });

      test(`${way}: queues no more than it is told, and refuses the rest`, async (context) => {
        const sockets = new UnixSockets(context);
        for (const options of [{ maxQueueLength: 5 }, { maxQueueSize: 33 }]) {
          const { receiver, sender, send } = await route(sockets, way, options);
          const filled = fill(sender, send);
          const accepted = [1, 2, 3, 4].map((more) => send(numbered(filled + more - 1, 8)));
          for (const error of await Promise.all([send('one'), send('two')].map(rejection))) {
            assert.is(codeOf(error), 'ERR_IOLOOP_BUFFER_FULL');
            assert.match(String(error), '40 bytes are queued');
          }
          assert.equal(numbersOf(await take(receiver, filled + 4)), upTo(filled + 4));
          await Promise.all(accepted);
          await send('room again');
          assert.equal(textsOf(await take(receiver, 1)), ['room again']);
        }
      });

      test(`${way}: tells of a refused send that nobody waits for`, async (context) => {
        const told: SystemError[] = [];
        const sockets = new UnixSockets(context);
        const options = { maxQueueLength: 1, onError: (error: SystemError) => void told.push(error) };
        const { receiver, sender, send } = await route(sockets, way, options);
        const filled = fill(sender, send);
        void send('too much');
        await take(receiver, filled);
        await sender.flush();
        assert.equal(
          told.map(({ code, cause }) => [code, codeOf(cause)]),
          [['ENOBUFS', 'ERR_IOLOOP_BUFFER_FULL']],
        );
      });

      test(`${way}: delivers at its end what waits`, async (context) => {
        const sockets = new UnixSockets(context);
        const { receiver, sender, send } = await route(sockets, way);
        const filled = fill(sender, send);
        const last = send(numbered(filled));
        const closed = sender.close();
        assert.ok(sender.closed && sender.fd >= 0, 'it waits');
        assert.equal(numbersOf(await take(receiver, filled + 1)), upTo(filled + 1));
        await within(2_000, Promise.all([last, closed]), 'the end');
        assert.is(sender.fd, -1);
      });

      test(`${way}: gives up after closeTimeoutMs, and says what was not sent`, async (context) => {
        const told: string[] = [];
        const sockets = new UnixSockets(context);
        const options = { closeTimeoutMs: 30, onError: ({ code }: SystemError) => void told.push(code) };
        const { sender, send } = await route(sockets, way, options);
        fill(sender, send);
        const last = send('last');
        const before = context.loop.time();
        const closed = sender.close();
        assert.is(codeOf(await rejection(last)), 'ECANCELED');
        await closed;
        assert.ok(context.loop.time() - before >= 30);
        assert.equal(told, ['ECANCELED']);
        assert.is(codeOf(await rejection(send('after'))), 'EBADF');
      });

      test(`${way}: hears that a receiver is gone that it has waited for`, async (context) => {
        const told: string[] = [];
        const sockets = new UnixSockets(context);
        const options = { onError: ({ code }: SystemError) => void told.push(code) };
        const { receiver, sender, send } = await route(sockets, way, options);
        fill(sender, send);
        const waiting = [send('one'), send('two')].map(rejection);
        await receiver.close();
        const codes = (await Promise.all(waiting)).map(codeOf);
        // The kernel tells once, and has then disconnected the socket.
        if (way === 'connected') assert.equal([...told, ...codes], ['ECONNREFUSED', 'ENOTCONN', 'ENOTCONN']);
        else assert.equal([...told, ...codes], ['ENOENT', 'ENOENT', 'ENOENT']);
        assert.is(sender.bytesQueued, 0);
        const successor = await sockets.bind();
        await sender.connect(successor.local.path);
        await sender.send('to the successor');
        assert.equal(textsOf(await take(successor, 1)), ['to the successor']);
      });
    }

    test('is told by the kernel when whom it is connected to has room', async (context) => {
      const sockets = new UnixSockets(context);
      const { receiver, sender, send } = await route(sockets, 'connected');
      const filled = fill(sender, send);
      const { timersFired } = context.loop.metrics();
      await take(receiver, filled);
      await sender.flush();
      assert.is(context.loop.metrics().timersFired, timersFired);
    });

    test('keeps its order: one who is full holds up the others', async (context) => {
      const sockets = new UnixSockets(context);
      const { receiver, sender, send } = await route(sockets, 'by path');
      const other = await sockets.bind();
      const filled = fill(sender, send);
      const behind = sender.send('behind', other.local.path);
      assert.is(sender.bytesQueued, 8 + 6);
      await take(receiver, filled);
      await behind;
      assert.equal(textsOf(await take(other, 1)), ['behind']);
    });

    test('sends what waits to whom it was sent, and to nobody else', async (context) => {
      const sockets = new UnixSockets(context);
      const { receiver, sender, send } = await route(sockets, 'connected');
      const other = await sockets.bind();
      const filled = fill(sender, send);
      assert.is(codeOf(await rejection(sender.connect(other.local.path))), 'ERR_IOLOOP_INVALID_STATE');
      assert.throws(() => sender.disconnect(), isCode('ERR_IOLOOP_INVALID_STATE'));
      assert.equal(numbersOf(await take(receiver, filled)), upTo(filled));
      await sender.flush();
      await sender.connect(other.local.path);
      await sender.send('to the other');
      assert.equal(textsOf(await take(other, 1)), ['to the other']);
    });

    test('sends many in one call, and checks all of them first', async (context) => {
      const sockets = new UnixSockets(context);
      const { receiver, sender } = await route(sockets, 'by path');
      const { path } = receiver.local;
      const messages = upTo(200).map((number) => ({ data: numbered(number), path }));
      const before = context.loop.metrics().systemCalls;
      const sent = sender.sendMany(messages);
      assert.equal(numbersOf(await take(receiver, 200)), upTo(200));
      await sent;
      assert.ok(context.loop.metrics().systemCalls - before < 400);
      assert.throws(
        () => sender.sendMany([{ data: numbered(0), path }, { data: numbered(1) }]),
        isCode('ERR_IOLOOP_INVALID_ARGUMENT'),
      );
      await sender.send('nothing came before', path);
      assert.equal(textsOf(await take(receiver, 1)), ['nothing came before']);
    });
  });

function isCode(code: string): (error: Error) => boolean {
  return (error) => codeOf(error) === code;
}
