import * as assert from 'uvu/assert';

import { LimitError } from '../../src/index.ts';
import { Delimiter } from '../../src/stream/delimiter.ts';
import {
  AtMost,
  type Behind,
  Exactly,
  type Framing,
  IntoTarget,
  NextPiece,
  UntilDelimiter,
  UntilEnd,
  UntilRegex,
} from '../../src/stream/pending-read.ts';
import { ReadBuffer } from '../../src/stream/read-buffer.ts';
import { suite } from '../support/suite.ts';

const KiB = 1024;

/** A buffer that notes how many bytes each attempt at a pattern looks at. */
class WatchedBuffer extends ReadBuffer {
  readonly attempts: number[] = [];

  add(text: string): this {
    this.append(Buffer.from(text, 'latin1'), text.length);
    return this;
  }

  override peekText(count: number): string {
    this.attempts.push(count);
    return super.peekText(count);
  }
}

/** What `framing` takes, as text. */
function taken(framing: Framing<Buffer>, input: ReadBuffer, behind: Behind = 'more'): string | undefined {
  return framing.take(input, behind)?.toString('latin1');
}

function limitOf(take: () => unknown): number {
  try {
    take();
  } catch (error) {
    if (error instanceof LimitError) return error.limit;
    throw error;
  }
  throw new Error('the limit was not told');
}

suite('a read until a regular expression', (test) => {
  test('tries again only when the bytes have doubled', () => {
    const framing = new UntilRegex(/b/, 64 * KiB);
    const input = new WatchedBuffer();
    for (let length = 1; length < 64 * KiB; length++)
      assert.is(framing.take(input.add('a'), 'more'), undefined);
    // A few are free, so that short messages are found at once.
    const late = input.attempts.filter((length) => length > 8);
    assert.ok(late.length <= 13, `tried at ${late}`);
    for (const [i, length] of late.entries()) if (i > 0) assert.is(length, 2 * (late[i - 1] ?? 0));
  });

  test('bounds a catastrophic pattern in bytes and attempts', () => {
    const maxBytes = 20;
    // Takes time exponential in what it sees.
    const framing = new UntilRegex(/^(a+)+b/, maxBytes);
    const input = new WatchedBuffer();
    const limit = limitOf(() => {
      for (let length = 1; length <= 1_000; length++) framing.take(input.add('a'), 'more');
    });
    assert.is(limit, maxBytes);
    assert.ok(Math.max(...input.attempts) <= maxBytes, `looked at ${Math.max(...input.attempts)} bytes`);
    assert.ok(input.attempts.length <= 9, `${input.attempts.length} attempts`);
  });

  test('finds what a small packet completed once no more comes', () => {
    const framing = new UntilRegex(/\n\n/, 64 * KiB);
    const input = new WatchedBuffer();
    for (let i = 0; i < 100; i++) assert.is(taken(framing, input.add('abcdefgh')), undefined);
    assert.is(taken(framing, input.add('\n\n')), undefined);
    assert.ok(framing.wantsRetry(input.length));
    assert.not.ok(framing.isQuiet(input.length));
    assert.ok(framing.isQuiet(input.length));
    assert.is(taken(framing, input), `${'abcdefgh'.repeat(100)}\n\n`);
  });

  test('is not tried again while nothing has come since', () => {
    const framing = new UntilRegex(/b/, 64 * KiB);
    const input = new WatchedBuffer().add('aaaa');
    framing.take(input, 'more');
    assert.not.ok(framing.wantsRetry(input.length));
    framing.take(input, 'more');
    assert.is(input.attempts.length, 1);
  });

  test('is tried a last time when nothing more will come', () => {
    for (const behind of ['end', 'failure'] as const) {
      const framing = new UntilRegex(/\n/, 64 * KiB);
      const input = new WatchedBuffer();
      for (let i = 0; i < 20; i++) framing.take(input.add('aaaa'), 'more');
      input.add('\n');
      assert.is(taken(framing, input), undefined);
      assert.is(taken(framing, input, behind), `${'aaaa'.repeat(20)}\n`);
    }
  });

  test('finds a message as long as the limit, and none that is longer', () => {
    assert.is(taken(new UntilRegex(/\n/, 5), new WatchedBuffer().add('1234\n67')), '1234\n');
    assert.is(
      limitOf(() => new UntilRegex(/\n/, 4).take(new WatchedBuffer().add('1234\n67'), 'more')),
      4,
    );
  });

  test('starts each attempt at the front, whatever the flags of the pattern', () => {
    for (const flags of ['g', 'y', 'gy']) {
      const pattern = new RegExp('.*?;', flags);
      const input = new WatchedBuffer().add('one;two;');
      assert.is(taken(new UntilRegex(pattern, KiB), input), 'one;');
      pattern.lastIndex = 3;
      assert.is(taken(new UntilRegex(pattern, KiB), input), 'two;');
      assert.is(pattern.lastIndex, 3);
    }
  });
});

suite('a read until a delimiter', (test) => {
  test('takes a message as long as the limit, and refuses one that is longer', () => {
    const input = new WatchedBuffer().add('123\r\n1234\r\n');
    assert.is(taken(new UntilDelimiter(Delimiter.of('\r\n'), 5), input), '123\r\n');
    assert.is(
      limitOf(() => taken(new UntilDelimiter(Delimiter.of('\r\n'), 5), input)),
      5,
    );
  });

  test('waits for the rest of a delimiter within the limit', () => {
    const input = new WatchedBuffer().add('123\r');
    const framing = new UntilDelimiter(Delimiter.of('\r\n'), 5);
    assert.is(taken(framing, input), undefined);
    assert.is(taken(framing, input.add('\n')), '123\r\n');
  });
});

suite('a read of a number of bytes', (test) => {
  test('takes exactly so many, or what there is', () => {
    const input = new WatchedBuffer().add('abcdef');
    assert.is(taken(new Exactly(7), input), undefined);
    assert.is(taken(new Exactly(2), input), 'ab');
    assert.is(taken(new AtMost(1), input), 'c');
    assert.is(taken(new AtMost(100), input), 'def');
    assert.is(taken(new AtMost(100), input), undefined);
  });

  test('takes a piece as it came', () => {
    const input = new ReadBuffer();
    input.adopt(Buffer.from('first') as Buffer<ArrayBuffer>, 5);
    input.adopt(Buffer.from('second') as Buffer<ArrayBuffer>, 6);
    assert.is(taken(new NextPiece(), input), 'first');
    assert.is(taken(new NextPiece(), input), 'second');
    assert.is(taken(new NextPiece(), input), undefined);
  });
});

suite('a read until the end', (test) => {
  test('takes everything, nothing included', () => {
    const input = new WatchedBuffer().add('abc');
    assert.is(taken(new UntilEnd(10), input), undefined);
    assert.is(taken(new UntilEnd(10), input, 'end'), 'abc');
    assert.is(taken(new UntilEnd(10), input, 'end'), '');
  });

  test('takes as much as the limit, and no more', () => {
    assert.is(taken(new UntilEnd(3), new WatchedBuffer().add('abc'), 'end'), 'abc');
    assert.is(
      limitOf(() => taken(new UntilEnd(2), new WatchedBuffer().add('abc'))),
      2,
    );
  });
});

suite("a read into the caller's memory", (test) => {
  test('is filled from the buffer first, then where the rest is received', () => {
    const memory = Buffer.alloc(6, '.');
    const framing = new IntoTarget(memory, false);
    assert.is(framing.take(new WatchedBuffer().add('ab')), undefined);
    assert.is(framing.target?.length, 4);
    framing.target?.set(Buffer.from('cd'));
    assert.is(framing.received(2), undefined);
    assert.is(framing.take(new WatchedBuffer().add('efgh')), 6);
    assert.is(memory.toString(), 'abcdef');
    assert.is(framing.target, null);
  });

  test('leaves what the target has no room for', () => {
    const input = new WatchedBuffer().add('abcdef');
    assert.is(new IntoTarget(Buffer.alloc(4), false).take(input), 4);
    assert.is(input.take(2).toString(), 'ef');
  });

  test('is done with what there is, if that may be less', () => {
    const framing = new IntoTarget(Buffer.alloc(4), true);
    assert.is(framing.take(new ReadBuffer()), undefined);
    assert.is(framing.take(new WatchedBuffer().add('ab')), 2);
  });

  test('gives back what it has when the waiting ends', () => {
    const input = new WatchedBuffer().add('ab');
    const memory = Buffer.alloc(4);
    const framing = new IntoTarget(memory, false);
    framing.take(input);
    framing.abandon(input);
    memory.fill('x');
    assert.is(input.take(2).toString(), 'ab');
  });
});
