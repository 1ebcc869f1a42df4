import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { UnixDatagram } from '../../src/datagram/unix-datagram-socket.ts';
import { IOLoop, OwnedFd, type SystemError, type UnixMessageBatch } from '../../src/index.ts';
import { Arrivals, codeOf, rejection, textsOf } from '../support/datagrams.ts';
import { newFds, type OpenFds, openFds } from '../support/fds.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { fill, take, UnixSockets, upTo } from '../support/unix-sockets.ts';
import { within } from '../support/within.ts';

/** O_CLOEXEC as /proc/self/fdinfo prints it: proc_pid_fdinfo(5). */
const CLOSE_ON_EXEC = 0o2000000;
const MOST = 253;

type Received = Pick<UnixDatagram, 'data' | 'fds' | 'fdsTruncated'>;
/** What both kinds of sockets have. */
interface FdSocket extends AsyncIterable<Received> {
  readonly bytesQueued: number;
  onMessages(listener: (batch: UnixMessageBatch) => void): void;
  close(): Promise<void>;
  send(data: string | Uint8Array): Promise<void>;
  sendFds(fds: readonly (number | OwnedFd)[], data: string | Uint8Array): Promise<void>;
}

interface Options {
  readonly receiveFds?: boolean;
  readonly maxQueueLength?: number;
  readonly maxQueueSize?: number;
  readonly closeTimeoutMs?: number;
  readonly onError?: (error: SystemError) => void;
}

const kinds: Readonly<Record<string, (sockets: UnixSockets, options: Options) => [FdSocket, FdSocket]>> = {
  datagrams: (sockets, options) => sockets.pair(options),
  'seqpacket messages': (sockets, options) => sockets.seqpacketPair(options),
};

/** Files that say their number, opened to be sent; closed with the test. */
class Files {
  readonly fds: number[] = [];

  constructor(count: number, defer: TestContext['defer']) {
    const directory = mkdtempSync(join(tmpdir(), 'ioloop-'));
    for (const number of upTo(count)) {
      const path = join(directory, `${number}`);
      writeFileSync(path, `file ${number}`);
      this.fds.push(openSync(path, 'r'));
    }
    rmSync(directory, { recursive: true });
    defer(() => this.close());
  }

  close(): void {
    for (const fd of this.fds.splice(0)) closeSync(fd);
  }
}

/** What the files behind `fds` say. */
function contentsOf(fds: readonly { readonly fd: number }[]): string[] {
  return fds.map(({ fd }) => {
    const buffer = Buffer.alloc(100);
    return buffer.toString('utf8', 0, readSync(fd, buffer, 0, 100, 0));
  });
}

function closeAll(messages: readonly Received[]): void {
  for (const { fds } of messages) for (const fd of fds) fd.close();
}

const newSince = (before: OpenFds): string[] => newFds(before, openFds());

for (const backend of IOLoop.backends)
  for (const [kind, makePair] of Object.entries(kinds))
    suite(`descriptors that come with ${kind}, on ${backend}`, { backend }, (test) => {
      const pairOf = (context: TestContext, options: Options = {}): [FdSocket, FdSocket] =>
        makePair(new UnixSockets(context), { receiveFds: true, ...options });

      test('are the files that were sent, though these were closed before', async (context) => {
        const [one, other] = pairOf(context);
        const files = new Files(3, context.defer);
        const sent = one.sendFds(files.fds, 'three');
        files.close();
        await sent;
        const received = await take(other, 1);
        assert.equal(textsOf(received), ['three']);
        const [{ fds, fdsTruncated } = { fds: [], fdsTruncated: true }] = received;
        assert.not(fdsTruncated);
        assert.equal(contentsOf(fds), ['file 0', 'file 1', 'file 2']);
        closeAll(received);
      });

      test('close when another program starts', async (context) => {
        const [one, other] = pairOf(context);
        await one.sendFds(new Files(1, context.defer).fds, '');
        const received = await take(other, 1);
        const fd = received[0]?.fds[0]?.fd ?? -1;
        const flags = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
        assert.ok((Number.parseInt(flags ?? '', 8) & CLOSE_ON_EXEC) !== 0);
        closeAll(received);
      });

      test('stay with their message, in a batch of many', async (context) => {
        const [one, other] = pairOf(context);
        const { fds } = new Files(6, context.defer);
        await one.send('none');
        await one.sendFds(fds.slice(0, 1), '');
        await one.sendFds(fds.slice(1, 4), 'three');
        await one.send('none');
        await one.sendFds(fds.slice(4), 'two');
        const received = await take(other, 5);
        assert.equal(textsOf(received), ['none', '', 'three', 'none', 'two']);
        assert.equal(
          received.map((message) => contentsOf(message.fds)),
          [[], ['file 0'], ['file 1', 'file 2', 'file 3'], [], ['file 4', 'file 5']],
        );
        closeAll(received);
      });

      test('wait for an iteration in a bounded number, however little comes with them', async (context) => {
        const [one, other] = pairOf(context, { maxQueueSize: 10 * 1024, closeTimeoutMs: 0 });
        const { fds } = new Files(1, context.defer);
        other[Symbol.asyncIterator]();
        const before = openFds();
        const sent = upTo(40).map(() => one.sendFds(fds, 'x'));
        for (let pass = 0; pass < 40; pass++) await new Promise(setImmediate);
        // Four that wait and, where they are not dropped, those of one receive more; the sender has duplicates.
        const waiting = newSince(before).length - one.bytesQueued;
        assert.ok(waiting >= 4 && waiting <= 4 + 8, `${waiting} descriptors wait`);
        await Promise.all([one.close(), other.close(), ...sent.map((each) => each.catch(() => {}))]);
      });

      test(`are ${MOST} at most, which is checked`, async (context) => {
        const [one, other] = pairOf(context);
        const [fd = -1] = new Files(1, context.defer).fds;
        await one.sendFds(Array(MOST).fill(fd), 'most');
        await one.sendFds(Array(MOST).fill(fd), 'most');
        const before = openFds();
        const received = await take(other, 2);
        assert.equal(
          received.map(({ fds }) => fds.length),
          [MOST, MOST],
        );
        assert.equal(new Set(received.flatMap(({ fds }) => contentsOf(fds))).size, 1);
        closeAll(received);
        for (const fds of [Array(MOST + 1).fill(fd), [], [-1], ['1'], fd])
          assert.throws(
            () => Reflect.apply(one.sendFds, one, [fds, '']),
            (error: Error) => codeOf(error) === 'ERR_IOLOOP_INVALID_ARGUMENT',
          );
        const error = await rejection(one.sendFds([fd, 999_999], ''));
        assert.is(codeOf(error), 'EBADF');
        assert.match(String(error), 'fd 999999');
        assert.equal(newSince(before), []);
      });

      test('are closed when nobody asks for them', async (context) => {
        const [one, other] = pairOf(context);
        const { fds } = new Files(2, context.defer);
        const before = openFds();
        const asked = new Arrivals<OwnedFd>();
        other.onMessages((batch) => {
          for (let i = 0; i < batch.length; i++) {
            assert.equal(batch.fds(i), batch.fds(i));
            for (const fd of batch.fds(i).slice(1)) fd.close();
            const [first] = batch.fds(i);
            if (first !== undefined) asked.add(first);
          }
        });
        await one.sendFds(fds, 'asked for');
        assert.equal(contentsOf(await asked.first(1, 'descriptors')), ['file 0']);
        asked.all[0]?.close();
        const texts = new Arrivals<string>();
        other.onMessages((batch) => {
          for (let i = 0; i < batch.length; i++) texts.add(String(batch.data(i)));
        });
        await one.sendFds(fds, 'not asked for');
        await texts.first(1, 'messages');
        assert.equal(newSince(before), []);
      });

      test('are closed by a listener that throws, unless it had them', async (context) => {
        const thrown = new Arrivals<unknown>();
        const loop = new IOLoop({ backend, onError: thrown.add });
        context.defer(() => loop.close());
        const [one, other] = makePair(new UnixSockets(context), { receiveFds: true, loop } as Options);
        const { fds } = new Files(2, context.defer);
        const before = openFds();
        other.onMessages(() => {
          throw new Error('no use for them');
        });
        await one.sendFds(fds, '');
        await thrown.first(1, 'errors');
        assert.equal(newSince(before), []);
      });

      test('are closed where they are not wanted', async (context) => {
        const [one, other] = pairOf(context, { receiveFds: false });
        const { fds } = new Files(3, context.defer);
        const before = openFds();
        await one.sendFds(fds, 'text');
        await one.sendFds(Array(MOST).fill(fds[0]), 'more than fit');
        const received = await take(other, 2);
        assert.equal(textsOf(received), ['text', 'more than fit']);
        assert.equal(
          received.map((message) => [message.fds, message.fdsTruncated]),
          [
            [[], true],
            [[], true],
          ],
        );
        assert.equal(newSince(before), []);
      });

      test('are closed with what waits to be received', async (context) => {
        const [one, other] = pairOf(context);
        const { fds } = new Files(3, context.defer);
        const before = openFds();
        const iteration = other[Symbol.asyncIterator]();
        for (const text of ['first', 'second', 'third']) await one.sendFds(fds, text);
        const first = await within(2_000, iteration.next(), 'a message');
        while (newSince(before).length < 9) await new Promise(setImmediate);
        await other.close();
        assert.equal(contentsOf(first.value.fds), ['file 0', 'file 1', 'file 2']);
        closeAll([first.value]);
        assert.equal(newSince(before).length, 0);
        await iteration.return?.();
      });

      test('wait in a queue as duplicates, and leave with their message', async (context) => {
        const [one, other] = pairOf(context);
        const files = new Files(2, context.defer);
        const before = openFds();
        const filled = fill(one, (data) => one.send(data), 1_000);
        const sent = [one.sendFds(files.fds, 'first'), one.sendFds(files.fds.slice(1), 'second')];
        assert.is(newSince(before).length, 3);
        files.close();
        const received = (await take(other, filled + 2)).slice(filled);
        await Promise.all(sent);
        assert.equal(textsOf(received), ['first', 'second']);
        assert.equal(
          received.map((message) => contentsOf(message.fds)),
          [['file 0', 'file 1'], ['file 1']],
        );
        closeAll(received);
      });

      test('are closed when they never leave', async (context) => {
        const sockets = new UnixSockets(context);
        const options = { maxQueueLength: 2, closeTimeoutMs: 0, onError: () => {} };
        const [one] = makePair(sockets, options);
        const { fds } = new Files(2, context.defer);
        fill(one, (data) => one.send(data), 1_000);
        const before = openFds();
        const waiting = rejection(one.sendFds(fds, 'waits'));
        assert.is(newSince(before).length, 2);
        assert.is(codeOf(await rejection(one.sendFds(fds, 'no room'))), 'ERR_IOLOOP_BUFFER_FULL');
        assert.is(newSince(before).length, 2);
        await one.close();
        assert.is(codeOf(await waiting), 'ECANCELED');
        assert.is(codeOf(await rejection(one.sendFds(fds, 'late'))), 'EBADF');
        assert.equal(newSince(before), []);
      });

      test('can be handed on, and taken once', async (context) => {
        const [one, other] = pairOf(context);
        const files = new Files(1, context.defer);
        await one.sendFds(files.fds, 'there');
        const [there] = await take(other, 1);
        await other.sendFds(there?.fds ?? [], 'and back');
        const [back] = await take(one, 1);
        const [first, last] = [there?.fds[0], back?.fds[0]];
        assert.ok(first instanceof OwnedFd && last instanceof OwnedFd);
        const fd = last.take();
        assert.equal([last.fd, last.closed, first.closed], [-1, true, false]);
        assert.throws(() => last.take(), /taken or closed/);
        last.close();
        assert.equal(contentsOf([{ fd }, first]), ['file 0', 'file 0']);
        closeSync(fd);
        first.close();
        first.close();
        assert.throws(() => fstatSync(fd));
        assert.throws(() => one.sendFds([first], ''), /fds\[0\]/);
      });
    });

for (const backend of IOLoop.backends)
  suite(`descriptors that nobody has waited for, on ${backend}`, { backend }, (test) => {
    test('stay with a message that a wait has left behind', async (context) => {
      const [one, other] = new UnixSockets(context).seqpacketPair({ receiveFds: true });
      const { fds } = new Files(1, context.defer);
      for (const turns of upTo(6)) {
        const controller = new AbortController();
        const waiting = other.receive({ signal: controller.signal }).catch(() => null);
        await one.sendFds(fds, `${turns}`);
        for (let turn = 0; turn < turns; turn++) await Promise.resolve();
        controller.abort();
        const message = (await waiting) ?? (await within(2_000, other.receive(), 'the message'));
        assert.equal(contentsOf(message?.fds ?? []), ['file 0']);
        closeAll(message === null ? [] : [message]);
      }
    });
  });
