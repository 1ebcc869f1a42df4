import { Buffer } from 'node:buffer';
import * as assert from 'uvu/assert';

import { encodePrefixed, FixedLengthFramer, IOLoopError, PrefixFramer } from '../../../src/index.ts';
import { suite } from '../../support/suite.ts';

function isInvalidArgument(error: unknown): boolean {
  return IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT');
}

suite('lengths before frames', (test) => {
  test('are in network order', () => {
    assert.equal([...encodePrefixed('ab', 1)], [2, 97, 98]);
    assert.equal([...encodePrefixed('€', 2)], [0, 3, 0xe2, 0x82, 0xac]);
    assert.equal([...encodePrefixed(new Uint8Array(0x010203), 4).subarray(0, 4)], [0, 1, 2, 3]);
  });

  test('reach to the largest that fits', () => {
    for (const [size, most] of [
      [1, 255],
      [2, 65_535],
    ] as const) {
      const got: number[] = [];
      const framer = new PrefixFramer(size, { onFrame: (frame) => got.push(frame.length) });
      framer.push(encodePrefixed(new Uint8Array(most), size));
      assert.equal(got, [most]);
      assert.throws(() => encodePrefixed(new Uint8Array(most + 1), size), isInvalidArgument);
    }
  });

  test('are unsigned: the largest is too long, not negative', () => {
    const framer = new PrefixFramer(4, { onFrame: () => {}, maxLength: 2 ** 31 - 1 });
    assert.throws(
      () => framer.push(Uint8Array.of(255, 255, 255, 255)),
      (error: unknown) =>
        IOLoopError.is(error, 'ERR_IOLOOP_READ_LIMIT') && error.message.includes('4294967295 bytes'),
    );
    assert.is(framer.announced, 2 ** 32 - 1);
  });

  test('take 1, 2 or 4 bytes', () => {
    for (const refused of [0, 3, 8, '1', undefined]) {
      assert.throws(() => Reflect.construct(PrefixFramer, [refused]), isInvalidArgument);
      assert.throws(() => Reflect.apply(encodePrefixed, undefined, ['a', refused]), isInvalidArgument);
    }
  });

  test('get no room made before the bytes have come', () => {
    const framer = new PrefixFramer(4, { onFrame: () => {}, maxLength: 2 ** 31 - 1 });
    const before = process.memoryUsage().arrayBuffers;
    framer.push(Uint8Array.of(0x7f, 0xff, 0xff, 0xff, 1));
    assert.ok(process.memoryUsage().arrayBuffers - before < 1_000_000);
  });
});

suite('frames of one length', (test) => {
  test('have another length from the next frame on, when that is said', () => {
    const got: string[] = [];
    const framer = new FixedLengthFramer(3, { onFrame: (frame) => got.push(`${frame}`) });
    framer.push(Buffer.from('abcde'));
    framer.length = 1;
    assert.is(framer.length, 1);
    framer.push(Buffer.from('fgh'));
    assert.equal(got, ['abc', 'def', 'g', 'h']);
  });

  test('have a byte at least', () => {
    for (const refused of [0, -1, 0.5, Number.NaN, '8', undefined])
      assert.throws(() => Reflect.construct(FixedLengthFramer, [refused]), isInvalidArgument);
  });
});
