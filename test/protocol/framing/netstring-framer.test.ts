import { Buffer } from 'node:buffer';
import * as assert from 'uvu/assert';

import { encodeNetstring, IOLoopError, NetstringFramer, NetstringParseError } from '../../../src/index.ts';
import { suite } from '../../support/suite.ts';

suite('netstrings', (test) => {
  test('are written with length, colon and comma', () => {
    assert.is(encodeNetstring('hello world!').toString(), '12:hello world!,');
    assert.is(encodeNetstring('').toString(), '0:,');
    assert.is(encodeNetstring('€').toString(), '3:€,');
    assert.equal([...encodeNetstring(Uint8Array.of(0, 255))], [0x32, 0x3a, 0, 255, 0x2c]);
  });

  test('may hold colons, commas and digits', () => {
    const got: string[] = [];
    new NetstringFramer({ onFrame: (frame) => got.push(`${frame}`) }).push(Buffer.from('6:3:abc,,0:,'));
    assert.equal(got, ['3:abc,', '']);
  });

  test('are refused at the byte that is wrong, wherever the input is split', () => {
    for (const [wire, wrongAt] of [
      [':abc,', 0],
      ['a', 0],
      ['-1:a,', 0],
      ['+1:a,', 0],
      [' 1:a,', 0],
      ['01:a,', 1],
      ['00:,', 1],
      ['3 :abc,', 1],
      ['3,abc,', 1],
      ['3:abcd', 5],
      ['0:0:,', 2],
      ['\n', 0],
    ] as const)
      for (let split = 0; split <= wire.length; split++) {
        const errors: Error[] = [];
        const framer = new NetstringFramer({
          onFrame: () => assert.unreachable(`a frame of ${wire}`),
          onError: (error) => errors.push(error),
        });
        framer.push(Buffer.from(wire.slice(0, Math.min(split, wrongAt))));
        assert.is(errors.length, 0, `${wire} up to ${wrongAt}`);
        framer.push(Buffer.from(wire.slice(Math.min(split, wrongAt))));
        assert.is(errors.length, 1, wire);
        assert.ok(errors[0] instanceof NetstringParseError);
        assert.ok(framer.failed);
      }
  });

  test('are refused at the digit that makes them too long', () => {
    const framer = new NetstringFramer({ onFrame: () => {}, maxLength: 123 });
    framer.push(Buffer.from('12'));
    assert.not(framer.failed);
    assert.throws(
      () => framer.push(Buffer.from('4')),
      (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_READ_LIMIT'),
    );
  });

  test('have no length that is too long to be counted', () => {
    const framer = new NetstringFramer({ onFrame: () => {}, maxLength: 2 ** 31 - 1 });
    assert.throws(
      () => framer.push(Buffer.from('9'.repeat(400))),
      (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_READ_LIMIT'),
    );
  });

  test('take no room before they have come', () => {
    const framer = new NetstringFramer({ onFrame: () => {}, maxLength: 2 ** 31 - 1 });
    const before = process.memoryUsage().arrayBuffers;
    framer.push(Buffer.from('2000000000:x'));
    assert.ok(process.memoryUsage().arrayBuffers - before < 1_000_000);
  });
});
