import * as assert from 'uvu/assert';

import { Delimiter } from '../../src/stream/delimiter.ts';
import { ReadBuffer } from '../../src/stream/read-buffer.ts';
import { Random } from '../support/random.ts';
import { suite } from '../support/suite.ts';
import { count } from '../support/tier.ts';

const MiB = 1024 * 1024;

/** A buffer that `pieces` were appended to. */
function bufferOf(...pieces: readonly string[]): ReadBuffer {
  const buffer = new ReadBuffer();
  for (const piece of pieces) buffer.append(Buffer.from(piece), piece.length);
  return buffer;
}

/** Searches for `delimiter` after each piece until it is found: how long the message is. */
function findWhileItComes(buffer: ReadBuffer, pieces: Iterable<Uint8Array>, delimiter: Delimiter): number {
  for (const piece of pieces) {
    buffer.append(piece, piece.length);
    const found = buffer.find(delimiter, Number.MAX_SAFE_INTEGER);
    if (found >= 0) return found;
  }
  return -1;
}

function* piecesOf(bytes: Buffer, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** How many bytes a search looks at that finds `delimiter` behind `length` bytes of `filler`, in pieces of `size`. */
function comparedFor(length: number, filler: string, delimiter: string, size: number): number {
  const buffer = new ReadBuffer();
  const message = Buffer.concat([Buffer.alloc(length, filler), Buffer.from(delimiter)]);
  assert.is(findWhileItComes(buffer, piecesOf(message, size), Delimiter.of(delimiter)), message.length);
  return buffer.compared;
}

suite('read buffer', (test) => {
  test('finds and takes what a plain string would, whatever is done to it', () => {
    const random = new Random(57);
    for (let round = 0; round < count(2_000, 50_000); round++) {
      const buffer = new ReadBuffer();
      let model = '';
      for (let step = 0; step < 40; step++) {
        model = doSomething(random, buffer, model);
        assert.is(buffer.length, model.length);
        assert.is(buffer.peekText(model.length), model);
      }
    }
  });

  test('finds delimiters of 1 to 64 bytes wherever the input is split', () => {
    const random = new Random(58);
    for (let length = 1; length <= 64; length++) {
      const delimiter = Array.from({ length }, () => (random.below(4) === 0 ? 'b' : 'a')).join('');
      // What almost is the delimiter comes before it.
      const wire = `${delimiter.slice(0, -1)}c${delimiter.slice(0, length >> 1)}${delimiter}tail`;
      const expected = wire.indexOf(delimiter) + length;
      for (let at = 1; at < wire.length; at++) {
        const buffer = bufferOf(wire.slice(0, at));
        const early = buffer.find(Delimiter.of(delimiter), 1000);
        assert.is(early, at < expected ? -1 : expected);
        buffer.append(Buffer.from(wire.slice(at)), wire.length - at);
        assert.is(buffer.find(Delimiter.of(delimiter), 1000), expected, `${delimiter} split after ${at}`);
      }
    }
  });

  test('takes no notice of a delimiter beyond the limit, which counts it', () => {
    const delimiter = Delimiter.of('\r\n');
    assert.is(bufferOf('1234\r\n').find(delimiter, 6), 6);
    assert.is(bufferOf('12345\r\n').find(delimiter, 6), -1);
    const grown = bufferOf('12345\r\n');
    grown.find(delimiter, 6);
    assert.is(grown.find(delimiter, 7), 7);
  });

  test('hands out bytes that nothing writes to afterwards', () => {
    const buffer = new ReadBuffer();
    const source = Buffer.from('first second');
    buffer.append(source, source.length);
    const first = buffer.take(6);
    source.fill('x');
    buffer.append(source, 3);
    assert.is(first.toString(), 'first ');
    first.fill('y');
    assert.is(buffer.take(9).toString(), 'secondxxx');
  });

  test('keeps no big segment alive for a short piece of it', () => {
    const buffer = new ReadBuffer();
    const segment = Buffer.alloc(64 * 1024);
    buffer.adopt(segment, segment.length);
    assert.is.not(buffer.take(10).buffer, segment.buffer);
  });

  test('hands out bytes whose memory may be transferred without harm to the others', () => {
    for (const size of [100, 4_095, 4_096, 8_000, 65_536])
      for (const share of [0.25, 0.75]) {
        const buffer = new ReadBuffer();
        buffer.append(Buffer.alloc(size, 'x'), size);
        const first = buffer.take(Math.floor(size * share));
        try {
          structuredClone(first.buffer, { transfer: [first.buffer] });
        } catch (error) {
          // Node's pool: nobody can.
          assert.is((error as DOMException).name, 'DataCloneError');
        }
        const { length } = buffer;
        assert.is(buffer.take(length).toString(), 'x'.repeat(length), `${share} of ${size}`);
      }
  });

  test('is empty after clear(), and as good as new', () => {
    const buffer = bufferOf('abc', 'def\n');
    buffer.find(Delimiter.of('\n'), 3);
    buffer.clear();
    assert.is(buffer.length, 0);
    assert.is(buffer.find(Delimiter.of('\n'), 100), -1);
    buffer.append(Buffer.from('x\n'), 2);
    assert.is(buffer.find(Delimiter.of('\n'), 100), 2);
  });
});

suite('read buffer: work for a search', (test) => {
  test('is linear in 4 MiB and 64 MiB', () => {
    for (const delimiter of ['\n', '\r\n\r\n', 'aaab'])
      for (const length of [4 * MiB, 64 * MiB]) {
        const compared = comparedFor(length, 'a', delimiter, 65_536);
        assert.ok(compared <= 2 * (length + delimiter.length), `${compared} for ${length} bytes`);
      }
  });

  test('is linear in a MiB that comes byte by byte', () => {
    for (const delimiter of ['\n', '\r\n\r\n', `${'a'.repeat(63)}b`]) {
      const compared = comparedFor(MiB, 'a', delimiter, 1);
      assert.ok(compared <= 2 * (MiB + delimiter.length), `${compared} for ${JSON.stringify(delimiter)}`);
    }
  });

  test('does not depend on the length of the delimiter', () => {
    for (const length of [2, 64, 1_024, 65_536]) {
      const compared = comparedFor(MiB, 'a', `${'a'.repeat(length - 1)}b`, 1_000);
      assert.ok(compared <= 2 * (MiB + length), `${compared} for ${length} bytes`);
    }
  });

  test('is spent once on bytes that are asked about again and again', () => {
    const buffer = new ReadBuffer();
    const byte = Buffer.from('a');
    for (let i = 0; i < 10_000; i++) {
      buffer.append(byte, 1);
      // As tryReadUntil(bytes) does, and streams that read by different delimiters.
      assert.is(buffer.find(Delimiter.of(Buffer.from('\r\n')), 65_536), -1);
      Delimiter.of(`other${i % 2}`);
      assert.is(buffer.find(Delimiter.of('\r\n'), 65_536), -1);
    }
    assert.ok(buffer.compared <= 20_000, `${buffer.compared} for 10,000 bytes`);
  });
});

/** One operation on `buffer`, checked against `model`; the model after it. Letters are few, so that much matches. */
function doSomething(random: Random, buffer: ReadBuffer, model: string): string {
  const draw = (most: number): string =>
    Array.from({ length: random.below(most) }, () => 'ab\n'[random.below(3)]).join('');
  switch (random.below(6)) {
    case 0: {
      const text = draw(30);
      buffer.append(Buffer.from(`${text}beyond`), text.length);
      return model + text;
    }
    case 1: {
      const text = `${draw(30)}a`;
      buffer.adopt(Buffer.from(`${text}beyond`) as Buffer<ArrayBuffer>, text.length);
      return model + text;
    }
    case 2: {
      const text = draw(6);
      buffer.unshift(Buffer.from(text));
      return text + model;
    }
    case 3: {
      const size = random.below(model.length + 1);
      assert.is(buffer.take(size).toString('latin1'), model.slice(0, size));
      return model.slice(size);
    }
    case 4: {
      const target = Buffer.alloc(random.below(20));
      const size = buffer.takeInto(target);
      assert.is(size, Math.min(target.length, model.length));
      assert.is(target.toString('latin1', 0, size), model.slice(0, size));
      return model.slice(size);
    }
    default: {
      const delimiter = ['\n', 'aab', 'abab'][random.below(3)] ?? '\n';
      const limit = random.below(3) === 0 ? random.below(20) : 1_000;
      const at = model.slice(0, limit).indexOf(delimiter);
      const found = buffer.find(Delimiter.of(delimiter), limit);
      assert.is(found, at < 0 ? -1 : at + delimiter.length, `${JSON.stringify(delimiter)} in ${limit}`);
      if (found < 0) return model;
      buffer.take(found);
      return model.slice(found);
    }
  }
}
