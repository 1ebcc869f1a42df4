import { Buffer } from 'node:buffer';
import type { Bytes } from '../../stream/base-stream.ts';

/** A queue of bytes, in the pieces in which they came. */
export class HeldBytes {
  #pieces: Uint8Array[] = [];
  /** Pieces at the front that were taken already. */
  #taken = 0;
  #size = 0;

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  /** Puts `piece` to the end, without a copy. */
  push(piece: Uint8Array): void {
    if (piece.length === 0) return;
    this.#pieces.push(piece);
    this.#size += piece.length;
  }

  /** Takes `count` bytes from the front, or all if these are fewer. */
  take(count: number): Uint8Array[] {
    const views: Uint8Array[] = [];
    for (let left = Math.min(count, this.#size); left > 0; ) {
      const piece = this.#pieces[this.#taken];
      if (piece === undefined) break;
      const view = piece.subarray(0, left);
      views.push(view);
      left -= view.length;
      this.#size -= view.length;
      if (view.length < piece.length) this.#pieces[this.#taken] = piece.subarray(view.length);
      else this.#taken++;
    }
    // As many are moved as were taken at most.
    if (this.#taken * 2 > this.#pieces.length) {
      this.#pieces = this.#pieces.slice(this.#taken);
      this.#taken = 0;
    }
    return views;
  }

  /** Drops all of them. */
  clear(): void {
    this.#pieces = [];
    this.#taken = 0;
    this.#size = 0;
  }
}

/** How many bytes `data` is. */
export function sizeOf(data: Bytes): number {
  if (typeof data === 'string') return Buffer.byteLength(data);
  return data instanceof Uint8Array ? data.length : data.reduce((size, view) => size + view.length, 0);
}

/** `data` as bytes, copied only where they are not in one piece. */
export function bytesOf(data: Bytes): Uint8Array {
  return data instanceof Uint8Array ? data : copyOf(data);
}

/** `data` as bytes that are nobody else's. */
export function copyOf(data: Bytes): Buffer {
  if (typeof data === 'string') return Buffer.from(data);
  return data instanceof Uint8Array ? Buffer.from(data) : Buffer.concat(data);
}
