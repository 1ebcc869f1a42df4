import { Buffer } from 'node:buffer';
import * as assert from 'uvu/assert';

import { IOLoopError, LineFramer } from '../../../src/index.ts';
import { pieces } from '../../support/framers.ts';
import { Random } from '../../support/random.ts';
import { suite } from '../../support/suite.ts';
import { count } from '../../support/tier.ts';

/** What a framer has given out: lines, and raw data with a `raw:` before it. */
function record(framer: LineFramer): string[] {
  const got: string[] = [];
  framer.onFrame = (line) => got.push(line.toString('latin1'));
  framer.onRawData = (data) => got.push(`raw:${data.toString('latin1')}`);
  return got;
}

suite('lines', (test) => {
  test('end where the first delimiter does, however it overlaps itself', () => {
    for (let seed = 1; seed <= count(400, 40_000); seed++) {
      const random = new Random(seed);
      const draw = (length: number) => Array.from({ length }, () => 'aab'[random.below(3)] ?? 'a').join('');
      const delimiter = draw(1 + random.below(6));
      const text = draw(random.below(400));
      const framer = new LineFramer({ delimiter });
      const got = record(framer);
      for (const piece of pieces(Buffer.from(text), random, 1 + random.below(20))) framer.push(piece);
      const expected = text.split(delimiter);
      const rest = expected.pop() ?? '';
      assert.equal(got, expected, `seed ${seed}`);
      assert.is(framer.bytesBuffered, rest.length, `seed ${seed}`);
    }
  });

  test('cost the same per byte, when a delimiter nearly comes again and again', () => {
    const delimiter = `${'a'.repeat(50)}b`;
    const text = Buffer.from(`${`${'a'.repeat(50)}c`.repeat(100)}${delimiter}`);
    for (const size of [1, 7, text.length]) {
      const framer = new LineFramer({ delimiter });
      const got = record(framer);
      for (let at = 0; at < text.length; at += size) framer.push(text.subarray(at, at + size));
      assert.is(got.length, 1);
      assert.ok(framer.work <= 6 * text.length, `${framer.work} for ${text.length} bytes by ${size}`);
    }
  });

  test('end with CR LF, if nothing else is said', () => {
    const framer = new LineFramer();
    const got = record(framer);
    framer.push(Buffer.from('one\ntwo\r\n\r\r\n\r\n'));
    assert.equal(got, ['one\ntwo', '\r', '']);
  });

  test('are too long with the byte in whose place the delimiter had to end', () => {
    const framer = new LineFramer({ maxLength: 4, onFrame: () => {} });
    framer.push(Buffer.from('abcd\r'));
    assert.not(framer.failed);
    assert.throws(
      () => framer.push(Buffer.from('\r')),
      (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_READ_LIMIT'),
    );
  });

  test('are all bytes, not text', () => {
    const framer = new LineFramer({ delimiter: Uint8Array.of(0) });
    const got: number[][] = [];
    framer.onFrame = (line) => got.push([...line]);
    framer.push(Uint8Array.of(0xff, 0xfe, 10, 13, 0));
    assert.equal(got, [[0xff, 0xfe, 10, 13]]);
  });

  test('end with another delimiter when that is said, also the one under way', () => {
    const framer = new LineFramer({ delimiter: '\n' });
    const got = record(framer);
    framer.push(Buffer.from('one\ntwo;three;fo'));
    framer.setDelimiter(';');
    assert.equal(got, ['one', 'two', 'three']);
    framer.onFrame = (line) => {
      got.push(`${line}`);
      framer.setDelimiter('\n');
    };
    framer.push(Buffer.from('ur;five;\n'));
    assert.equal(got, ['one', 'two', 'three', 'four', 'five;']);
  });

  test('have a delimiter', () => {
    for (const refused of ['', new Uint8Array(0), 10, null])
      assert.throws(
        () => Reflect.construct(LineFramer, [{ delimiter: refused }]),
        (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'),
      );
  });
});

suite('raw mode', (test) => {
  test('begins behind the line that asks for it, wherever the input is split', () => {
    const text = Buffer.from('line\r\nRAW\r\nraw\r\n\r\n');
    for (let split = 0; split <= text.length; split++) {
      const framer = new LineFramer();
      const got = record(framer);
      framer.onFrame = (line) => {
        got.push(`${line}`);
        if (String(line) === 'RAW') framer.setRawMode();
      };
      framer.push(text.subarray(0, split));
      framer.push(text.subarray(split));
      assert.equal(got.slice(0, 2), ['line', 'RAW'], `split at ${split}`);
      assert.is(got.slice(2).join('').replaceAll('raw:', ''), 'raw\r\n\r\n', `split at ${split}`);
    }
  });

  test('gives out at once what has come of a line', () => {
    const framer = new LineFramer();
    const got = record(framer);
    framer.push(Buffer.from('one\r\nha'));
    framer.push(Buffer.from('lf\r'));
    framer.setRawMode();
    framer.setRawMode();
    assert.equal(got, ['one', 'raw:half\r']);
    framer.push(Buffer.from('\n'));
    framer.setLineMode();
    framer.push(Buffer.from('\r\ntwo\r\n'));
    assert.equal(got, ['one', 'raw:half\r', 'raw:\n', '', 'two']);
  });

  test('has no maximum', () => {
    const framer = new LineFramer({ maxLength: 4 });
    const got = record(framer);
    framer.setRawMode();
    framer.push(Buffer.alloc(100, 'x'));
    assert.equal(got, [`raw:${'x'.repeat(100)}`]);
  });

  test('gives back what was too much, in front of what follows', () => {
    const framer = new LineFramer();
    const got = record(framer);
    framer.push(Buffer.from('kept\r\n'));
    framer.setRawMode();
    framer.onRawData = (data) => {
      got.push(`raw:${data}`);
      // Not the memory that it came in: a copy.
      framer.setLineMode(Buffer.from('copy\r\npart'));
    };
    framer.push(Buffer.from('body'));
    framer.push(Buffer.from(' of it\r\n'));
    assert.equal(got, ['kept', 'raw:body', 'copy', 'part of it']);
    framer.setLineMode(Buffer.from('outside\r\n'));
    assert.is(got.at(-1), 'outside');
  });

  test('waits while it is paused, in order', () => {
    const framer = new LineFramer();
    const got = record(framer);
    framer.onFrame = (line) => {
      got.push(`${line}`);
      framer.pause();
      framer.setRawMode();
    };
    framer.push(Buffer.from('one\r\nraw'));
    framer.push(Buffer.from(' too'));
    framer.setLineMode(Buffer.from('extra\r\n'));
    assert.equal(got, ['one']);
    framer.resume();
    assert.equal(got, ['one', 'extra']);
    framer.resume();
    assert.equal(got, ['one', 'extra', 'raw:raw', 'raw: too']);
  });

  test('costs the same per byte, when a buffer has many bodies between lines', () => {
    const text = Buffer.from('4\r\nbody'.repeat(5_000));
    const framer = new LineFramer();
    const bodies: string[] = [];
    let missing = 0;
    framer.onFrame = (line) => {
      missing = Number(line.toString());
      framer.setRawMode();
    };
    framer.onRawData = (data) => {
      const body = data.subarray(0, missing);
      missing -= body.length;
      bodies.push(`${body}`);
      if (missing === 0) framer.setLineMode(data.subarray(body.length));
    };
    framer.push(text);
    assert.is(bodies.join(''), 'body'.repeat(5_000));
    assert.ok(framer.work <= 3 * text.length, `${framer.work} for ${text.length} bytes`);
  });

  test('needs somebody who takes it', () => {
    const framer = new LineFramer();
    framer.setRawMode();
    assert.throws(
      () => framer.push(Buffer.from('x')),
      (error: unknown) =>
        IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE') && /onRawData/.test(error.message),
    );
  });
});
