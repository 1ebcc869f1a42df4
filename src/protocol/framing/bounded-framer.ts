import { checkInteger } from '../../arguments.ts';
import { LimitError } from '../../errors.ts';
import { Framer, type FramerOptions } from './framer.ts';

/** What framers can be told whose frames have lengths of their own. */
export interface BoundedFramerOptions extends FramerOptions {
  /** {@link BoundedFramer.maxLength} */
  maxLength?: number | undefined;
}

/** The longest frame of all: what one Buffer holds on every system. */
const MOST = 0x7fffffff;

/** A framer whose frames may be so long, and no longer. */
export abstract class BoundedFramer extends Framer {
  #maxLength: number;

  protected constructor(options: BoundedFramerOptions | undefined, byDefault: number) {
    super(options);
    const { maxLength = byDefault } = options ?? {};
    checkLength(maxLength, 'options.maxLength');
    this.#maxLength = maxLength;
  }

  /** How long a frame may be, without what stands around it. A change holds for lengths that are still to come. */
  get maxLength(): number {
    return this.#maxLength;
  }
  set maxLength(value: number) {
    if (value === this.#maxLength) return;
    checkLength(value, 'maxLength');
    this.#maxLength = value;
  }

  /** `what` is longer than it may be. */
  protected refuse(what: string): null {
    const message = `${what} is longer than maxLength, ${this.#maxLength} bytes`;
    return this.fail(new LimitError('ERR_IOLOOP_READ_LIMIT', message, this.#maxLength));
  }
}

/** The length of a frame, 1 at least. */
export function checkLength(value: unknown, name: string): asserts value is number {
  checkInteger(value, name, 1, MOST);
}
