import { Buffer } from 'node:buffer';
import * as assert from 'uvu/assert';

import {
  frames,
  IOLoopError,
  LineFramer,
  NetstringFramer,
  PrefixFramer,
  StreamClosedError,
} from '../../../src/index.ts';
import { drawFrame, framerKinds, pieces } from '../../support/framers.ts';
import { Random } from '../../support/random.ts';
import { connectPair, deliver, suitePerStream, withPair } from '../../support/streams.ts';
import { count } from '../../support/tier.ts';

suitePerStream('frames of a stream', ['tcp', 'tls', 'pipe', 'sim'], (test, kind) => {
  test('come one for each that is asked for, and end with the stream', (context) =>
    withPair(kind, context, {}, async ({ left, right }) => {
      const random = new Random(1);
      const [netstrings] = framerKinds.filter(({ name }) => name === 'netstrings');
      if (netstrings === undefined) throw new Error('there is no kind of netstrings');
      const sent = Array.from({ length: count(200, 5_000) }, () => drawFrame(netstrings, random));
      const write = async (): Promise<void> => {
        const wire = Buffer.concat(sent.map(netstrings.encode));
        for (const piece of pieces(wire, random, 5_000)) await left.write(piece);
        await left.end();
      };
      const read = async (): Promise<Buffer[]> => {
        const got: Buffer[] = [];
        for await (const frame of frames(right, new NetstringFramer())) got.push(frame);
        return got;
      };
      const [got] = await Promise.all([read(), write()]);
      assert.equal(got.map(String), sent.map(String));
    }));

  test('throw for a stream that ends in the middle of one', (context) =>
    withPair(kind, context, {}, async ({ left, right }) => {
      await left.end('3:abc,3:');
      const got: string[] = [];
      try {
        for await (const frame of frames(right, new NetstringFramer())) got.push(`${frame}`);
        assert.unreachable('the end was taken for one in order');
      } catch (error) {
        assert.ok(error instanceof StreamClosedError, String(error));
        assert.is(error.stream, right);
        assert.match(error.message, 'in the middle of a frame');
      }
      assert.equal(got, ['abc']);
    }));

  test('throw for one that is too long', (context) =>
    withPair(kind, context, {}, async ({ left, right }) => {
      await left.write('3:abc,4:abcd,');
      const iterator = frames(right, new NetstringFramer({ maxLength: 3 }));
      assert.is(String((await iterator.next()).value), 'abc');
      try {
        await iterator.next();
        assert.unreachable('it was not refused');
      } catch (error) {
        assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_READ_LIMIT'), String(error));
      }
      assert.not(right.closed);
    }));
});

suitePerStream('frames and what else is read', ['tcp'], (test) => {
  test('leave what follows the last one to other reads', async (context) => {
    const pair = await connectPair('tcp', context);
    const { left, right } = pair;
    await deliver(pair, Buffer.from('one\r\n\r\nbody\x00\x02hi'));
    for await (const line of frames(right, new LineFramer())) if (line.length === 0) break;
    assert.is(String(await right.readBytes(4)), 'body');
    const framer = new PrefixFramer(2);
    for (let round = 0; round < 2; round++) {
      for await (const frame of frames(right, framer)) {
        assert.is(String(frame), 'hi');
        break;
      }
      await left.write('\x00\x02hi');
    }
  });

  test('can be cut in another way from any one on', async (context) => {
    const pair = await connectPair('tcp', context);
    await deliver(pair, Buffer.from('one\r\ntwo;three;'));
    const framer = new LineFramer();
    const got: string[] = [];
    for await (const line of frames(pair.right, framer)) {
      framer.setDelimiter(';');
      if (got.push(`${line}`) === 3) break;
    }
    assert.equal(got, ['one', 'two', 'three']);
  });

  test("are their receiver's, whatever it does to them", async (context) => {
    const pair = await connectPair('tcp', context);
    const { left, right } = pair;
    await deliver(pair, Buffer.from('one\ntwo\n'));
    const iterator = frames(right, new LineFramer({ delimiter: '\n' }));
    const { value: one } = await iterator.next();
    const { value: two } = await iterator.next();
    one?.fill('x');
    await left.end('three\n');
    const { value: three } = await iterator.next();
    assert.equal([one, two, three].map(String), ['xxx', 'two', 'three']);
    assert.ok((await iterator.next()).done);
  });

  test('keep no more memory than they need, when they are kept', async (context) => {
    const { left, right } = await connectPair('tcp', context);
    void left.end('line\r\n'.repeat(100_000));
    for await (const line of frames(right, new LineFramer()))
      assert.ok(line.buffer.byteLength <= Buffer.poolSize, `${line.buffer.byteLength} bytes`);
  });

  test('are pushed by onData() as well, and what a framer throws closes the stream', async (context) => {
    const { left, right } = await connectPair('tcp', context);
    const got: string[] = [];
    const errors: unknown[] = [];
    right.owner = { streamFailed: (_, error) => errors.push(error), streamEvicted() {}, streamClosed() {} };
    const framer = new NetstringFramer({ maxLength: 3, onFrame: (frame) => got.push(`${frame}`) });
    right.onData((chunk) => framer.push(chunk));
    await left.write('3:abc,0:,4:abcd,');
    await right.whenClosed;
    assert.equal(got, ['abc', '']);
    assert.ok(IOLoopError.is(errors[0], 'ERR_IOLOOP_READ_LIMIT'));
  });
});
