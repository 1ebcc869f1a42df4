import { fstatSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

import {
  IOLoop,
  IOLoopError,
  IOStream,
  LimitError,
  type OwnedFd,
  StreamClosedError,
  type StreamOptions,
  SystemError,
  UnixServer,
} from '../../src/index.ts';
import { sendWithFds } from '../../src/native.ts';
import { closeFd } from '../../src/raw.ts';
import { openFds } from '../support/fds.ts';
import { connectPair, type StreamPair, streamKinds, turnsUntil, unixFds } from '../support/streams.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';

/** Two streams over a Unix connection, of which the right one takes descriptors. */
function pairOf(context: TestContext, right: StreamOptions = { receiveFds: 8 }): Promise<StreamPair> {
  return connectPair('unix', context, { right });
}

/** Descriptors to be sent, of different files, closed with the test. */
function makeFds(count: number, defer: TestContext['defer']): number[] {
  const fds: number[] = [];
  while (fds.length < count) fds.push(...unixFds());
  defer(() => {
    for (const fd of fds) closeFd(fd);
  });
  return fds.slice(0, count);
}

/** A directory that goes with the test. */
function makeDirectory(defer: TestContext['defer']): string {
  const directory = mkdtempSync(join(tmpdir(), 'ioloop-'));
  defer(() => rmSync(directory, { recursive: true }));
  return directory;
}

/** Which files they are. */
function filesOf(fds: readonly (number | OwnedFd)[]): number[] {
  return fds.map((fd) => fstatSync(typeof fd === 'number' ? fd : fd.fd).ino);
}

function closeAll(fds: readonly OwnedFd[]): void {
  for (const fd of fds) fd.close();
}

/** What `promise` rejects with. */
async function refusal(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('it was not refused');
}

/** What ends `stream`, once it is closed. */
async function endOf(stream: IOStream): Promise<Error | null> {
  await stream.whenClosed;
  return stream.error;
}

for (const backend of IOLoop.backends) {
  suite(`descriptors over a stream on ${backend}`, { backend }, (test) => {
    test('arrive with the byte they were sent with, and work there', async (context) => {
      const { loop, left, right } = await pairOf(context);
      const [near, far] = unixFds();
      const sent = left.sendFds([near], 'x');
      // The duplicate is on its way: this one is its owner's again.
      closeFd(near);
      await sent;
      assert.is(String(await right.readBytes(1)), 'x');
      const [received] = right.takeFds();
      if (received === undefined) throw new Error('nothing came');
      const one = IOStream.fromFd(received.take(), { loop });
      const other = IOStream.fromFd(far, { loop });
      context.defer(() => Promise.all([one.close(), other.close()]));
      await one.write('through');
      assert.is(String(await other.readBytes(7)), 'through');
    });

    test('keep their place among bytes, and their order', async (context) => {
      const { left, right } = await pairOf(context);
      const fds = makeFds(3, context.defer);
      void left.write('before');
      void left.sendFds(fds.slice(0, 2), 'two');
      void left.write('between');
      void left.sendFds(fds.slice(2), [Buffer.from('o'), Buffer.from('ne')]);
      await left.write('after');
      const text = await right.readUntil('after');
      assert.is(String(text), 'beforetwobetweenoneafter');
      const first = right.takeFds(1);
      const rest = right.takeFds();
      assert.equal([first.length, rest.length, right.takeFds().length], [1, 2, 0]);
      assert.equal(filesOf([...first, ...rest]), filesOf(fds));
      closeAll([...first, ...rest]);
    });

    test('arrive once, however short the reads', async (context) => {
      const { left, right } = await pairOf(context);
      const fds = makeFds(2, context.defer);
      const came: number[] = [];
      void left.sendFds(fds, 'a message');
      const target = new Uint8Array(1);
      for (let byte = 0; byte < 9; byte++) {
        await right.readInto(target);
        const taken = right.takeFds();
        came.push(taken.length);
        closeAll(taken);
      }
      assert.equal(came, [2, 0, 0, 0, 0, 0, 0, 0, 0]);
    });

    test('wait behind what is queued, with messages that the kernel takes in pieces', async (context) => {
      const { loop, left, right } = await pairOf(context);
      const fds = makeFds(2, context.defer);
      const large = Buffer.alloc(2 ** 20, 'l');
      void left.write(large);
      const sent = [left.sendFds(fds.slice(0, 1), large), left.sendFds(fds.slice(1), 'end')];
      await nextTurn(loop);
      assert.ok(left.bytesQueued > 0);
      const target = Buffer.alloc(2 ** 20);
      await right.readInto(target);
      await right.readInto(target);
      assert.is(target.compare(large), 0);
      assert.is(String(await right.readBytes(3)), 'end');
      await Promise.all(sent);
      const taken = right.takeFds();
      assert.equal(filesOf(taken), filesOf(fds));
      closeAll(taken);
    });

    test('go 253 at a time, beside credentials, too', async (context) => {
      const { left, right } = await pairOf(context, { receiveFds: 253 });
      const [fd = -1] = makeFds(1, context.defer);
      const many = Array<number>(253).fill(fd);
      await left.sendFds(many, '!');
      await right.readBytes(1);
      assert.is(right.takeFds().map((one) => one.close()).length, 253);
      if (process.platform !== 'linux') return;
      right.setOption('SO_PASSCRED', true);
      await left.sendFds(many, '!');
      await right.readBytes(1);
      assert.is(right.takeFds().map((one) => one.close()).length, 253);
    });

    test('leave the stream as it was when they are refused', async (context) => {
      const { left, right } = await pairOf(context);
      const [fd = -1] = makeFds(1, context.defer);
      const wrong: unknown[][] = [
        [[], 'x'],
        [Array(254).fill(fd), 'x'],
        [[fd], ''],
        [[fd], []],
        [[fd], 1],
        [['0'], 'x'],
        [[-1], 'x'],
        [fd, 'x'],
      ];
      for (const args of wrong) {
        const refused: Promise<void> = Reflect.apply(left.sendFds, left, args);
        assert.ok(IOLoopError.is(await refusal(refused), 'ERR_IOLOOP_INVALID_ARGUMENT'), String(args));
      }
      const error = await refusal(left.sendFds([fd, 100_000], 'x'));
      assert.ok(error instanceof SystemError && error.code === 'EBADF' && /100000/.test(error.message));
      assert.throws(() => right.takeFds(-1), /count/);
      await left.write('fine');
      assert.is(String(await right.readBytes(4)), 'fine');
    });

    test('beyond what may wait end the stream, and those before them can still be taken', async (context) => {
      const { left, right } = await pairOf(context, { receiveFds: 4 });
      const fds = makeFds(4, context.defer);
      const before = openFds().size;
      await left.sendFds(fds, 'four');
      await right.readBytes(2);
      await left.sendFds(fds.slice(0, 1), 'five');
      const error = await endOf(right);
      assert.ok(error instanceof LimitError && error.code === 'ERR_IOLOOP_READ_LIMIT' && error.limit === 4);
      assert.is(String(await right.readBytes(2)), 'ur');
      const taken = right.takeFds();
      assert.equal(filesOf(taken), filesOf(fds));
      closeAll(taken);
      assert.ok(openFds().size < before);
    });

    test('that nobody asked for are never received', async (context) => {
      const { left, right } = await pairOf(context, {});
      const [fd = -1] = makeFds(1, context.defer);
      const before = openFds().size;
      for (let byte = 0; byte < 64; byte++) {
        assert.is(sendWithFds(left.fd, Buffer.from('!'), 0, 1, new Int32Array(253).fill(fd)), 1);
        await right.readBytes(1);
      }
      assert.is(openFds().size, before);
      assert.equal(right.takeFds(), []);
    });

    test('of a peer that sends 253 with each byte are bounded', async (context) => {
      const { left, right } = await pairOf(context, { receiveFds: 600 });
      const [fd = -1] = makeFds(1, context.defer);
      const before = openFds().size;
      const hostile = new Int32Array(253).fill(fd);
      while (sendWithFds(left.fd, Buffer.from('!'), 0, 1, hostile) === 1);
      const error = await endOf(right);
      assert.ok(error instanceof LimitError);
      assert.is(openFds().size, before - 1 + 506);
      void right.close();
      assert.is(openFds().size, before - 1);
    });

    for (const how of ['close', 'abort', 'end'] as const)
      test(`that nobody took are closed with the stream: ${how}`, async (context) => {
        const { left, right } = await pairOf(context);
        const fds = makeFds(3, context.defer);
        const before = openFds().size;
        await left.sendFds(fds, 'three');
        await right.readBytes(5);
        assert.is(openFds().size, before + 3);
        if (how === 'end') {
          void left.close();
          assert.ok((await refusal(right.readBytes(1))) instanceof StreamClosedError);
          await Promise.all([left.whenClosed, right.whenClosed]);
          assert.is(openFds().size, before - 2);
        } else {
          void right[how]();
          assert.equal(right.takeFds(), []);
          await right.whenClosed;
          assert.is(openFds().size, before - 1);
        }
      });

    test('that come while it closes are closed, however many', async (context) => {
      const { left, right } = await pairOf(context, { receiveFds: 1 });
      const fds = makeFds(4, context.defer);
      const before = openFds().size;
      // Something is unread, so it drains what is still to come.
      void left.write('unread');
      await left.flush();
      const closed = right.close();
      void left.sendFds(fds, 'four');
      void left.end();
      await Promise.all([closed, left.whenClosed]);
      assert.is(right.error, null);
      assert.is(openFds().size, before - 2);
    });

    test('can be taken as long as the bytes they came with can be read', async (context) => {
      const { left, right } = await pairOf(context);
      const fds = makeFds(2, context.defer);
      await left.sendFds(fds.slice(0, 1), 'one');
      await left.sendFds(fds.slice(1), 'two');
      await turnsUntil(context.loop, () => right.bytesBuffered === 6);
      // What it has not read makes this a reset.
      await right.write('unread');
      left.abort();
      await right.whenClosed;
      const taken: OwnedFd[] = [];
      for (const message of ['one', 'two']) {
        assert.is(String(await right.readBytes(3)), message);
        taken.push(...right.takeFds(1));
      }
      assert.equal(filesOf(taken), filesOf(fds));
      closeAll(taken);
    });

    test('that were not sent are closed when the stream fails', async (context) => {
      const { left, right } = await pairOf(context);
      const fds = makeFds(2, context.defer);
      const before = openFds().size;
      void left.write(Buffer.alloc(2 ** 22));
      const sent = left.sendFds(fds, 'never');
      assert.is(openFds().size, before + 2);
      left.abort();
      assert.ok((await refusal(sent)) instanceof StreamClosedError);
      assert.is(openFds().size, before - 1);
      assert.ok((await refusal(left.sendFds(fds, 'x'))) instanceof StreamClosedError);
      // An unhandled rejection would end the run.
      void left.sendFds(fds, 'nobody waits');
      right.abort();
    });

    test('abort the stream when more is queued than may be', async (context) => {
      const { left } = await connectPair('unix', context, { left: { maxWriteBufferSize: 1024 } });
      const fds = makeFds(1, context.defer);
      void left.write(Buffer.alloc(2 ** 22));
      const error = await refusal(left.sendFds(fds, 'x'));
      assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_BUFFER_FULL'));
      assert.ok(left.closed);
    });

    test('are received by servers, and closed with the handler that did not take them', async (context) => {
      const { loop, defer } = context;
      const fds = makeFds(2, defer);
      const files: number[] = [];
      const server = new UnixServer(
        async (stream) => {
          await stream.readUntil('\n');
          for (const fd of stream.takeFds(1)) {
            files.push(...filesOf([fd]));
            fd.close();
          }
        },
        { loop, receiveFds: 2 },
      );
      defer(() => server.close({ graceMs: 0 }));
      const { path } = await server.listen(join(makeDirectory(defer), 's'));
      const before = openFds().size;
      const client = await IOStream.connect({ path }, { loop });
      await client.sendFds(fds, 'two\n');
      await client.readUntilClose();
      await client.whenClosed;
      assert.equal(files, filesOf(fds.slice(0, 1)));
      assert.is(openFds().size, before);
    });

    test('of a stream that closes afterwards cost its loop nothing', async (context) => {
      const { loop, left, right } = await pairOf(context);
      const served = await connectPair('unix', context);
      await left.sendFds([served.right.fd], 'x');
      await right.readBytes(1);
      const [passed] = right.takeFds();
      if (passed === undefined) throw new Error('nothing came');
      await served.right.close();
      const { spuriousEvents, turns } = loop.metrics();
      await served.left.write('to whoever has it now');
      await left.write('a turn');
      await right.readBytes(6);
      assert.ok(loop.metrics().turns > turns);
      assert.is(loop.metrics().spuriousEvents, spuriousEvents);
      passed.close();
    });
  });
}

suite('streams that take no descriptors', (test) => {
  for (const kind of streamKinds.filter((one) => one !== 'sim' && one !== 'unix'))
    test(`say so: ${kind}`, async (context) => {
      const { left, right } = await connectPair(kind, context, { right: { receiveFds: 8 } });
      const error = await refusal(left.sendFds([0], 'x'));
      assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE'), String(error));
      assert.equal(right.takeFds(), []);
      assert.not(left.closed);
    });
});

suite('peerCredentials()', (test) => {
  test('tells who is at the other end', async (context) => {
    const { left, right } = await connectPair('unix', context);
    const uid = process.getuid?.() ?? -1;
    const gid = process.getgid?.() ?? -1;
    for (const stream of [left, right])
      assert.equal(stream.peerCredentials(), { pid: process.pid, uid, gid });
    left.abort();
    assert.throws(
      () => left.peerCredentials(),
      (error: unknown) => error instanceof StreamClosedError,
    );
  });

  test('is not told of TCP', async (context) => {
    const { left } = await connectPair('tcp', context);
    assert.throws(
      () => left.peerCredentials(),
      (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE'),
    );
  });
});
