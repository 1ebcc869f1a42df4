import { Buffer } from 'node:buffer';

import {
  encodeNetstring,
  encodePrefixed,
  FixedLengthFramer,
  type Framer,
  LineFramer,
  NetstringFramer,
  PrefixFramer,
  type PrefixSize,
  StateFramer,
} from '../../src/protocol/index.ts';
import type { Random } from './random.ts';

/** A kind of framer, and what it makes of frames. */
export interface FramerKind {
  readonly name: string;
  /** A framer of frames of at most `maxLength` bytes. */
  readonly create: (onFrame: (frame: Buffer) => void, maxLength?: number) => Framer;
  readonly encode: (frame: Uint8Array) => Buffer;
  /** How many bytes go over the wire with a frame. */
  readonly around: number;
  /** The length of its frames, where that is one. */
  readonly length?: number;
}

function lines(delimiter: string): FramerKind {
  return {
    name: `lines that end with ${JSON.stringify(delimiter)}`,
    create: (onFrame, maxLength = 300) => new LineFramer({ delimiter, onFrame, maxLength }),
    encode: (frame) => Buffer.concat([frame, Buffer.from(delimiter)]),
    around: delimiter.length,
  };
}

function prefixed(size: PrefixSize): FramerKind {
  return {
    name: `frames behind ${size * 8} bits`,
    create: (onFrame, maxLength = 255) => new PrefixFramer(size, { onFrame, maxLength }),
    encode: (frame) => encodePrefixed(frame, size),
    around: size,
  };
}

/** All of them. */
export const framerKinds: readonly FramerKind[] = [
  lines('\n'),
  lines('\r\n'),
  lines('--aab-aaab'),
  {
    name: 'netstrings',
    create: (onFrame, maxLength = 300) => new NetstringFramer({ onFrame, maxLength }),
    encode: encodeNetstring,
    // The digits, too, of what is tried here.
    around: 5,
  },
  prefixed(1),
  prefixed(2),
  prefixed(4),
  {
    name: 'frames of 7 bytes',
    create: (onFrame) => new FixedLengthFramer(7, { onFrame }),
    encode: (frame) => Buffer.from(frame),
    around: 0,
    length: 7,
  },
  {
    name: 'a state of 7 bytes',
    create: (onFrame) => new StateFramer([(frame) => void onFrame(frame), 7]),
    encode: (frame) => Buffer.from(frame),
    around: 0,
    length: 7,
  },
];

/** The bytes of a frame: none that a delimiter or a netstring has. */
export function drawFrame(kind: FramerKind, random: Random, most = 255): Buffer {
  const length = kind.length ?? (random.below(4) === 0 ? random.below(most + 1) : random.below(6));
  return Buffer.from(Array.from({ length }, () => 0x61 + 3 + random.below(20)));
}

/** `bytes` in pieces of random lengths, 0 included. */
export function* pieces(bytes: Buffer, random: Random, most: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; ) {
    const end = at + random.below(most + 1);
    yield bytes.subarray(at, end);
    at = end;
  }
}
