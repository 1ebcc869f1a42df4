import type { Buffer } from 'node:buffer';
import { checkFunction, checkInteger, invalidArgument } from '../../arguments.ts';
import { IOLoopError } from '../../errors.ts';
import { BoundedFramer, type BoundedFramerOptions } from './bounded-framer.ts';

/**
 * What is called with how many bytes come next, 0 included. It returns the state after that, nothing to
 * stay in this one; the view that it is given is valid during the call.
 */
export type FramingState = readonly [callback: (data: Buffer) => FramingState | undefined, length: number];

/** Frames of at most 1 MiB by default, whose lengths and meanings those before them decide. */
export class StateFramer extends BoundedFramer {
  #state: FramingState;

  /** @param state The first. */
  constructor(state: FramingState, options?: Omit<BoundedFramerOptions, 'onFrame'>) {
    super(options, 1_048_576);
    checkState(state);
    this.#state = state;
    this.onFrame = (data) => this.#call(data);
  }

  /** Goes over to `state`; what has come of the one before is part of it. */
  setState(state: FramingState): void {
    checkState(state);
    this.#state = state;
    if (this.partial.length > 0) this.putBack(this.partial.take());
    this.cutAll();
  }

  protected override get isReady(): boolean {
    const [, length] = this.#state;
    return length === 0 || length > this.maxLength;
  }

  protected override cut(input: Buffer): Buffer | null {
    const [, length] = this.#state;
    // The length may be the peer's word.
    if (length > this.maxLength) return this.refuse(`a state of ${length} bytes`);
    return this.take(input, length);
  }

  #call(data: Buffer): void {
    const before = this.#state;
    const next = before[0](data);
    if (next !== undefined) {
      checkState(next);
      this.#state = next;
    } else if (this.#state === before && before[1] === 0) {
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'a state of 0 bytes has to return the next');
    }
  }
}

function checkState(state: unknown): void {
  if (!Array.isArray(state)) throw invalidArgument('state', 'a callback and a length', state);
  const [callback, length] = state;
  checkFunction(callback, 'callback of the state');
  checkInteger(length, 'length of the state', 0, Number.MAX_SAFE_INTEGER);
}
