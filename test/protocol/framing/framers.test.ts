import { Buffer } from 'node:buffer';
import * as assert from 'uvu/assert';

import { type Framer, IOLoopError, LimitError } from '../../../src/index.ts';
import { drawFrame, type FramerKind, framerKinds, pieces } from '../../support/framers.ts';
import { Random } from '../../support/random.ts';
import { suite } from '../../support/suite.ts';
import { count } from '../../support/tier.ts';

/** A framer, and copies of what it gives out. */
function collect(kind: FramerKind, maxLength?: number): { framer: Framer; got: string[] } {
  const got: string[] = [];
  return { framer: kind.create((frame) => got.push(frame.toString('latin1')), maxLength), got };
}

function drawFrames(kind: FramerKind, random: Random, howMany: number, most?: number): Buffer[] {
  return Array.from({ length: howMany }, () => drawFrame(kind, random, most));
}

/** Overwrites `bytes` when they were pushed: what was kept of them has to be a copy. */
function pushOnce(framer: Framer, bytes: Uint8Array): void {
  const passing = Uint8Array.from(bytes);
  framer.push(passing);
  passing.fill(0xff);
}

function texts(frames: readonly Buffer[]): string[] {
  return frames.map((frame) => frame.toString('latin1'));
}

for (const kind of framerKinds)
  suite(`framer: ${kind.name}`, (test) => {
    test('finds the frames wherever the input is split', () => {
      const frames = drawFrames(kind, new Random(1), 8, 60);
      const wire = Buffer.concat(frames.map(kind.encode));
      for (let split = 0; split <= wire.length; split++) {
        const { framer, got } = collect(kind);
        pushOnce(framer, wire.subarray(0, split));
        pushOnce(framer, wire.subarray(split));
        assert.equal(got, texts(frames), `split at ${split}`);
        assert.is(framer.bytesBuffered, 0);
      }
    });

    test('finds each frame with its last byte, when bytes come one by one', () => {
      const frames = drawFrames(kind, new Random(2), 12);
      const { framer, got } = collect(kind);
      let begun = 0;
      for (const [place, frame] of frames.entries()) {
        for (const byte of kind.encode(frame)) {
          assert.is(got.length, place);
          assert.is(framer.bytesBuffered, begun++);
          pushOnce(framer, Uint8Array.of(byte));
        }
        begun = 0;
        assert.is(got[place], frame.toString('latin1'));
      }
    });

    test('gives the frames one by one that are paused for, however it is split and paused', () => {
      for (let seed = 1; seed <= count(150, 20_000); seed++) {
        const random = new Random(seed);
        const frames = drawFrames(kind, random, 1 + random.below(20));
        const wire = Buffer.concat(frames.map(kind.encode));
        const got: string[] = [];
        const framer = kind.create((frame) => {
          assert.not(framer.paused, 'a frame came while paused');
          got.push(frame.toString('latin1'));
          const dice = random.below(4);
          if (dice < 2) framer.pause();
          if (dice === 1) framer.resume();
        });
        for (const piece of pieces(wire, random, 1 + random.below(80))) {
          pushOnce(framer, piece);
          if (random.below(3) > 0) framer.resume();
        }
        while (framer.paused) framer.resume();
        assert.equal(got, texts(frames), `seed ${seed}`);
        assert.is(framer.bytesBuffered, 0, `seed ${seed}`);
      }
    });

    test('costs the same per byte, however the input is split', () => {
      const frames = drawFrames(kind, new Random(3), 40, 250);
      const wire = Buffer.concat(frames.map(kind.encode));
      for (const size of [1, 2, 3, 7, 64, 1000, wire.length]) {
        const { framer } = collect(kind);
        for (let at = 0; at < wire.length; at += size) framer.push(wire.subarray(at, at + size));
        assert.ok(framer.work <= 5 * wire.length, `${framer.work} for ${wire.length} bytes by ${size}`);
      }
    });

    test('costs the same per byte, when each frame of a buffer is paused for', () => {
      const frames = drawFrames(kind, new Random(4), 2_000, 30);
      const wire = Buffer.concat(frames.map(kind.encode));
      const got: string[] = [];
      const framer = kind.create((frame) => {
        got.push(frame.toString('latin1'));
        framer.pause();
      });
      framer.push(wire);
      for (let place = 1; place <= frames.length; place++) {
        assert.is(got.length, place);
        framer.resume();
      }
      assert.equal(got, texts(frames));
      assert.ok(framer.work <= 5 * wire.length, `${framer.work} for ${wire.length} bytes`);
    });

    test('gives views of what was pushed, where frames lie in that as a whole', () => {
      const wire = Buffer.concat([kind.encode(Buffer.from('whole 1')), kind.encode(Buffer.from('whole 2'))]);
      const shared: boolean[] = [];
      const framer = kind.create((frame) => shared.push(frame.buffer === wire.buffer));
      framer.push(wire);
      assert.equal(shared, [true, true]);
    });

    test('takes what is pushed while it gives out a frame as what comes next', () => {
      const [first, second, third] = drawFrames(kind, new Random(5), 3);
      const got: string[] = [];
      const framer = kind.create((frame) => {
        if (got.push(frame.toString('latin1')) === 1) framer.push(kind.encode(third ?? Buffer.alloc(0)));
      });
      framer.push(Buffer.concat([first ?? '', second ?? ''].map((frame) => kind.encode(Buffer.from(frame)))));
      assert.equal(got, [`${first}`, `${second}`, `${third}`]);
    });

    test('drops what it has when it is cleared, and begins anew', () => {
      const frame = Buffer.from('cleared');
      const wire = kind.encode(frame);
      for (let split = 1; split < wire.length; split++) {
        const { framer, got } = collect(kind);
        framer.push(wire.subarray(0, split));
        const left = framer.clear();
        assert.ok(wire.subarray(0, split).toString().endsWith(left.toString()));
        assert.is(framer.bytesBuffered, 0);
        framer.push(wire);
        assert.equal(got, ['cleared']);
      }
    });

    test('drops what follows the frame that clears it, or after which nobody goes on', () => {
      const wire = Buffer.concat([kind.encode(Buffer.from('frame 1')), kind.encode(Buffer.from('frame 2'))]);
      for (const how of ['clear', 'goesOn'] as const) {
        const got: string[] = [];
        const framer = kind.create((frame) => {
          got.push(frame.toString());
          if (how === 'clear') framer.clear();
        });
        if (how === 'goesOn') framer.goesOn = () => false;
        framer.push(wire);
        assert.equal(got, ['frame 1']);
        assert.is(framer.bytesBuffered, 0);
        framer.push(wire);
        assert.equal(got, ['frame 1', 'frame 1']);
      }
    });

    test('is at its end when a frame is not taken', () => {
      const wire = Buffer.concat([kind.encode(Buffer.from('frame 1')), kind.encode(Buffer.from('frame 2'))]);
      let calls = 0;
      const framer = kind.create(() => {
        calls++;
        throw new Error('not this one');
      });
      assert.throws(() => framer.push(wire), 'not this one');
      framer.push(wire);
      framer.resume();
      assert.is(calls, 1);
      assert.ok(framer.failed);
      assert.is(framer.bytesBuffered, 0);
    });

    test('takes nothing but bytes', () => {
      const { framer } = collect(kind);
      for (const refused of ['abc', [1], null, undefined, new ArrayBuffer(1)])
        assert.throws(
          () => Reflect.apply(framer.push, framer, [refused]),
          (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'),
        );
    });
  });

for (const kind of framerKinds.filter(({ length }) => length === undefined))
  suite(`limit of a framer: ${kind.name}`, (test) => {
    const longest = Buffer.alloc(20, 'm');
    const before = kind.encode(Buffer.from('before'));
    const tooLong = kind.encode(Buffer.alloc(21, 'm'));

    test('takes a frame as long as the limit', () => {
      const { framer, got } = collect(kind, longest.length);
      for (const byte of kind.encode(longest)) framer.push(Uint8Array.of(byte));
      framer.push(kind.encode(longest));
      assert.equal(got, [`${longest}`, `${longest}`]);
    });

    test('refuses a longer one once, behind the frames before it, wherever the input is split', () => {
      const wire = Buffer.concat([before, tooLong, before]);
      for (let split = 0; split <= wire.length; split++) {
        const { framer, got } = collect(kind, longest.length);
        const errors: Error[] = [];
        framer.onError = (error) => errors.push(error);
        framer.push(wire.subarray(0, split));
        framer.push(wire.subarray(split));
        framer.push(before);
        const [error] = errors;
        assert.is(errors.length, 1);
        assert.ok(error instanceof LimitError && error.code === 'ERR_IOLOOP_READ_LIMIT');
        assert.match(error.message, 'maxLength, 20 bytes');
        assert.is(error.limit, 20);
        assert.equal(got, ['before']);
        assert.is(framer.bytesBuffered, 0);
      }
    });

    test('throws the error where nobody listens for it', () => {
      const { framer } = collect(kind, longest.length);
      assert.throws(
        () => framer.push(tooLong),
        (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_READ_LIMIT'),
      );
      assert.ok(framer.failed);
    });

    test('keeps no more than a frame and what stands around it', () => {
      const { framer } = collect(kind, longest.length);
      framer.onError = () => {};
      for (const byte of Buffer.concat([before, kind.encode(longest), tooLong])) {
        framer.push(Uint8Array.of(byte));
        assert.ok(framer.bytesBuffered <= longest.length + kind.around);
      }
      assert.ok(framer.failed);
    });

    test('can be changed between two frames', () => {
      const { framer, got } = collect(kind, longest.length);
      framer.push(before);
      Reflect.set(framer, 'maxLength', 21);
      framer.push(tooLong);
      assert.is(got.length, 2);
    });

    test('is a number of bytes', () => {
      for (const refused of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, '10', null])
        assert.throws(
          () => Reflect.apply(kind.create, kind, [() => {}, refused]),
          (error: unknown) =>
            IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT') &&
            error.message.startsWith('options.maxLength must be an integer'),
        );
    });
  });
