import { Buffer } from 'node:buffer';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

import {
  type Bytes,
  type Consumer,
  FileSender,
  type FileSource,
  IOLoop,
  IOLoopError,
  type Producer,
  Protocol,
} from '../../src/index.ts';
import { newFds, openFds } from '../support/fds.ts';
import { connectTo } from '../support/protocols.ts';
import { connectPair } from '../support/streams.ts';
import { suite, type TestContext } from '../support/suite.ts';

const CONTENT = Buffer.alloc(300_000, 'What is sent, and not so short. ');

function makeFile({ defer }: TestContext, content: Uint8Array = CONTENT): string {
  const directory = mkdtempSync(join(tmpdir(), 'ioloop-file-sender-'));
  defer(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'file');
  writeFileSync(path, content);
  return path;
}

/** Takes what it is given, and asks for the next piece when it is told to. */
class SlowConsumer implements Consumer {
  producer: Producer | null = null;
  readonly written: Buffer[] = [];
  onWrite: () => void = () => this.producer?.resumeProducing();

  write(data: Bytes): void {
    this.written.push(toBuffer(data));
    this.onWrite();
  }
  registerProducer(producer: Producer, streaming: boolean): void {
    if (this.producer !== null) throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'there is one');
    assert.not(streaming);
    this.producer = producer;
    producer.resumeProducing();
  }
  unregisterProducer(): void {
    this.producer = null;
  }
}

function toBuffer(data: Bytes): Buffer {
  if (typeof data === 'string') return Buffer.from(data);
  return data instanceof Uint8Array ? Buffer.from(data) : Buffer.concat(data);
}

async function failureOf(sending: Promise<number>): Promise<unknown> {
  return sending.then(
    (count) => assert.unreachable(`${count} bytes were sent`),
    (error: unknown) => error,
  );
}

for (const backend of IOLoop.backends)
  suite(`file sender on ${backend}`, { backend }, (test) => {
    for (const what of ['a path', 'a descriptor', 'a FileHandle'] as const)
      test(`sends all of ${what}, in order with what else is written`, async (context) => {
        const path = makeFile(context);
        const { left, right } = await connectPair('tcp', context);
        const protocol = new Protocol();
        const transport = connectTo(right, protocol, []);
        let source: FileSource = path;
        if (what === 'a descriptor') {
          const fd = openSync(path, 'r');
          context.defer(() => closeSync(fd));
          source = fd;
        } else if (what === 'a FileHandle') {
          const handle = await open(path);
          context.defer(() => handle.close());
          source = handle;
        }
        transport.write('before ');
        const sending = new FileSender().beginFileTransfer(source, transport);
        // Waits for the producer.
        transport.loseConnection();
        const received = await left.readUntilClose();
        assert.is(await sending, CONTENT.length);
        assert.ok(received.equals(Buffer.concat([Buffer.from('before '), CONTENT])));
      });

    test('stops when the connection is lost, and nobody has to hear that', async (context) => {
      const path = makeFile(context, Buffer.alloc(8_000_000));
      const { left, right } = await connectPair('tcp', context);
      const transport = connectTo(right, new Protocol(), []);
      const sending = new FileSender().beginFileTransfer(path, transport);
      await left.readBytes(1_000);
      left.abort();
      assert.ok(IOLoopError.is(await failureOf(sending), 'ERR_IOLOOP_STREAM_CLOSED'));
    });
  });

suite('file sender', (test) => {
  test('sends what transform makes of each piece, be it nothing', async (context) => {
    const path = makeFile(context);
    const consumer = new SlowConsumer();
    const lengths: number[] = [];
    const sent = await new FileSender().beginFileTransfer(path, consumer, (piece) => {
      lengths.push(piece.length);
      return lengths.length % 2 === 0 ? piece.subarray(0, 10) : new Uint8Array(0);
    });
    assert.is(
      lengths.reduce((sum, length) => sum + length),
      CONTENT.length,
    );
    assert.is(consumer.written.length, Math.floor(lengths.length / 2));
    assert.is(sent, 10 * consumer.written.length);
    assert.is(consumer.producer, null);
  });

  test('sends nothing of an empty file', async (context) => {
    const consumer = new SlowConsumer();
    assert.is(await new FileSender().beginFileTransfer(makeFile(context, new Uint8Array(0)), consumer), 0);
    assert.equal(consumer.written, []);
    assert.is(consumer.producer, null);
  });

  test('has a piece in memory, and reads the next when it is asked to', async (context) => {
    const consumer = new SlowConsumer();
    const first = new Promise<void>((resolve) => {
      consumer.onWrite = resolve;
    });
    const sender = new FileSender();
    const sending = sender.beginFileTransfer(makeFile(context), consumer);
    await first;
    sender.pauseProducing();
    assert.is(consumer.written.length, 1);
    consumer.onWrite = () => consumer.producer?.resumeProducing();
    consumer.producer?.resumeProducing();
    assert.is(await sending, CONTENT.length);
    assert.ok(Buffer.concat(consumer.written).equals(CONTENT));
    // One that is done sends another.
    assert.is(await sender.beginFileTransfer(makeFile(context), consumer), CONTENT.length);
  });

  test('reads one piece at a time, however often it is asked', async (context) => {
    const file = await open(makeFile(context));
    context.defer(() => file.close());
    const { read } = file;
    let reads = 0;
    Reflect.set(file, 'read', async (...args: unknown[]) => {
      assert.is(++reads, 1);
      try {
        return await Reflect.apply(read, file, args);
      } finally {
        reads--;
      }
    });
    const consumer = new SlowConsumer();
    consumer.onWrite = () => {
      consumer.producer?.resumeProducing();
      consumer.producer?.resumeProducing();
    };
    assert.is(await new FileSender().beginFileTransfer(file, consumer), CONTENT.length);
    assert.ok(Buffer.concat(consumer.written).equals(CONTENT));
  });

  test('fails as the file does, and lets the consumer go', async (context) => {
    const consumer = new SlowConsumer();
    const error = await failureOf(new FileSender().beginFileTransfer('/there/is/none', consumer));
    assert.is(Reflect.get(Object(error), 'code'), 'ENOENT');
    assert.is(consumer.producer, null);
    const failure = new Error('not this file');
    const failing = new FileSender().beginFileTransfer(makeFile(context), consumer, () => {
      throw failure;
    });
    assert.is(await failureOf(failing), failure);
    assert.is(consumer.producer, null);
  });

  test('closes what it has opened, when it is stopped in the middle', async (context) => {
    for (const stopsAt of ['once', 'first piece'] as const) {
      const consumer = new SlowConsumer();
      const sender = new FileSender();
      consumer.onWrite = () => sender.stopProducing();
      const path = makeFile(context);
      const before = openFds();
      const sending = sender.beginFileTransfer(path, consumer);
      if (stopsAt === 'once') sender.stopProducing();
      assert.ok(IOLoopError.is(await failureOf(sending), 'ERR_IOLOOP_STREAM_CLOSED'));
      assert.is(consumer.written.length, stopsAt === 'once' ? 0 : 1);
      assert.equal(newFds(before, openFds()), []);
    }
  });

  test('sends one file at a time', async (context) => {
    const sender = new FileSender();
    const path = makeFile(context);
    const consumer = new SlowConsumer();
    const sending = sender.beginFileTransfer(path, consumer);
    const isInvalidState = (error: unknown): boolean => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE');
    assert.throws(() => sender.beginFileTransfer(path, new SlowConsumer()), isInvalidState);
    assert.throws(() => new FileSender().beginFileTransfer(path, consumer), isInvalidState);
    assert.is(await sending, CONTENT.length);
  });

  test('takes paths, descriptors and FileHandles', () => {
    const { beginFileTransfer } = FileSender.prototype;
    for (const refused of [null, undefined, -1, 1.5, {}, Buffer.from('path')])
      assert.throws(
        () => Reflect.apply(beginFileTransfer, new FileSender(), [refused, new SlowConsumer()]),
        (error: unknown) =>
          IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT') && error.message.startsWith('source must be'),
      );
  });
});
