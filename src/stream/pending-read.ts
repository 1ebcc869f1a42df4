import { IOLoopError, LimitError } from '../errors.ts';
import type { Delimiter } from './delimiter.ts';
import { type Chunk, EMPTY_CHUNK, type ReadBuffer } from './read-buffer.ts';

/** What comes after the bytes that are there: more of them, the peer's end, or nothing since the stream failed. */
export type Behind = 'more' | 'end' | 'failure';

/**
 * What a read waits for: how a message is cut out of the bytes that have come.
 *
 * Most are stateless, so that one serves all streams that read the same way.
 */
export interface Framing<T> {
  /** Whether the peer owes the rest of a message that it has begun: what a minimum rate is for. */
  readonly isFramed: boolean;
  /**
   * Takes the message if it is there.
   *
   * @throws {@link LimitError} when it is longer than it may be.
   */
  take(input: ReadBuffer, behind: Behind): T | undefined;
  /** Where bytes may be received at once, instead of the buffer, while that is empty. */
  readonly target?: Uint8Array | null;
  /** `count` bytes were received there: the result, if that is all. */
  received?(count: number): T | undefined;
  /** The waiting ends early: what was received there goes back. Throws when it is gone. */
  abandon?(input: ReadBuffer): void;
}

/** Up to a delimiter, which is included. */
export class UntilDelimiter implements Framing<Chunk> {
  readonly isFramed = true;
  readonly delimiter: Delimiter;
  readonly maxBytes: number;

  constructor(delimiter: Delimiter, maxBytes: number) {
    this.delimiter = delimiter;
    this.maxBytes = maxBytes;
  }

  take(input: ReadBuffer): Chunk | undefined {
    const length = input.find(this.delimiter, this.maxBytes);
    if (length >= 0) return input.take(length);
    if (input.length >= this.maxBytes) throw overLimit('no delimiter', this.maxBytes);
    return undefined;
  }
}

/** So many attempts at a regular expression are free; later ones wait until the bytes have doubled. */
const FREE_ATTEMPTS = 4;

/** Up to the end of a regular expression's first match. */
export class UntilRegex implements Framing<Chunk> {
  readonly isFramed = true;
  readonly #pattern: RegExp;
  readonly #maxBytes: number;
  #attempts = 0;
  #nextLength = 1;
  #triedLength = 0;
  #quietLength = 0;

  constructor(pattern: RegExp, maxBytes: number) {
    // Without the flags that make a pattern remember where it was.
    this.#pattern = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ''));
    this.#maxBytes = maxBytes;
  }

  /** Whether there are bytes, of `length`, that it has not looked at. */
  wantsRetry(length: number): boolean {
    return length > this.#triedLength;
  }

  /**
   * Whether no more have come since the last time this was asked: then that may be all there is, and
   * the next {@link take} tries.
   */
  isQuiet(length: number): boolean {
    const quiet = length === this.#quietLength;
    this.#quietLength = length;
    if (quiet) this.#nextLength = length;
    return quiet;
  }

  take(input: ReadBuffer, behind: Behind): Chunk | undefined {
    const length = Math.min(input.length, this.#maxBytes);
    if (length === 0) return undefined;
    if (input.length < this.#nextLength && length < this.#maxBytes && behind === 'more') return undefined;
    this.#attempts++;
    this.#triedLength = input.length;
    this.#nextLength = this.#attempts < FREE_ATTEMPTS ? input.length + 1 : input.length * 2;
    const match = this.#pattern.exec(input.peekText(length));
    if (match !== null && match.index + match[0].length > 0) return input.take(match.index + match[0].length);
    if (input.length >= this.#maxBytes) throw overLimit('no match', this.#maxBytes);
    return undefined;
  }
}

/** So many bytes. */
export class Exactly implements Framing<Chunk> {
  readonly isFramed = true;
  readonly count: number;

  constructor(count: number) {
    this.count = count;
  }

  take(input: ReadBuffer): Chunk | undefined {
    return input.length < this.count ? undefined : input.take(this.count);
  }
}

/** What there is, up to so many bytes. */
export class AtMost implements Framing<Chunk> {
  readonly isFramed = false;
  readonly count: number;

  constructor(count: number) {
    this.count = count;
  }

  take(input: ReadBuffer): Chunk | undefined {
    if (input.length === 0 && this.count > 0) return undefined;
    return input.take(Math.min(this.count, input.length));
  }
}

/** A piece as it came: what an iteration yields. */
export class NextPiece implements Framing<Chunk> {
  readonly isFramed = false;

  take(input: ReadBuffer): Chunk | undefined {
    return input.length === 0 ? undefined : input.takePiece(input.length);
  }
}

/** Everything up to the peer's end. */
export class UntilEnd implements Framing<Chunk> {
  readonly isFramed = true;
  readonly maxBytes: number;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  take(input: ReadBuffer, behind: Behind): Chunk | undefined {
    if (input.length > this.maxBytes) throw overLimit('no end', this.maxBytes);
    if (behind !== 'end') return undefined;
    return input.length === 0 ? EMPTY_CHUNK : input.take(input.length);
  }
}

/** Into the caller's memory: all of it, or what there is. */
export class IntoTarget implements Framing<number> {
  readonly isFramed: boolean;
  readonly #memory: Uint8Array;
  readonly #size: number;
  readonly #partial: boolean;
  #filled = 0;

  constructor(memory: Uint8Array, partial: boolean) {
    this.#memory = memory;
    this.#size = memory.length;
    this.#partial = partial;
    this.isFramed = !partial;
  }

  get target(): Uint8Array | null {
    return this.#memory.length > this.#filled ? this.#memory.subarray(this.#filled) : null;
  }

  take(input: ReadBuffer): number | undefined {
    if (input.length === 0 && this.#size > 0) return undefined;
    this.#checkMemory();
    return this.received(input.takeInto(this.#memory.subarray(this.#filled)));
  }

  received(count: number): number | undefined {
    this.#filled += count;
    return this.#partial || this.#filled >= this.#memory.length ? this.#filled : undefined;
  }

  abandon(input: ReadBuffer): void {
    if (this.#filled === 0) return;
    this.#checkMemory();
    input.unshift(this.#memory.subarray(0, this.#filled));
    this.#filled = 0;
  }

  #checkMemory(): void {
    if (this.#memory.length < this.#size)
      throw new IOLoopError(
        'ERR_IOLOOP_INVALID_STATE',
        'the target was transferred or shrunk while it was filled',
      );
  }
}

function overLimit(what: string, limit: number): LimitError {
  return new LimitError('ERR_IOLOOP_READ_LIMIT', `${what} within ${limit} bytes`, limit);
}

/** What ends the waiting of a read. */
export interface WaitLimits {
  /** When, as a tick of the wheel; 0: never. */
  readonly deadline: number;
  readonly timeoutMs: number;
  /** Takes the listener off the caller's signal. */
  readonly forgetSignal: () => void;
}

/** A read that waits, and the ends of its promise. */
export class PendingRead {
  readonly framing: Framing<unknown>;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
  /** What ends the waiting, if anything does. */
  limits: WaitLimits | null = null;

  constructor(framing: Framing<unknown>, resolve: (result: unknown) => void, reject: (error: Error) => void) {
    this.framing = framing;
    this.resolve = resolve;
    this.reject = reject;
  }
}
