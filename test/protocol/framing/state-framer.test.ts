import { Buffer } from 'node:buffer';
import * as assert from 'uvu/assert';

import { type FramingState, IOLoopError, StateFramer } from '../../../src/index.ts';
import { suite } from '../../support/suite.ts';

/** A kind, a length, as many bytes, and an end: `!` is a message without the last two. */
class Messages {
  readonly got: string[] = [];
  readonly kind: FramingState = [
    (kind) => {
      this.got.push(`${kind}`);
      return String(kind) === '!' ? undefined : this.length;
    },
    1,
  ];
  readonly length: FramingState = [([length = 0]) => [(body) => this.body(body), length], 1];
  readonly end: FramingState = [
    (end) => {
      assert.is(String(end), '..');
      return this.kind;
    },
    2,
  ];

  body(body: Buffer): FramingState {
    this.got.push(`${body}`);
    return this.end;
  }
}

const WIRE = Buffer.from('a\x03abc..!!b\x00..c\x01c..');
const MESSAGES = ['a', 'abc', '!', '!', 'b', '', 'c', 'c'];

suite('states', (test) => {
  test('follow each other, wherever the input is split', () => {
    for (let split = 0; split <= WIRE.length; split++) {
      const messages = new Messages();
      const framer = new StateFramer(messages.kind);
      framer.push(WIRE.subarray(0, split));
      framer.push(WIRE.subarray(split));
      assert.equal(messages.got, MESSAGES, `split at ${split}`);
      assert.is(framer.bytesBuffered, 0);
    }
  });

  test('follow each other, when bytes come one by one', () => {
    const messages = new Messages();
    const framer = new StateFramer(messages.kind);
    for (const byte of WIRE) framer.push(Uint8Array.of(byte));
    assert.equal(messages.got, MESSAGES);
    assert.ok(framer.work <= 2 * WIRE.length);
  });

  test('of no bytes are called as soon as they are reached', () => {
    const messages = new Messages();
    const framer = new StateFramer(messages.kind);
    framer.push(Buffer.from('b\x00'));
    assert.equal(messages.got, ['b', '']);
  });

  test('of no bytes wait as well while it is paused', () => {
    const got: string[] = [];
    const last: FramingState = [() => undefined, 1];
    const empty: FramingState = [() => last, 0];
    const first = (): FramingState => {
      framer.pause();
      return empty;
    };
    const framer: StateFramer = new StateFramer([first, 1]);
    framer.goesOn = () => {
      got.push('called');
      return true;
    };
    framer.push(Buffer.from('x'));
    assert.equal(got, ['called']);
    framer.resume();
    assert.equal(got, ['called', 'called']);
  });

  test('of no bytes have to say what comes next', () => {
    const framer = new StateFramer([() => undefined, 0]);
    assert.throws(
      () => framer.push(Buffer.from('x')),
      (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE'),
    );
  });

  test('can be set by others, for what has come of the one before too', () => {
    const got: string[] = [];
    const framer = new StateFramer([() => undefined, 100]);
    framer.push(Buffer.from('abcde'));
    framer.setState([(data) => void got.push(`${data}`), 2]);
    assert.equal(got, ['ab', 'cd']);
    assert.is(framer.bytesBuffered, 1);
  });

  test('may ask for so much and no more', () => {
    for (const [length, isRefused] of [
      [20, false],
      [21, true],
    ] as const) {
      const framer = new StateFramer([() => [() => undefined, length], 1], { maxLength: 20 });
      const errors: Error[] = [];
      framer.onError = (error) => errors.push(error);
      framer.push(Buffer.from('a'));
      assert.is(errors.length, isRefused ? 1 : 0);
      if (isRefused) assert.ok(IOLoopError.is(errors[0], 'ERR_IOLOOP_READ_LIMIT'));
    }
  });

  test('are a callback and a length', () => {
    const notStates: unknown[] = [
      null,
      [],
      [() => {}],
      [1, 1],
      [() => {}, -1],
      [() => {}, 1.5],
      { length: 2 },
    ];
    for (const refused of notStates) {
      assert.throws(
        () => Reflect.construct(StateFramer, [refused]),
        (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'),
      );
      const framer = Reflect.construct(StateFramer, [[() => refused, 1]]);
      assert.throws(
        () => framer.push(Buffer.from('x')),
        (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'),
      );
    }
  });
});
