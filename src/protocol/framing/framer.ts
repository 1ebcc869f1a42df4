import { Buffer } from 'node:buffer';
import { checkFunction, checkOptions, invalidArgument } from '../../arguments.ts';
import { IOLoopError } from '../../errors.ts';
import { GrowingBytes } from './growing-bytes.ts';

/** What all framers can be told. */
export interface FramerOptions {
  /** {@link Framer.onFrame} */
  onFrame?: ((frame: Buffer) => void) | undefined;
  /** {@link Framer.onError} */
  onError?: ((error: Error) => void) | undefined;
}

const NONE: Buffer = Buffer.alloc(0);

/**
 * Cuts bytes that come at any borders into frames: no socket, no clock, only bytes in and frames out.
 *
 * The bytes of an incomplete frame are copied and kept, never more of them than the framer's maximum and
 * what stands around a frame; each costs the same, however the input is split. Its methods can be called
 * from within `onFrame`, and hold for what follows that frame, in the middle of a buffer too.
 */
export abstract class Framer {
  /**
   * Called with each frame. What it throws comes out of {@link push} or {@link resume}, and is the end of
   * the framer.
   *
   * @param frame A view, valid during the call: of what was pushed, where the frame lies in that as a whole.
   */
  onFrame: (frame: Buffer) => void;
  /**
   * Called once, when what came cannot be cut: LimitError `ERR_IOLOOP_READ_LIMIT` for a frame over the
   * maximum, or what the kind of framer says. null: {@link push} or {@link resume} throws it.
   * During the call {@link clear} still has what was not cut.
   */
  onError: ((error: Error) => void) | null;
  /** Asked after each frame; what follows an answer of false is dropped. */
  goesOn: (() => boolean) | null = null;
  /** @internal Bytes looked at and copied so far: what tests of linearity count. */
  work = 0;
  /** Where in the input goes on what is cut next. */
  protected at = 0;
  /** Bytes before the frame under way that have been read: its length. */
  protected prefix = 0;
  /** What has come of the frame under way, where that began in an earlier input. */
  protected readonly partial: GrowingBytes = new GrowingBytes();
  /** What is being cut; between calls what is left of it, and then no longer the caller's memory. */
  #input: Buffer = NONE;
  #isBorrowed = false;
  /** Behind the input. */
  readonly #waiting = new GrowingBytes();
  #isCutting = false;
  #paused = false;
  #failed = false;

  protected constructor(options: FramerOptions | undefined) {
    checkOptions(options);
    const { onFrame = nobody, onError = null } = options ?? {};
    checkFunction(onFrame, 'options.onFrame');
    if (onError !== null) checkFunction(onError, 'options.onError');
    this.onFrame = onFrame;
    this.onError = onError;
  }

  /**
   * Takes the next bytes, and gives out the frames that they complete. After an error it takes none.
   *
   * @param data The caller's again on return.
   */
  push(data: Uint8Array): void {
    if (!(data instanceof Uint8Array)) throw invalidArgument('data', 'a Uint8Array', data);
    if (this.#failed) return;
    if (this.#isCutting || this.#paused) {
      this.work += this.#waiting.append(data, 0, data.length);
      return;
    }
    this.#input = Buffer.isBuffer(data) ? data : Buffer.from(data.buffer, data.byteOffset, data.length);
    this.#isBorrowed = true;
    this.cutAll();
  }

  /**
   * Gives out no frame until {@link resume}. What was pushed is kept, and what will be as well, without a
   * maximum: pause its source too.
   */
  pause(): void {
    this.#paused = true;
  }

  /** Ends {@link pause}: the frames that are complete come before it returns. */
  resume(): void {
    this.#paused = false;
    this.cutAll();
  }

  /** Whether it is paused. */
  get paused(): boolean {
    return this.#paused;
  }

  /** Whether it takes nothing more: it met an error. */
  get failed(): boolean {
    return this.#failed;
  }

  /** Bytes taken and not given out; 0: the last frame ended where the input did. */
  get bytesBuffered(): number {
    return this.prefix + this.partial.length + this.#input.length - this.at + this.#waiting.length;
  }

  /**
   * Forgets what was taken and not given out: the next byte begins a frame.
   *
   * @returns It, as a copy, without a length that was read already.
   */
  clear(): Buffer {
    const left = Buffer.concat([this.partial.take(), this.#input.subarray(this.at), this.#waiting.take()]);
    this.at = this.#input.length;
    this.prefix = 0;
    return left;
  }

  // ---- for the kinds

  /** The next frame of `input` from {@link at} on, behind which that is then; null: all of it was taken, or kept. */
  protected abstract cut(input: Buffer): Buffer | null;

  /** Whether no byte is needed to cut the next frame, or to refuse it. */
  protected get isReady(): boolean {
    return false;
  }

  protected emit(frame: Buffer): void {
    this.onFrame(frame);
  }

  /** The next `length` bytes of `input`; null: they have not all come, and what has is kept. */
  protected take(input: Buffer, length: number): Buffer | null {
    const start = this.at;
    const { partial } = this;
    const end = Math.min(input.length, start + length - partial.length);
    this.at = end;
    if (end - start === length) return input.subarray(start, end);
    this.work += partial.append(input, start, end, length);
    return partial.length === length ? partial.take() : null;
  }

  /** Puts `data` before what is cut next; costs nothing where that is what was cut last. */
  protected putBack(data: Uint8Array): void {
    const input = this.#input;
    const start = this.at - data.length;
    if (start >= 0 && data.buffer === input.buffer && data.byteOffset === input.byteOffset + start) {
      this.at = start;
      return;
    }
    this.#input = Buffer.concat([data, input.subarray(this.at)]);
    this.work += this.#input.length;
    this.at = 0;
    this.#isBorrowed = false;
  }

  /** What was taken cannot be cut. */
  protected fail(error: Error): null {
    this.#failed = true;
    if (this.onError === null) throw error;
    this.onError(error);
    this.clear();
    return null;
  }

  /** Cuts what there is, unless somebody further up the stack does. */
  protected cutAll(): void {
    if (this.#isCutting) return;
    this.#isCutting = true;
    try {
      while (!this.#paused && !this.#failed && this.#hasInput()) {
        const frame = this.cut(this.#input);
        if (frame === null) continue;
        this.emit(frame);
        if (this.goesOn?.() === false) this.clear();
      }
    } catch (error) {
      this.#failed = true;
      this.clear();
      throw error;
    } finally {
      this.#isCutting = false;
      this.#keepRest();
    }
  }

  #hasInput(): boolean {
    if (this.at < this.#input.length) return true;
    if (this.#waiting.length === 0) return this.isReady;
    this.#input = this.#waiting.take();
    this.#isBorrowed = false;
    this.at = 0;
    return true;
  }

  #keepRest(): void {
    if (this.at === this.#input.length) {
      this.#input = NONE;
    } else if (this.#isBorrowed) {
      this.#input = Buffer.from(this.#input.subarray(this.at));
      this.work += this.#input.length;
    } else {
      return;
    }
    this.#isBorrowed = false;
    this.at = 0;
  }
}

function nobody(): never {
  throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the framer has no onFrame');
}
