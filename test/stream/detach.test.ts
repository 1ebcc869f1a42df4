import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

import { IOLoopError, IOStream, SystemError } from '../../src/index.ts';
import { closeFd, listenSocket, recv, send } from '../../src/raw.ts';
import { startWorker } from '../support/package.ts';
import {
  connectPair,
  deliver,
  pipeFds,
  suitePerStream,
  tcpFds,
  turnsUntil,
  unixFds,
  withPair,
} from '../support/streams.ts';
import { suite } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

const LIMIT_MS = 8_000;

function invalidState(error: unknown): boolean {
  return IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE');
}

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof SystemError && error.code === code;
}

suitePerStream('detach()', ['tcp', 'unix', 'sim'], (test, kind) => {
  test('gives the descriptor away with what is unread, and the next stream reads it first', (context) =>
    withPair(kind, context, {}, async (pair) => {
      const { loop, left, right } = pair;
      let told = false;
      right.onClose(() => {
        told = true;
      });
      await deliver(pair, Buffer.from('first\nsecond\nthi'));
      assert.is(String(await right.readUntil('\n')), 'first\n');
      const { fd, unread } = right.detach();
      assert.is(String(unread), 'second\nthi');
      assert.ok(fd >= 0);
      assert.ok(right.closed);
      assert.is(right.fd, -1);
      await within(LIMIT_MS, right.whenClosed, 'the end of the stream');
      assert.is(right.error, null);
      assert.not.ok(told);
      assert.is(loop.metrics().bytesBuffered, 0);
      const next = IOStream.fromFd(fd, { loop, unread });
      void left.write('rd\n');
      assert.is(String(await within(LIMIT_MS, next.readUntil('\n'), 'the second')), 'second\n');
      assert.is(String(await within(LIMIT_MS, next.readUntil('\n'), 'the third')), 'third\n');
      next.abort();
      await next.whenClosed;
    }));

  test('is refused while bytes are queued, somebody reads, or it is over', (context) =>
    withPair(kind, context, {}, async ({ left, right }) => {
      void left.write('queued');
      assert.throws(() => left.detach(), invalidState);
      await left.flush();
      const reading = right.readBytes(7);
      assert.throws(() => right.detach(), invalidState);
      void left.write('!');
      await within(LIMIT_MS, reading, 'the bytes');
      right.onData(() => {});
      assert.throws(() => right.detach(), invalidState);
      right.onData(null);
      void left.end();
      assert.throws(() => left.detach(), invalidState);
      left.abort();
      assert.throws(() => left.detach(), invalidState);
      await left.whenClosed;
    }));
});

suite('detach() under TLS', (test) => {
  test('is refused', async (context) => {
    const { loop, left } = await connectPair('tls', context);
    assert.throws(() => left.detach(), invalidState);
    await nextTurn(loop);
  });
});

suite('a detached descriptor', { limitMs: 30_000 }, (test) => {
  test('is open, and nobody of ours watches or closes it', async (context) => {
    const { loop } = context;
    const [near, far] = tcpFds();
    const stream = IOStream.fromFd(near, { loop });
    const { fd } = stream.detach();
    assert.is(fd, near);
    stream.abort();
    await stream.close();
    await nextTurn(loop);
    assert.is(send(far, Buffer.from('!')), 1);
    const buffer = Buffer.alloc(2);
    await turnsUntil(loop, () => recv(fd, buffer) === 1);
    closeFd(fd);
    closeFd(far);
  });

  test('is taken up by a worker, which reads on where this thread stopped', async (context) => {
    const pair = await connectPair('tcp', context);
    const { left, right } = pair;
    const total = 4 * 1024 * 1024;
    const bytes = Buffer.alloc(total, 'abcdefghijklmnopqrstuvwxyz0123456789');
    void left.write(bytes);
    const head = await within(LIMIT_MS, right.readBytes(1_000), 'the head');
    const { fd, unread } = right.detach();
    assert.ok(unread.length > 0);
    const worker = startWorker(
      `(async () => {
        const { fd, unread } = workerData;
        const stream = ioloop.IOStream.fromFd(fd, { unread });
        const chunks = [];
        for await (const chunk of stream) chunks.push(chunk);
        await stream.close();
        parentPort.postMessage(Buffer.concat(chunks));
      })();`,
      { workerData: { fd, unread } },
    );
    context.defer(() => worker.terminate());
    const answer = once(worker, 'message');
    await within(LIMIT_MS, left.end(), 'the rest');
    const [tail] = await within(LIMIT_MS, answer, 'what the worker read');
    assert.ok(Buffer.concat([head, tail]).equals(bytes));
  });
});

suite('IOStream.fromFd()', (test) => {
  test('refuses what is no connected stream socket, which stays its owner\u2019s', (context) => {
    const { loop } = context;
    const directory = mkdtempSync(join(tmpdir(), 'ioloop-'));
    context.defer(() => rmSync(directory, { recursive: true }));
    const file = openSync(join(directory, 'file'), 'w');
    const listener = listenSocket({ port: 0 });
    const [write, read] = pipeFds();
    for (const [fd, code] of [
      [file, 'ENOTSOCK'],
      [read, 'ENOTSOCK'],
      [listener, 'ENOTCONN'],
      [99_999, 'EBADF'],
    ] as const)
      assert.throws(() => IOStream.fromFd(fd, { loop }), hasCode(code), code);
    for (const fd of [file, listener, write, read]) closeSync(fd);
  });

  test('refuses arguments of other types, by their names', (context) => {
    const { loop } = context;
    for (const fd of [-1, 1.5, Number.NaN, '3', null])
      assert.throws(() => Reflect.apply(IOStream.fromFd, IOStream, [fd, { loop }]), /fd.* -?[\w.']+/);
    const [near, far] = unixFds();
    assert.throws(
      () => Reflect.apply(IOStream.fromFd, IOStream, [near, { loop, unread: 'text' }]),
      /options\.unread/,
    );
    assert.throws(
      () => Reflect.apply(IOStream.fromFd, IOStream, [near, { loop, highWaterMark: -1 }]),
      /options\.highWaterMark/,
    );
    closeFd(near);
    closeFd(far);
  });

  test('refuses a descriptor that a stream has already', (context) => {
    const { loop } = context;
    const [near, far] = unixFds();
    const stream = IOStream.fromFd(near, { loop });
    assert.throws(() => IOStream.fromFd(near, { loop }), hasCode('EEXIST'));
    assert.not.ok(stream.closed);
    closeFd(far);
    stream.abort();
    return stream.whenClosed;
  });

  test('reads what was unread even when the peer has left', async (context) => {
    const [near, far] = unixFds();
    closeFd(far);
    const stream = IOStream.fromFd(near, { loop: context.loop, unread: Buffer.from('a\nb') });
    assert.is(String(await within(LIMIT_MS, stream.readUntil('\n'), 'a line')), 'a\n');
    assert.is(String(await within(LIMIT_MS, stream.readUntilClose(), 'the rest')), 'b');
    await within(LIMIT_MS, stream.whenClosed, 'the close');
  });
});
