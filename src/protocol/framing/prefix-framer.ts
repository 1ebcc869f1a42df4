import { Buffer } from 'node:buffer';
import { invalidArgument } from '../../arguments.ts';
import { BoundedFramer, type BoundedFramerOptions } from './bounded-framer.ts';

/** How many bytes a length takes. */
export type PrefixSize = 1 | 2 | 4;

/** Frames of at most 99,999 bytes by default, each after its length: an unsigned integer of 1, 2 or 4 bytes in network order. */
export class PrefixFramer extends BoundedFramer {
  readonly #size: PrefixSize;
  #length = 0;

  constructor(prefixSize: PrefixSize, options?: BoundedFramerOptions) {
    super(options, 99_999);
    checkPrefixSize(prefixSize);
    this.#size = prefixSize;
  }

  /** The length that has come last. */
  get announced(): number {
    return this.#length;
  }

  protected override cut(input: Buffer): Buffer | null {
    if (this.prefix < this.#size) {
      if (!this.#readLength(input)) return null;
      if (this.#length > this.maxLength) return this.refuse(`a frame of ${this.#length} bytes`);
    }
    const frame = this.take(input, this.#length);
    if (frame !== null) this.prefix = 0;
    return frame;
  }

  /** Whether all of the length has come. */
  #readLength(input: Buffer): boolean {
    if (this.prefix === 0) this.#length = 0;
    while (this.prefix < this.#size && this.at < input.length) {
      this.#length = this.#length * 256 + (input[this.at++] ?? 0);
      this.prefix++;
      this.work++;
    }
    return this.prefix === this.#size;
  }
}

/**
 * The length that stands before `length` bytes.
 *
 * @throws `ERR_IOLOOP_INVALID_ARGUMENT` when it does not fit into `size` bytes.
 */
export function encodePrefix(length: number, size: PrefixSize): Buffer {
  checkPrefixSize(size);
  const most = 2 ** (8 * size) - 1;
  if (!(length <= most))
    throw invalidArgument('data', `at most ${most} bytes, as its length takes ${size}`, length);
  const prefix = Buffer.allocUnsafe(size);
  prefix.writeUIntBE(length, 0, size);
  return prefix;
}

/** `data` behind its length; strings are UTF-8. Throws as {@link encodePrefix} does. */
export function encodePrefixed(data: string | Uint8Array, size: PrefixSize): Buffer {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  if (!(bytes instanceof Uint8Array)) throw invalidArgument('data', 'a string or a Uint8Array', data);
  return Buffer.concat([encodePrefix(bytes.length, size), bytes]);
}

function checkPrefixSize(size: unknown): void {
  if (size !== 1 && size !== 2 && size !== 4) throw invalidArgument('prefixSize', '1, 2 or 4', size);
}
