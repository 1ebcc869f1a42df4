import { Buffer } from 'node:buffer';

/** The least room that is made. */
const MIN_ROOM = 64;
const NONE: Buffer = Buffer.alloc(0);

/** Bytes that come in pieces and are taken as one; what that costs does not depend on the pieces. */
export class GrowingBytes {
  #bytes: Buffer = NONE;
  #length = 0;

  /** How many there are. */
  get length(): number {
    return this.#length;
  }

  /**
   * Adds a copy of `source` from `start` to `end`.
   *
   * @param expected How many there will be in the end, where that is known: no room is made for more. Nor is
   *   it made before the bytes have come, since who announces many need not send them.
   * @returns How many bytes were copied.
   */
  append(
    source: Uint8Array,
    start: number,
    end: number,
    expected: number = Number.POSITIVE_INFINITY,
  ): number {
    const count = end - start;
    const needed = this.#length + count;
    let copied = count;
    if (needed > this.#bytes.length) {
      // Exact at first, doubled from then on.
      const room = Math.min(expected, this.#length === 0 ? MIN_ROOM : 2 * needed);
      const bytes = Buffer.allocUnsafe(Math.max(needed, room));
      bytes.set(this.#bytes.subarray(0, this.#length));
      copied += this.#length;
      this.#bytes = bytes;
    }
    this.#bytes.set(source.subarray(start, end), this.#length);
    this.#length = needed;
    return copied;
  }

  /** All of them, now the caller's; there are none then. */
  take(): Buffer {
    const taken = this.#bytes.subarray(0, this.#length);
    this.#bytes = NONE;
    this.#length = 0;
    return taken;
  }
}
