import * as assert from 'uvu/assert';

import { IOLoopError, type IOStream } from '../../src/index.ts';
import { type StreamPair, streamKinds, suitePerStream, withPair } from '../support/streams.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const LIMIT_MS = 8_000;

/** Fills the connection, so that what is written next waits. */
async function block({ loop, left, right }: StreamPair): Promise<void> {
  right.pause();
  void left.write(Buffer.alloc(12 * MiB));
  for (let before = -1; left.bytesWritten > before; await nextTurn(loop)) before = left.bytesWritten;
}

/** That `written` fails once its turn comes, and the stream with it. */
async function endsInvalid({ left, right }: StreamPair, written: Promise<void>): Promise<void> {
  right.onData(() => {});
  right.resume();
  const error = await within(LIMIT_MS, written, 'the failure').then(
    () => assert.unreachable('the write succeeded'),
    (reason) => reason,
  );
  assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_STREAM_CLOSED'), error.message);
  assert.ok(IOLoopError.is(left.error, 'ERR_IOLOOP_INVALID_STATE'), String(left.error));
  await within(LIMIT_MS, left.whenClosed, 'the close');
  assert.is(left.bytesQueued, 0);
}

/** Transfers the memory of `data` away, as postMessage() does. */
function transfer(data: Uint8Array<ArrayBuffer>): void {
  structuredClone(data.buffer, { transfer: [data.buffer] });
}

async function receive(stream: IOStream, length: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for (let left = length; left > 0; left -= chunks.at(-1)?.length ?? 0)
    chunks.push(await stream.readBytes(left, { partial: true }));
  return Buffer.concat(chunks);
}

suitePerStream('a buffer that was written', streamKinds, (test, kind) => {
  test('ends the stream when it is transferred before it was sent', (context) =>
    withPair(kind, context, {}, async (pair) => {
      await block(pair);
      const data = new Uint8Array(100 * KiB);
      const written = pair.left.write(data);
      void pair.left.write('behind');
      transfer(data);
      await endsInvalid(pair, written);
    }));

  test('ends the stream when it is transferred half sent', (context) =>
    withPair(kind, context, {}, async (pair) => {
      const { loop, left, right } = pair;
      const data = new Uint8Array(12 * MiB);
      right.pause();
      const written = left.write(data);
      for (let before = -1; left.bytesWritten > before; await nextTurn(loop)) before = left.bytesWritten;
      assert.ok(left.bytesWritten > 0 && left.bytesWritten < data.length);
      transfer(data);
      await endsInvalid(pair, written);
    }));

  test('ends the stream when it is shrunk before it was sent', (context) =>
    withPair(kind, context, {}, async (pair) => {
      await block(pair);
      // The language of our compiler, ES2023, has no resizable buffers; Node 20 does.
      const memory: ArrayBuffer = Reflect.construct(ArrayBuffer, [100 * KiB, { maxByteLength: 200 * KiB }]);
      const written = pair.left.write(new Uint8Array(memory));
      Reflect.apply(Reflect.get(memory, 'resize'), memory, [50 * KiB]);
      await endsInvalid(pair, written);
    }));

  test('is its writer\u2019s at once, when it is small', (context) =>
    withPair(kind, context, {}, async (pair) => {
      await block(pair);
      const data = Buffer.alloc(16 * KiB - 1, 'a');
      void pair.left.write(data);
      const memory = new Uint8Array(new ArrayBuffer(100)).fill(98);
      void pair.left.write(memory);
      data.fill('z');
      transfer(memory);
      const reading = receive(pair.right, 12 * MiB + data.length + 100);
      pair.right.resume();
      const bytes = (await within(LIMIT_MS, reading, 'the bytes')).subarray(12 * MiB);
      assert.is(String(bytes), 'a'.repeat(data.length) + 'b'.repeat(100));
    }));

  test('is its writer\u2019s when the promise has settled, also as a part of a list', (context) =>
    withPair(kind, context, { left: { highWaterMark: 64 * MiB } }, async (pair) => {
      await block(pair);
      const [first, second] = [Buffer.alloc(100 * KiB, '1'), Buffer.alloc(200 * KiB, '2')];
      const reading = receive(pair.right, 12 * MiB + first.length + second.length + 5);
      const written = pair.left.write([first, Buffer.from('small'), second]);
      pair.right.resume();
      await within(LIMIT_MS, written, 'the write');
      first.fill('x');
      second.fill('x');
      const bytes = (await within(LIMIT_MS, reading, 'the bytes')).subarray(12 * MiB);
      assert.ok(bytes.equals(Buffer.from(`${'1'.repeat(100 * KiB)}small${'2'.repeat(200 * KiB)}`)));
    }));
});
