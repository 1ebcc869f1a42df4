import { Buffer } from 'node:buffer';
import { invalidArgument } from '../arguments.ts';

/** The longest delimiter: longer ones are framing of another kind. */
const MAX_LENGTH = 65_536;

/**
 * What ends a message, ready to be searched for by the algorithm of Knuth, Morris and Pratt: no byte
 * of the input is ever looked at again, however the delimiter overlaps itself and wherever the input
 * is split.
 */
export class Delimiter {
  readonly bytes: Uint8Array;
  /** For each length that has matched, the length that still does when the next byte does not fit. */
  readonly fallbacks: Uint32Array;

  private constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.fallbacks = fallbacksOf(bytes);
  }

  /**
   * The delimiter that `value` says; strings are UTF-8. Those of strings are kept for the next call.
   *
   * @throws `ERR_IOLOOP_INVALID_ARGUMENT` when it is empty, longer than 64 KiB, or no bytes at all.
   */
  static of(value: string | Uint8Array): Delimiter {
    if (value === lastText) return lastDelimiter;
    const bytes = typeof value === 'string' ? Buffer.from(value) : value;
    if (!(bytes instanceof Uint8Array) || bytes.length === 0 || bytes.length > MAX_LENGTH)
      throw invalidArgument('delimiter', `a string or Uint8Array of 1 to ${MAX_LENGTH} bytes`, value);
    // A copy: the caller's bytes may change.
    if (typeof value !== 'string') return new Delimiter(Uint8Array.from(bytes));
    lastDelimiter = new Delimiter(bytes);
    lastText = value;
    return lastDelimiter;
  }

  /** Whether it is the same bytes: a search for the one goes on for the other. */
  equals(other: Delimiter): boolean {
    return this === other || Buffer.compare(this.bytes, other.bytes) === 0;
  }
}

function fallbacksOf(bytes: Uint8Array): Uint32Array {
  const fallbacks = new Uint32Array(bytes.length + 1);
  let matched = 0;
  for (let i = 1; i < bytes.length; i++) {
    while (matched > 0 && bytes[i] !== bytes[matched]) matched = fallbacks[matched] ?? 0;
    if (bytes[i] === bytes[matched]) matched++;
    fallbacks[i + 1] = matched;
  }
  return fallbacks;
}

// A program has one delimiter, or few.
let lastText: string | Uint8Array = '\n';
let lastDelimiter: Delimiter = Delimiter.of(Uint8Array.of(10));
