import * as assert from 'uvu/assert';

import { IOLoop, type SeqpacketSocket, SystemError } from '../../src/index.ts';
import { memoryBudget } from '../../src/stream/memory-budget.ts';
import { Arrivals, codeOf, rejection, textsOf } from '../support/datagrams.ts';
import { signal } from '../support/driven.ts';
import { suite } from '../support/suite.ts';
import { passes } from '../support/turns.ts';
import { fill, numbered, numbersOf, take, UnixSockets, upTo } from '../support/unix-sockets.ts';
import { within } from '../support/within.ts';

const LIMIT_MS = 2_000;

/** How reading to the end goes: the texts that come, and the code of the error after them. */
async function readOut(socket: SeqpacketSocket): Promise<string[]> {
  const read: string[] = [];
  const iterate = async (): Promise<void> => {
    try {
      for await (const { data } of socket) read.push(String(data));
    } catch (error) {
      read.push(String(codeOf(error)));
    }
  };
  await within(LIMIT_MS, iterate(), 'the end of reading');
  return read;
}

for (const backend of IOLoop.backends)
  suite(`the end of a seqpacket connection on ${backend}`, { backend }, (test) => {
    test('comes after all messages, and closes the other side, too', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair();
      const ends = new Arrivals<SeqpacketSocket>();
      other.onEnd(ends.add);
      await one.send('first');
      await one.send('last');
      await one.close();
      assert.equal(await readOut(other), ['first', 'last']);
      assert.equal([other.ended, other.closed, ends.all.length], [true, true, 1]);
      await within(LIMIT_MS, other.close(), 'the end of the descriptor');
      assert.is(other.fd, -1);
    });

    test('waits for what is queued', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair();
      const filled = fill(one, (data) => one.send(data), 1_000);
      const last = one.send(numbered(filled));
      const closed = one.close();
      assert.ok(one.closed && one.fd >= 0);
      assert.equal(numbersOf(await take(other, Number.POSITIVE_INFINITY)), upTo(filled + 1));
      await within(LIMIT_MS, Promise.all([last, closed]), 'the end');
    });

    test('can be of one half', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair({ allowHalfOpen: true });
      const filled = fill(one, (data) => one.send(data), 1_000);
      const ended = one.end();
      assert.throws(
        () => one.send('more'),
        (error: Error) => codeOf(error) === 'ERR_IOLOOP_INVALID_STATE',
      );
      assert.throws(
        () => one.sendMany([]),
        (error: Error) => codeOf(error) === 'ERR_IOLOOP_INVALID_STATE',
      );
      assert.equal(numbersOf(await take(other, Number.POSITIVE_INFINITY)), upTo(filled));
      await within(LIMIT_MS, ended, 'the end of our half');
      assert.equal([other.ended, other.closed, one.closed], [true, false, false]);
      await other.send('still here');
      await one.end();
      assert.equal(textsOf(await take(one, 1)), ['still here']);
      await other.close();
      assert.is(await within(LIMIT_MS, one.receive(), 'the end'), null);
    });

    test('closes a socket that does not want half of it, which delivers what it has to', async (context) => {
      const sockets = new UnixSockets(context);
      const [one, other] = sockets.seqpacketPair();
      other.onEnd(() => void other.send('last words'));
      other.onMessages(() => {});
      await one.end();
      assert.equal(await readOut(one), ['last words']);
      await within(LIMIT_MS, Promise.all([one.close(), other.close()]), 'both ends');
    });

    test('by a reset comes after the messages before it', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair();
      const ends = new Arrivals<SeqpacketSocket>();
      other.onEnd(ends.add);
      await one.send('first');
      await one.send('last');
      await other.send('never read');
      await one.close();
      assert.equal(await readOut(other), ['first', 'last', 'ECONNRESET']);
      assert.equal([ends.all.length, other.closed, other.fd], [1, true, -1]);
      assert.is(await other.receive(), null);
    });

    test('by a reset is told to who waits, and by onError to who listens', async (context) => {
      const told: SystemError[] = [];
      const sockets = new UnixSockets(context);
      const options = { onError: (error: SystemError) => void told.push(error) };
      for (const isListening of [false, true]) {
        const [one, other] = sockets.seqpacketPair(options);
        const ended = signal();
        other.onEnd(() => ended.fire());
        const received = isListening ? null : rejection(other.receive());
        if (isListening) other.onMessages(() => {});
        await other.send('never read');
        await one.close();
        await within(LIMIT_MS, ended.promise, 'the end');
        if (received !== null) {
          const error = await received;
          assert.ok(error instanceof SystemError && error.code === 'ECONNRESET', String(error));
        }
        await other.close();
        assert.equal(told.splice(0).map(codeOf), isListening ? ['ECONNRESET'] : []);
      }
    });

    test('fails what is sent, and leaves what has come to be read', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair();
      await one.send('first');
      await one.send('last');
      await one.close();
      assert.is(codeOf(await rejection(other.send('too late'))), 'EPIPE');
      assert.is(codeOf(await rejection(other.send('too late'))), 'EPIPE');
      assert.equal(await readOut(other), ['first', 'last']);
    });

    test('by a reset fails what is sent, and leaves what has come to be read', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair();
      await one.send('first');
      await other.send('never read');
      await one.close();
      assert.match(String(codeOf(await rejection(other.send('too late')))), /^(EPIPE|ECONNRESET)$/);
      assert.equal(await readOut(other), ['first', 'ECONNRESET']);
    });

    test('fails all that is queued, and settles every promise', async (context) => {
      const told: string[] = [];
      const sockets = new UnixSockets(context);
      const onError = ({ code }: SystemError): void => void told.push(code);
      const [one, other] = sockets.seqpacketPair({ onError });
      fill(one, (data) => one.send(data), 1_000);
      const waiting = upTo(100).map((number) => rejection(one.send(numbered(number))));
      const flushed = one.flush();
      await other.close();
      const codes = new Set((await Promise.all(waiting)).map(codeOf));
      assert.ok(codes.size === 1 && /^(EPIPE|ECONNRESET)$/.test(String([...codes][0])), String([...codes]));
      await within(LIMIT_MS, flushed, 'the flush');
      assert.is(one.bytesQueued, 0);
      assert.is(told.length, 1);
      await within(LIMIT_MS, one.close(), 'the end');
    });

    test('may come in its own listener', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair();
      let calls = 0;
      let ends = 0;
      other.onEnd(() => ends++);
      other.onMessages((batch) => {
        calls++;
        void other.close();
        assert.is(other.fd, -1);
        assert.is(String(batch.data(0)), 'first', 'the batch stands');
      });
      await one.send('first');
      await one.end();
      assert.is(await within(LIMIT_MS, one.receive(), 'the end'), null);
      await passes(3);
      assert.equal([calls, ends], [1, 0]);
    });

    test('gives the budget back what nobody has read, which can still be read', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair();
      const before = memoryBudget.used;
      const left = other[Symbol.asyncIterator]();
      await one.send('unread');
      await passes(3);
      assert.is(memoryBudget.used, before + 6);
      await one.close();
      await passes(3);
      assert.is(other.fd, -1);
      assert.is(memoryBudget.used, before);
      assert.is(String((await left.next()).value?.data), 'unread');
      assert.is(memoryBudget.used, before);
    });

    test('comes by itself though the listener of the end throws, which is told', async (context) => {
      const thrown: unknown[] = [];
      const loop = new IOLoop({ backend, onError: (error) => void thrown.push(error) });
      context.defer(() => loop.close());
      const [one, other] = new UnixSockets(context).seqpacketPair({ loop });
      const failure = new Error('thrown by a listener');
      other.onMessages(() => {});
      other.onEnd(() => {
        throw failure;
      });
      await one.close();
      await passes(3);
      assert.equal([other.closed, other.fd], [true, -1]);
      assert.equal(thrown, [failure]);
    });

    test('may come in the listener of the other side, before our own is called', async (context) => {
      const sockets = new UnixSockets(context);
      const [one, other] = sockets.seqpacketPair();
      const called = new Arrivals<string>();
      const listen = (socket: SeqpacketSocket, peer: SeqpacketSocket, name: string): void =>
        socket.onMessages(() => {
          called.add(name);
          void peer.close();
          void socket.close();
        });
      listen(one, other, 'one');
      listen(other, one, 'other');
      await Promise.all([one.send('to the other'), other.send('to one')]);
      await called.first(1, 'calls');
      await passes(3);
      assert.is(called.all.length, 1);
    });

    test('settles what waits, and refuses what comes after it', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair();
      const waiting = one.receive();
      const iterating = readOut(other);
      await Promise.all([one.close(), other.close(), one.close()]);
      assert.is(await within(LIMIT_MS, waiting, 'receive()'), null);
      assert.equal(await iterating, []);
      assert.is(codeOf(await rejection(one.send('late'))), 'EBADF');
      assert.is(codeOf(await rejection(one.sendMany([Buffer.alloc(0)]))), 'EBADF');
      await one.end();
      for (const use of [
        () => one.onMessages(() => {}),
        () => one.peerCredentials(),
        () => one.getOption('SO_RCVBUF'),
      ])
        assert.throws(use, (error: Error) => codeOf(error) === 'ERR_IOLOOP_CLOSED');
    });

    test('comes with the end of the loop, which sends what it can', async (context) => {
      const loop = new IOLoop({ backend });
      const sockets = new UnixSockets(context);
      const [one, far] = sockets.seqpacketPair({ loop });
      const [other, near] = sockets.seqpacketPair();
      const received = far.receive();
      await near.send('to be read after all');
      one.onMessages(() => {});
      await within(LIMIT_MS, loop.close({ graceMs: 0 }), 'the end of the loop');
      assert.is(await within(LIMIT_MS, received, 'receive()'), null);
      assert.equal([one.fd, far.fd, one.closed], [-1, -1, true]);
      assert.equal(textsOf(await take(other, 1)), ['to be read after all']);
    });
  });
