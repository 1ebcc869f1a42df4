import * as assert from 'uvu/assert';

import { IOLoopError, type IOStream, StreamClosedError } from '../../src/index.ts';
import {
  deliver,
  type StreamPair,
  streamKinds,
  suitePerStream,
  turnsUntil,
  withPair,
} from '../support/streams.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

const LIMIT_MS = 5_000;

async function refusal(promise: Promise<unknown>): Promise<StreamClosedError> {
  try {
    await within(LIMIT_MS, promise, 'the end of the read');
  } catch (error) {
    if (error instanceof StreamClosedError) return error;
    throw error;
  }
  throw new Error('the read was satisfied');
}

/** Each read for more than is there. */
const unsatisfiable: Readonly<Record<string, (stream: IOStream) => Promise<unknown>>> = {
  readUntil: (stream) => stream.readUntil('\n'),
  readUntilRegex: (stream) => stream.readUntilRegex(/\n/),
  readBytes: (stream) => stream.readBytes(100),
  readInto: (stream) => stream.readInto(Buffer.alloc(100)),
};

/** Has the peer write `text` and end, or leave with a reset, in one go, and waits until that has arrived. */
async function last({ loop, left, right }: StreamPair, text: string): Promise<void> {
  void left.write(text);
  void left.end();
  await turnsUntil(loop, () => right.bytesRead >= text.length);
}

/** The kinds whose abort() resets the connection so that the peer is told. */
const resettable = ['tcp', 'sim'] as const;

suitePerStream("reads at the peer's end", streamKinds, (test, kind) => {
  test('that the buffer can satisfy succeed, in order; those that it cannot reject without a cause', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      await last(pair, 'one\ntwo\nrest');
      const { right } = pair;
      await turnsUntil(pair.loop, () => right.ended);
      assert.is((await right.readUntil('\n')).toString(), 'one\n');
      assert.is((await right.readBytes(4)).toString(), 'two\n');
      for (const read of Object.values(unsatisfiable))
        assert.is((await refusal(read(right))).cause, undefined);
      assert.is((await right.readBytes(4)).toString(), 'rest');
      const error = await refusal(right.readBytes(1));
      assert.is(error.stream, right);
      assert.is(right.error, null);
    });
  });

  for (const [name, read] of Object.entries(unsatisfiable)) {
    test(`a waiting ${name}() rejects, and what it had stays`, async (context) => {
      await withPair(kind, context, {}, async (pair) => {
        const waiting = refusal(read(pair.right));
        await deliver(pair, Buffer.from('re'));
        await last(pair, 'st');
        assert.is((await waiting).cause, undefined);
        assert.is((await pair.right.readBytes(4)).toString(), 'rest');
        await within(LIMIT_MS, pair.right.whenClosed, 'the close');
      });
    });
  }

  test('a waiting read is satisfied by what arrives together with the end', async (context) => {
    for (const [expected, read] of [
      ['last\n', (stream: IOStream) => stream.readUntil('\n')],
      ['last\n', (stream: IOStream) => stream.readUntilRegex(/t\n/)],
      ['last\n', (stream: IOStream) => stream.readBytes(5)],
      ['last\n', (stream: IOStream) => stream.readBytes(100, { partial: true })],
    ] as const)
      await withPair(kind, context, {}, async (pair) => {
        const waiting = read(pair.right);
        await nextTurn(pair.loop);
        await last(pair, 'last\n');
        assert.is((await within(LIMIT_MS, waiting, 'the message')).toString(), expected);
        await within(LIMIT_MS, pair.right.whenClosed, 'the close');
      });
  });

  test('a pattern is tried on all of it, however often it was before', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      const waiting = pair.right.readUntilRegex(/\n/);
      for (let i = 0; i < 20; i++) await deliver(pair, Buffer.from('aaaa'));
      await last(pair, '\n');
      assert.is((await within(LIMIT_MS, waiting, 'the message')).length, 81);
    });
  });

  test('readUntilClose() gives all of it, at every split', async (context) => {
    const wire = Buffer.from('all of it');
    for (let at = 0; at <= wire.length; at++)
      await withPair(kind, context, {}, async (pair) => {
        const everything = pair.right.readUntilClose();
        await deliver(pair, wire.subarray(0, at));
        await last(pair, wire.toString('latin1', at));
        assert.is((await within(LIMIT_MS, everything, 'the end')).toString(), 'all of it');
      });
  });

  test('readUntilClose() gives nothing where nothing came', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      void pair.left.end();
      assert.is((await within(LIMIT_MS, pair.right.readUntilClose(), 'the end')).length, 0);
    });
  });

  test('an iteration yields all of it and returns', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      let text = '';
      const iterated = (async () => {
        for await (const chunk of pair.right) text += chunk.toString();
      })();
      for (const letter of 'abc') await deliver(pair, Buffer.from(letter));
      await last(pair, 'def');
      await within(LIMIT_MS, iterated, 'the end of the iteration');
      assert.is(text, 'abcdef');
    });
  });

  test('onData, onEnd and onClose are called in this order, the latter two once', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      const { right } = pair;
      const told: string[] = [];
      right.onClose((error, stream) => told.push(`close ${error} ${stream === right}`));
      right.onEnd((stream) => told.push(`end ${stream === right}`));
      right.onData((chunk) => void told.push(chunk.toString()));
      await deliver(pair, Buffer.from('first'));
      await last(pair, 'last');
      await within(LIMIT_MS, right.whenClosed, 'the close');
      await nextTurn(pair.loop);
      assert.equal(told, ['first', 'last', 'end true', 'close null true']);
    });
  });

  test('onEnd comes after whoever was given the last bytes has seen them', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      const { right } = pair;
      const seen: string[] = [];
      const ended = new Promise<void>((resolve) => {
        right.onEnd(() => {
          seen.push('end');
          resolve();
        });
      });
      await last(pair, 'one\ntwo\n');
      await turnsUntil(pair.loop, () => right.ended);
      seen.push((await right.readUntil('\n')).toString());
      seen.push(String(right.tryReadUntil('\n')));
      await within(LIMIT_MS, ended, 'the end');
      assert.equal(seen, ['one\n', 'two\n', 'end']);
    });
  });

  test('onEnd comes after a waiting read that the end satisfies', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      const { right } = pair;
      const seen: string[] = [];
      right.onEnd(() => void seen.push('end'));
      const reading = right.readUntilClose().then((bytes) => void seen.push(bytes.toString()));
      await last(pair, 'all');
      await within(LIMIT_MS, reading, 'the read');
      await turnsUntil(pair.loop, () => seen.length === 2);
      assert.equal(seen, ['all', 'end']);
    });
  });

  test('onEnd waits until the last byte was read', async (context) => {
    await withPair(kind, context, { right: { allowHalfOpen: true } }, async (pair) => {
      const { right } = pair;
      let ends = 0;
      right.onEnd(() => void ends++);
      await last(pair, 'abc');
      await turnsUntil(pair.loop, () => right.ended);
      await right.readBytes(2);
      assert.is(ends, 0);
      await right.readBytes(1);
      await nextTurn(pair.loop);
      await refusal(right.readBytes(1));
      assert.is(ends, 1);
    });
  });
});

suitePerStream('reads after a reset', resettable, (test, kind) => {
  test('have what was received before, then reject with its cause', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      const { left, right } = pair;
      await deliver(pair, Buffer.from('one\ntwo\nrest'));
      left.abort();
      const closed = new Promise<Error | null>((resolve) => right.onClose(resolve));
      assert.is(((await within(LIMIT_MS, closed, 'the close')) as NodeJS.ErrnoException)?.code, 'ECONNRESET');
      assert.is((await right.readUntil('\n')).toString(), 'one\n');
      assert.is((await right.readUntilRegex(/\n/)).toString(), 'two\n');
      assert.is(right.tryReadUntil('\n'), null);
      for (const read of Object.values(unsatisfiable))
        assert.is((await refusal(read(right))).cause, right.error);
      assert.is((await right.readBytes(4)).toString(), 'rest');
      assert.is((await refusal(right.readUntilClose())).cause, right.error);
    });
  });

  test('that wait reject with its cause, and no other', async (context) => {
    for (const read of [...Object.values(unsatisfiable), (stream: IOStream) => stream.readUntilClose()])
      await withPair(kind, context, {}, async (pair) => {
        const waiting = refusal(read(pair.right));
        await deliver(pair, Buffer.from('some'));
        pair.left.abort();
        const { cause } = await waiting;
        assert.is((cause as NodeJS.ErrnoException).code, 'ECONNRESET');
        assert.is(pair.right.error, cause);
        assert.is((await pair.right.readBytes(4)).toString(), 'some');
      });
  });

  test('by a pattern are tried on all that came', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      const message = pair.right.readUntilRegex(/\n/);
      for (let i = 0; i < 20; i++) await deliver(pair, Buffer.from('aaaa'));
      await deliver(pair, Buffer.from('\n'));
      pair.left.abort();
      assert.is((await within(LIMIT_MS, message, 'the message')).length, 81);
    });
  });

  test('end an iteration by throwing', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      let text = '';
      const iterated = (async () => {
        for await (const chunk of pair.right) text += chunk.toString();
      })();
      await deliver(pair, Buffer.from('some'));
      pair.left.abort();
      assert.ok(IOLoopError.is(await refusal(iterated), 'ERR_IOLOOP_STREAM_CLOSED'));
      assert.is(text, 'some');
    });
  });

  test('never call a listener within itself, whose write found the reset', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      const { left, right } = pair;
      const big = Buffer.alloc(100_000);
      const received: string[] = [];
      let depth = 0;
      right.onData((chunk) => {
        assert.is(++depth, 1);
        received.push(chunk.toString());
        if (received.length === 1) {
          void left.write('second');
          void left.flush();
          left.abort();
          for (let i = 0; i < 3; i++) void right.write(big);
        }
        depth--;
      });
      await deliver(pair, Buffer.from('first'));
      await within(LIMIT_MS, right.whenClosed, 'the close');
      assert.equal(received, ['first', 'second']);
      assert.is((right.error as NodeJS.ErrnoException).code, 'ECONNRESET');
    });
  });

  test('are told by onClose after all data, and not by onEnd', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      const { left, right } = pair;
      const told: string[] = [];
      right.onEnd(() => void told.push('end'));
      right.onData((chunk) => void told.push(chunk.toString()));
      const closed = new Promise<void>((resolve) =>
        right.onClose((error) => {
          told.push(`close ${(error as NodeJS.ErrnoException).code}`);
          resolve();
        }),
      );
      await deliver(pair, Buffer.from('some'));
      left.abort();
      await within(LIMIT_MS, closed, 'the close');
      assert.equal(told, ['some', 'close ECONNRESET']);
    });
  });
});
