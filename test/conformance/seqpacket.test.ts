import * as assert from 'uvu/assert';

import {
  IOLoop,
  type SeqpacketMessage,
  SeqpacketSocket,
  type SystemError,
  type UnixMessageBatch,
} from '../../src/index.ts';
import { memoryBudget } from '../../src/stream/memory-budget.ts';
import { Arrivals, codeOf, rejection, textsOf } from '../support/datagrams.ts';
import { Random } from '../support/random.ts';
import { suite } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { passes, turnsIn } from '../support/turns.ts';
import { fill, numbered, numbersOf, take, UnixSockets, upTo } from '../support/unix-sockets.ts';
import { within } from '../support/within.ts';

/** All that comes until the end. */
async function takeAll(socket: SeqpacketSocket): Promise<readonly { readonly data: Buffer }[]> {
  return take(socket, Number.POSITIVE_INFINITY);
}

const isMessage = (message: SeqpacketMessage | null): message is SeqpacketMessage => message !== null;

const isCode =
  (code: string) =>
  (error: Error): boolean =>
    codeOf(error) === code;

for (const backend of IOLoop.backends)
  suite(`a seqpacket socket on ${backend}`, { backend }, (test) => {
    test('keeps the borders of messages under load, both ways at once', async (context) => {
      const ends = new UnixSockets(context).seqpacketPair();
      const messages = count(2_000, 50_000);
      const converse = async (from: SeqpacketSocket, to: SeqpacketSocket, seed: number): Promise<void> => {
        const [sizes, same] = [new Random(seed), new Random(seed)];
        const received = take(to, messages);
        for (let number = 0; number < messages; number++)
          await from.send(numbered(number, 4 + sizes.below(3_000)));
        const taken = await received;
        assert.equal(numbersOf(taken), upTo(messages));
        assert.ok(taken.every(({ data }) => data.length === 4 + same.below(3_000)));
      };
      const [one, other] = ends;
      await within(8_000, Promise.all([converse(one, other, 1), converse(other, one, 2)]), 'the end');
    });

    test('takes a message of no bytes for a message, and not for the end', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair();
      for (const text of ['', 'between', '', '']) await one.send(text);
      await one.close();
      assert.equal(textsOf(await takeAll(other)), ['', 'between', '', '']);
      assert.ok(other.ended);
    });

    test('hands out one message at a time, and null at the end', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair();
      const first = other.receive();
      await one.send('first');
      await one.send('');
      assert.equal([String((await first)?.data), String((await other.receive())?.data)], ['first', '']);
      const last = other.receive();
      await one.close();
      assert.is(await within(2_000, last, 'the end'), null);
      assert.is(await other.receive(), null);
      await within(2_000, other.close(), 'the end of the other');
    });

    test('cuts off what is longer than maxPacketSize, and says so', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair({ maxPacketSize: 4 });
      await one.sendMany(['1234', '12345', '1'].map((text) => Buffer.from(text)));
      const taken = await take(other, 3);
      assert.equal(textsOf(taken), ['1234', '1234', '1']);
      assert.equal(
        taken.map(({ truncated }) => truncated),
        [false, true, false],
      );
    });

    test('names the size of what no buffer holds, and goes on', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair({ sendBufferSize: 8_192 });
      const error = await rejection(one.send(Buffer.alloc(500_000)));
      assert.is(codeOf(error), 'EMSGSIZE');
      assert.match(String(error), '500000 bytes');
      await one.send('short');
      assert.equal(textsOf(await take(other, 1)), ['short']);
    });

    test('answers batch by batch', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair();
      const kept: UnixMessageBatch[] = [];
      other.onMessages((batch) => {
        kept.push(batch);
        for (let i = 0; i < batch.length; i++) batch.reply(i, batch.data(i));
        void other.sendMany(batch);
      });
      await one.sendMany(upTo(3).map((number) => numbered(number)));
      assert.equal(numbersOf(await take(one, 6)).sort(), [0, 0, 1, 1, 2, 2]);
      assert.throws(() => kept[0]?.data(0), isCode('ERR_IOLOOP_INVALID_STATE'));
    });

    test('knows who is at the other end, and who has sent', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair();
      const myself = { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() };
      assert.equal(one.peerCredentials(), myself);
      assert.equal([one.local, other.remote].map(String), ['', '']);
      await one.send('who');
      assert.equal((await take(other, 1))[0]?.credentials, myself);
      assert.is(String(other.remote), String(one.local));
    });

    test('stops its sender when it does not read, and drops nothing', async (context) => {
      const sockets = new UnixSockets(context);
      const [one, other] = sockets.seqpacketPair({ maxQueueLength: 20, maxQueueSize: 64 * 1024 });
      const iteration = other[Symbol.asyncIterator]();
      const sent: Promise<void>[] = [];
      while (one.bytesQueued === 0) {
        for (let i = 0; i < 10; i++) sent.push(one.send(numbered(sent.length, 1_000)));
        await passes(2);
      }
      // All of its room is taken, and what one receive brings on top of it.
      assert.ok(other.bytesBuffered <= 64 * 1024 + 64 * 1_000, `${other.bytesBuffered} bytes wait`);
      await passes(50);
      assert.ok(one.bytesQueued > 0, 'the sender waits');
      const taken: SeqpacketMessage[] = [];
      while (taken.length < sent.length) {
        const next = await within(2_000, iteration.next(), `message ${taken.length}`);
        taken.push(next.value);
      }
      assert.equal(numbersOf(taken), upTo(sent.length));
      await Promise.all(sent);
      assert.is(other.dropped, 0);
      await iteration.return?.();
    });

    test('receives what is waited for, however little memory is left', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair();
      // As if streams held all of it.
      const held = memoryBudget.limit;
      memoryBudget.add(held);
      context.defer(() => memoryBudget.add(-held));
      for (const number of upTo(5)) await one.send(numbered(number));
      assert.equal(numbersOf(await take(other, 4)), upTo(4));
      assert.is((await within(2_000, other.receive(), 'the last'))?.data.readUInt32BE(), 4);
    });

    test('queues no more than it is told, and refuses the rest', async (context) => {
      const sockets = new UnixSockets(context);
      const [one, other] = sockets.seqpacketPair({ maxQueueLength: 3 });
      const filled = fill(one, (data) => one.send(data), 1_000);
      const accepted = [filled, filled + 1].map((number) => one.send(numbered(number, 1_000)));
      assert.is(codeOf(await rejection(one.send('too much'))), 'ERR_IOLOOP_BUFFER_FULL');
      assert.equal(numbersOf(await take(other, filled + 2)), upTo(filled + 2));
      await Promise.all(accepted);
    });

    test('has one reader at a time', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair();
      const first = other.receive();
      const readPending = isCode('ERR_IOLOOP_READ_PENDING');
      assert.ok(readPending((await rejection(other.receive())) as Error));
      assert.throws(() => other[Symbol.asyncIterator](), readPending);
      assert.throws(() => other.onMessages(() => {}), readPending);
      await one.send('first');
      assert.is(String((await first)?.data), 'first');
      other.onMessages(() => {});
      assert.ok(readPending((await rejection(other.receive())) as Error));
      other.onMessages(null);
      await one.send('second');
      assert.is(String((await other.receive())?.data), 'second');
    });

    test('takes one message, and leaves the others to whoever reads next', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair();
      for (const number of upTo(6)) await one.send(numbered(number));
      assert.equal(numbersOf([await other.receive(), await other.receive()].filter(isMessage)), [0, 1]);
      const arrivals = new Arrivals<Buffer>();
      other.onMessages((batch) => {
        for (let i = 0; i < batch.length; i++) arrivals.add(Buffer.from(batch.data(i)));
        if (arrivals.all.length === 4) other.onMessages(null);
      });
      assert.equal(numbersOf((await arrivals.first(4, 'messages')).map((data) => ({ data }))), [2, 3, 4, 5]);
      // Nor does it spin on what nobody reads.
      await one.send(numbered(6));
      assert.is(numbersOf([await other.receive()].filter(isMessage))[0], 6);
      await one.send(numbered(7));
      assert.ok((await turnsIn(100, context.loop)) < 5);
      assert.equal(numbersOf(await take(other, 1)), [7]);
    });

    test('loses nothing to a wait that is given up', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair();
      assert.is(codeOf(await rejection(other.receive({ timeoutMs: 1 }))), 'ERR_IOLOOP_TIMEOUT');
      const controller = new AbortController();
      const aborted = rejection(other.receive({ signal: controller.signal }));
      controller.abort(new Error('enough'));
      const error = await aborted;
      assert.ok(error instanceof Error && error.name === 'AbortError');
      assert.equal(error.cause, new Error('enough'));
      assert.is(codeOf(await rejection(other.receive({ signal: controller.signal }))), 'ABORT_ERR');
      // Given up in the turn in which the message comes.
      for (const number of upTo(50)) {
        const late = new AbortController();
        const waiting = other.receive({ signal: late.signal }).catch(() => null);
        await one.send(numbered(number));
        if (number % 2 === 0) context.loop.addCallback(() => late.abort());
        else late.abort();
        const message = (await waiting) ?? (await within(2_000, other.receive(), 'the message'));
        assert.is(message?.data.readUInt32BE(), number);
      }
    });

    test('refuses what is no message, and what is none of its business', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair();
      const invalid = isCode('ERR_IOLOOP_INVALID_ARGUMENT');
      for (const data of [undefined, 3, null, ['x']])
        assert.throws(() => Reflect.apply(one.send, one, [data]), invalid);
      assert.throws(() => Reflect.apply(one.sendMany, one, [['text']]), invalid);
      const arrivals = new Arrivals<Error>();
      other.onMessages((batch) => {
        try {
          void one.sendMany(batch);
        } catch (error) {
          arrivals.add(error as Error);
        }
      });
      await one.send('x');
      assert.ok((await arrivals.first(1, 'refusals')).every(invalid));
    });

    test('takes no descriptor when an option is refused', (context) => {
      const sockets = new UnixSockets(context);
      sockets.seqpacketPair();
      for (const options of [{ receiveFds: 1 }, { allowHalfOpen: 'yes' }, { maxPacketSize: 0 }])
        assert.throws(
          () => Reflect.apply(SeqpacketSocket.pair, SeqpacketSocket, [options]),
          isCode('ERR_IOLOOP_INVALID_ARGUMENT'),
        );
    });

    test('tells of what was not sent when it ends', async (context) => {
      const told: SystemError[] = [];
      const options = { closeTimeoutMs: 20, onError: (error: SystemError) => void told.push(error) };
      const [one] = new UnixSockets(context).seqpacketPair(options);
      fill(one, (data) => one.send(data), 1_000);
      const last = rejection(one.send('last'));
      await within(2_000, one.close(), 'the end');
      assert.is(codeOf(await last), 'ECANCELED');
      assert.equal(told.map(codeOf), ['ECANCELED']);
    });
  });
