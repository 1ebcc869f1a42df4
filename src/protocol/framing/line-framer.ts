import type { Buffer } from 'node:buffer';
import { checkFunction } from '../../arguments.ts';
import { IOLoopError } from '../../errors.ts';
import { Delimiter } from '../../stream/delimiter.ts';
import { BoundedFramer, type BoundedFramerOptions } from './bounded-framer.ts';

/** See {@link LineFramer}. */
export interface LineFramerOptions extends BoundedFramerOptions {
  /** What ends a line; CR LF by default. */
  delimiter?: string | Uint8Array | undefined;
  /** {@link LineFramer.onRawData} */
  onRawData?: ((data: Buffer) => void) | undefined;
}

/** Lines of at most 16,384 bytes by default, without the delimiter that ends them; in raw mode, bytes as they come. */
export class LineFramer extends BoundedFramer {
  /** Called with what comes in raw mode; the view is valid during the call. */
  onRawData: (data: Buffer) => void;
  #delimiter: Delimiter;
  #given: string | Uint8Array;
  #isRaw = false;
  /** How much of the delimiter what was kept ends with. */
  #matched = 0;

  constructor(options?: LineFramerOptions) {
    super(options, 16_384);
    const { delimiter = '\r\n', onRawData = nobody } = options ?? {};
    checkFunction(onRawData, 'options.onRawData');
    this.#delimiter = Delimiter.of(delimiter);
    this.#given = delimiter;
    this.onRawData = onRawData;
  }

  /** Ends lines with `delimiter` from now on, the one under way too. */
  setDelimiter(delimiter: string | Uint8Array): void {
    if (delimiter === this.#given) return;
    this.#delimiter = Delimiter.of(delimiter);
    this.#given = delimiter;
    this.#beginAnew();
  }

  /** Gives what comes from now on to {@link onRawData}, the line under way too. */
  setRawMode(): void {
    if (this.#isRaw) return;
    this.#isRaw = true;
    this.#beginAnew();
  }

  /**
   * Cuts lines again.
   *
   * @param extra Comes before all that was not given out yet: what `onRawData` was given too much. It costs
   *   nothing where it is the end of that view.
   */
  setLineMode(extra?: Uint8Array): void {
    this.#isRaw = false;
    if (extra !== undefined) this.putBack(extra);
    this.cutAll();
  }

  override clear(): Buffer {
    this.#matched = 0;
    return super.clear();
  }

  /** What was kept of a line is not known to be part of one any more. */
  #beginAnew(): void {
    this.#matched = 0;
    if (this.partial.length === 0) return;
    this.putBack(this.partial.take());
    this.cutAll();
  }

  protected override emit(frame: Buffer): void {
    if (this.#isRaw) this.onRawData(frame);
    else super.emit(frame);
  }

  protected override cut(input: Buffer): Buffer | null {
    const start = this.at;
    if (this.#isRaw) {
      this.at = input.length;
      return input.subarray(start);
    }
    const { partial } = this;
    const delimiterLength = this.#delimiter.bytes.length;
    // Where a line that is no longer than it may be has ended at the latest.
    const latest = start + this.maxLength + delimiterLength - partial.length;
    const end = this.#search(input, start, Math.min(latest, input.length));
    if (end < 0 && latest <= input.length) return this.refuse('a line');
    this.at = end < 0 ? input.length : end;
    if (end >= 0 && partial.length === 0) return input.subarray(start, end - delimiterLength);
    this.work += partial.append(input, start, this.at);
    if (end < 0) return null;
    const line = partial.take();
    return line.subarray(0, line.length - delimiterLength);
  }

  /**
   * Where the first delimiter ends, -1: before `end` none does. By the algorithm of Knuth, Morris and Pratt
   * no byte is looked at again.
   */
  #search(input: Buffer, start: number, end: number): number {
    const { bytes, fallbacks } = this.#delimiter;
    const first = bytes[0];
    let matched = this.#matched;
    let at = start;
    while (at < end && matched < bytes.length) {
      // Most bytes are of no delimiter.
      if (matched === 0) while (at < end && input[at] !== first) at++;
      if (at === end) break;
      const byte = input[at++];
      while (matched > 0 && byte !== bytes[matched]) {
        matched = fallbacks[matched] ?? 0;
        this.work++;
      }
      if (byte === bytes[matched]) matched++;
    }
    this.work += at - start;
    const found = matched === bytes.length;
    this.#matched = found ? 0 : matched;
    return found ? at : -1;
  }
}

function nobody(): never {
  throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the framer has no onRawData');
}
