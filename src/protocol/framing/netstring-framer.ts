import { Buffer } from 'node:buffer';
import { invalidArgument } from '../../arguments.ts';
import { BoundedFramer, type BoundedFramerOptions } from './bounded-framer.ts';

const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const COMMA = 0x2c;

/** What came is no netstring. */
export class NetstringParseError extends Error {
  override readonly name = 'NetstringParseError';
}

/**
 * Netstrings (https://cr.yp.to/proto/netstrings.txt): the length in digits, a colon, the bytes, a comma.
 *
 * Strict: a leading zero, a missing colon or comma is a {@link NetstringParseError}. A length over the
 * maximum, 99,999 by default, is refused at the digit that makes it so.
 */
export class NetstringFramer extends BoundedFramer {
  #length = 0;
  #hasColon = false;

  constructor(options?: BoundedFramerOptions) {
    super(options, 99_999);
  }

  protected override cut(input: Buffer): Buffer | null {
    if (this.prefix === 0) this.#hasColon = false;
    if (!this.#hasColon && !this.#readLength(input)) return null;
    const bytes = this.take(input, this.#length + 1);
    if (bytes === null) return null;
    if (bytes[this.#length] !== COMMA)
      return this.fail(new NetstringParseError('a netstring ends without a comma'));
    this.prefix = 0;
    return bytes.subarray(0, this.#length);
  }

  /** Whether all of the length has come. */
  #readLength(input: Buffer): boolean {
    while (this.at < input.length) {
      const byte = input[this.at++] ?? 0;
      this.work++;
      this.prefix++;
      if (byte === COLON && this.prefix > 1) {
        this.#hasColon = true;
        return true;
      }
      if (!this.#addDigit(byte)) return false;
    }
    return false;
  }

  #addDigit(byte: number): boolean {
    if (byte < ZERO || byte > NINE) {
      this.fail(
        new NetstringParseError(`a netstring begins with its length and a colon, not with byte ${byte}`),
      );
      return false;
    }
    if (this.prefix === 1) this.#length = 0;
    else if (this.#length === 0) {
      this.fail(new NetstringParseError('the length of a netstring has a leading zero'));
      return false;
    }
    this.#length = this.#length * 10 + byte - ZERO;
    if (this.#length <= this.maxLength) return true;
    this.refuse('a netstring');
    return false;
  }
}

/** `data` as a netstring; strings are UTF-8. Throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
export function encodeNetstring(data: string | Uint8Array): Buffer {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  if (!(bytes instanceof Uint8Array)) throw invalidArgument('data', 'a string or a Uint8Array', data);
  return Buffer.concat([Buffer.from(`${bytes.length}:`), bytes, Buffer.of(COMMA)]);
}
