import * as assert from 'uvu/assert';

import { IOLoopError } from '../../src/index.ts';
import { Delimiter } from '../../src/stream/delimiter.ts';
import { Random } from '../support/random.ts';
import { suite } from '../support/suite.ts';

/** The longest proper beginning of `text` that it also ends with: what {@link Delimiter.fallbacks} has to say. */
function overlapOf(text: string): number {
  for (let length = text.length - 1; length > 0; length--)
    if (text.endsWith(text.slice(0, length))) return length;
  return 0;
}

suite('delimiter', (test) => {
  test('knows how each beginning of it overlaps itself', () => {
    const random = new Random(7);
    const texts = ['\r\n\r\n', 'aaab', 'aabaaab', 'abababab', 'abcabcabd'];
    for (let length = 1; length <= 64; length++)
      texts.push(Array.from({ length }, () => (random.below(3) === 0 ? 'b' : 'a')).join(''));
    for (const text of texts) {
      const { fallbacks } = Delimiter.of(text);
      for (let length = 1; length <= text.length; length++)
        assert.is(fallbacks[length], overlapOf(text.slice(0, length)), `${length} bytes of ${text}`);
    }
  });

  test('takes strings as UTF-8', () => {
    assert.equal([...Delimiter.of('€').bytes], [0xe2, 0x82, 0xac]);
  });

  test('keeps the bytes that it was given, whatever becomes of them', () => {
    const given = Buffer.from('\r\n');
    const delimiter = Delimiter.of(given);
    given.fill(0);
    assert.equal([...delimiter.bytes], [13, 10]);
  });

  test('is made once for a string that is asked for again and again', () => {
    assert.is(Delimiter.of('--boundary'), Delimiter.of('--boundary'));
  });

  test('has 1 to 65,536 bytes', () => {
    assert.is(Delimiter.of('x'.repeat(65_536)).bytes.length, 65_536);
    for (const refused of ['', 'x'.repeat(65_537), new Uint8Array(0), 10, null, undefined, ['a']]) {
      assert.throws(
        () => Reflect.apply(Delimiter.of, Delimiter, [refused]),
        (error: unknown) =>
          IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT') &&
          error.message.startsWith('delimiter must be'),
      );
    }
  });
});
