import type { Buffer } from 'node:buffer';
import { checkLength } from './bounded-framer.ts';
import { Framer, type FramerOptions } from './framer.ts';

/** Frames of one length. */
export class FixedLengthFramer extends Framer {
  #length: number;
  #next: number;

  constructor(length: number, options?: FramerOptions) {
    super(options);
    checkLength(length, 'length');
    this.#length = length;
    this.#next = length;
  }

  /** How long a frame is. A change holds from the next frame on. */
  get length(): number {
    return this.#next;
  }
  set length(value: number) {
    if (value === this.#next) return;
    checkLength(value, 'length');
    this.#next = value;
  }

  protected override cut(input: Buffer): Buffer | null {
    if (this.partial.length === 0) this.#length = this.#next;
    return this.take(input, this.#length);
  }
}
