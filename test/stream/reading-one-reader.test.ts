import * as assert from 'uvu/assert';

import { IOLoopError, type IOStream } from '../../src/index.ts';
import { connectPair, deliver, type StreamPair } from '../support/streams.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { neverCalled, nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

const LIMIT_MS = 5_000;

function iterate(stream: IOStream): AsyncIterableIterator<Buffer> {
  return stream[Symbol.asyncIterator]();
}

/** Every way to begin to read. */
const readers: Readonly<Record<string, (stream: IOStream) => unknown>> = {
  readUntil: (stream) => stream.readUntil('\n'),
  tryReadUntil: (stream) => stream.tryReadUntil('\n'),
  readUntilRegex: (stream) => stream.readUntilRegex(/\n/),
  readBytes: (stream) => stream.readBytes(1),
  tryReadBytes: (stream) => stream.tryReadBytes(1),
  readInto: (stream) => stream.readInto(Buffer.alloc(1)),
  readUntilClose: (stream) => stream.readUntilClose(),
  'an iteration': (stream) => iterate(stream).next(),
};

/** Ways to have begun, and how each is ended. */
const waiting: Readonly<Record<string, (pair: StreamPair) => Promise<() => Promise<unknown>>>> = {
  'a pending read': async ({ left, right }) => {
    const line = right.readUntil('\n');
    return () => {
      void left.write('x\n');
      return line;
    };
  },
  'an iteration that waits': async ({ left, right }) => {
    const iteration = iterate(right);
    const next = iteration.next();
    return async () => {
      void left.write('x');
      await next;
      await iteration.return?.();
    };
  },
  'the body of an iteration': async (pair) => {
    const iteration = iterate(pair.right);
    const next = iteration.next();
    await deliver(pair, Buffer.from('x'));
    await next;
    return () => iteration.return?.() ?? Promise.resolve();
  },
  onData: async ({ right }) => {
    right.onData(neverCalled);
    return async () => right.onData(null);
  },
};

/** Asserts that `begin` is refused since somebody reads already. */
async function assertReadPending(begin: () => unknown, what: string): Promise<void> {
  try {
    await within(LIMIT_MS, Promise.resolve(begin()), what);
  } catch (error) {
    assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_READ_PENDING'), `${what}: ${error}`);
    return;
  }
  throw new Error(`${what} was allowed`);
}

async function tcpPair(context: TestContext): Promise<StreamPair> {
  return connectPair('tcp', context);
}

suite('one reader at a time', (test) => {
  for (const [state, begin] of Object.entries(waiting)) {
    test(`${state} refuses every other reader, and goes on`, async (context) => {
      const pair = await tcpPair(context);
      const finish = await begin(pair);
      for (const [name, read] of Object.entries(readers))
        await assertReadPending(() => read(pair.right), `${name} beside ${state}`);
      if (state !== 'onData')
        await assertReadPending(() => pair.right.onData(neverCalled), `onData beside ${state}`);
      await within(LIMIT_MS, finish(), 'the end of the first reader');

      const next = pair.right.readUntil('\n');
      void pair.left.write('next\n');
      assert.is((await within(LIMIT_MS, next, 'the next line')).toString(), 'next\n');
    });
  }

  test('onData may be given another listener, and null: back to reads', async (context) => {
    const pair = await tcpPair(context);
    const { right } = pair;
    const told: string[] = [];
    right.onData((chunk) => void told.push(`first ${chunk}`));
    await deliver(pair, Buffer.from('a'));
    right.onData((chunk) => void told.push(`second ${chunk}`));
    await deliver(pair, Buffer.from('b'));
    right.onData(null);
    await deliver(pair, Buffer.from('c'));
    assert.equal(told, ['first a', 'second b']);
    assert.is((await right.readBytes(1)).toString(), 'c');
  });

  test('leaving an iteration leaves the stream open, with what was not yielded', async (context) => {
    const pair = await tcpPair(context);
    const { right } = pair;
    right.unshift(Buffer.from('second'));
    right.unshift(Buffer.from('first'));
    for await (const chunk of right) {
      assert.is(chunk.toString(), 'first');
      break;
    }
    assert.not.ok(right.closed);
    assert.is((await right.readBytes(6)).toString(), 'second');
    const thrown = new Error('out of the loop');
    await deliver(pair, Buffer.from('third'));
    try {
      for await (const _ of right) throw thrown;
    } catch (error) {
      assert.is(error, thrown);
    }
    await deliver(pair, Buffer.from('fourth'));
    for await (const chunk of right) {
      assert.is(chunk.toString(), 'fourth');
      break;
    }
  });

  test('an iteration inside another is refused, and does not end it', async (context) => {
    const pair = await tcpPair(context);
    const outer = iterate(pair.right);
    await deliver(pair, Buffer.from('a'));
    await outer.next();
    await assertReadPending(() => iterate(pair.right).next(), 'the inner iteration');
    await assertReadPending(() => pair.right.readBytes(1), 'a read in the outer one');
    await iterate(pair.right).return?.();
    await assertReadPending(() => pair.right.readBytes(1), 'a read after the return of another');
    await deliver(pair, Buffer.from('b'));
    assert.is((await outer.next()).value?.toString(), 'b');
    await outer.return?.();
  });

  test('an iteration that was left is done for good', async (context) => {
    const pair = await tcpPair(context);
    const iteration = iterate(pair.right);
    await deliver(pair, Buffer.from('ab'));
    await iteration.next();
    assert.equal(await iteration.return?.(), { value: undefined, done: true });
    await deliver(pair, Buffer.from('c'));
    assert.equal(await iteration.next(), { value: undefined, done: true });
    assert.is((await pair.right.readBytes(1)).toString(), 'c');
  });

  test('a read that ended makes room for the next one at once', async (context) => {
    const pair = await tcpPair(context);
    const { left, right } = pair;
    const lines: string[] = [];
    const reading = (async () => {
      for (let i = 0; i < 10; i++) lines.push((await right.readUntil('\n')).toString());
    })();
    void left.write('0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n');
    await within(LIMIT_MS, reading, 'ten lines');
    assert.is(lines.join(''), '0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n');
  });
});

suite('tryReadUntil() and tryReadBytes()', (test) => {
  test('drain a pipeline from the buffer alone', async (context) => {
    const pair = await tcpPair(context);
    const { right } = pair;
    assert.is(right.tryReadUntil('\n'), null);
    assert.is(right.tryReadBytes(1, { partial: true }), null);
    await deliver(pair, Buffer.from('a\nbb\nccc'));
    const lines: string[] = [];
    for (let line = right.tryReadUntil('\n'); line !== null; line = right.tryReadUntil('\n'))
      lines.push(line.toString());
    assert.equal(lines, ['a\n', 'bb\n']);
    assert.is(right.tryReadBytes(4), null);
    assert.is(right.tryReadBytes(4, { partial: true })?.toString(), 'ccc');
  });

  test('read on behind the end, and no more once closed', async (context) => {
    const pair = await tcpPair(context);
    const { left, right } = pair;
    void left.end('a\nrest');
    await within(LIMIT_MS, right.readUntil('\n'), 'the line');
    while (!right.ended) await nextTurn(pair.loop);
    assert.is(right.tryReadUntil('\n'), null);
    assert.is(right.tryReadBytes(4)?.toString(), 'rest');
    assert.is(right.tryReadBytes(1), null);
    void right.close();
    assert.throws(
      () => right.tryReadBytes(1),
      (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_STREAM_CLOSED'),
    );
  });
});

suite('unshift()', (test) => {
  test('puts bytes before those that are there, and satisfies who waits', async (context) => {
    const pair = await tcpPair(context);
    const { right } = pair;
    await deliver(pair, Buffer.from('d\n'));
    const given = Buffer.from('bc');
    right.unshift(given);
    given.fill('x');
    right.unshift(Buffer.from('a'));
    right.unshift(new Uint8Array(0));
    assert.is(right.bytesBuffered, 5);
    assert.is((await right.readUntil('\n')).toString(), 'abcd\n');

    const waiting = right.readUntil('\n');
    right.unshift(Buffer.from('e\n'));
    assert.is((await within(LIMIT_MS, waiting, 'the line')).toString(), 'e\n');
  });

  test('is delivered to onData, not within the call', async (context) => {
    const { right } = await tcpPair(context);
    const chunk = new Promise<string>((resolve) => right.onData((data) => resolve(data.toString())));
    let called = false;
    void chunk.then(() => {
      called = true;
    });
    right.unshift(Buffer.from('abc'));
    assert.not.ok(called);
    assert.is(await within(LIMIT_MS, chunk, 'the chunk'), 'abc');
  });

  test('counts in the metrics of the loop until it is read', async (context) => {
    const { loop, right } = await tcpPair(context);
    right.unshift(Buffer.alloc(1_000));
    assert.is(loop.metrics().bytesBuffered, 1_000);
    await right.readBytes(999);
    assert.is(loop.metrics().bytesBuffered, 1);
    right.abort();
    assert.is(loop.metrics().bytesBuffered, 0);
  });

  test('is refused on a closed stream', async (context) => {
    const { right } = await tcpPair(context);
    right.abort();
    assert.throws(
      () => right.unshift(Buffer.from('a')),
      (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_STREAM_CLOSED'),
    );
  });
});
