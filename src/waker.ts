import { checkInteger, checkOptions } from './arguments.ts';
import { addon } from './native.ts';

/** Names a waker to another thread: plain data, for `workerData` and `postMessage`. */
export interface WakerHandle {
  /** Its number in the process's registry; not used again while 2^31 others are made. */
  readonly wakerId: number;
}

/** The loop's side of a waker that was made there. */
export interface WakerOwner {
  setWakerReferenced(waker: Waker, referenced: boolean): void;
  forgetWaker(waker: Waker): void;
}

/**
 * Wakes a loop from any thread, by its registry and never by a descriptor number, which may have
 * come to mean another file.
 *
 * Many wakes before the loop's next turn are one call of the callback. Native code may wake too, by
 * writing the eight-byte integer 1 to `fd` (eventfd(2)).
 */
export class Waker {
  /** What another thread needs for {@link Waker.from}. */
  readonly handle: WakerHandle;
  #owner: WakerOwner | null;

  /** @internal Loops make them: `loop.createWaker(callback)`. */
  constructor(handle: WakerHandle, owner: WakerOwner | null) {
    this.handle = handle;
    this.#owner = owner;
  }

  /** The waker of another thread's loop. It only wakes: close, ref and unref are its maker's. */
  static from(handle: WakerHandle): Waker {
    checkOptions(handle ?? null, 'handle');
    checkInteger(handle.wakerId, 'handle.wakerId', 1, 0xffffffff);
    return new Waker({ wakerId: handle.wakerId }, null);
  }

  /** The descriptor for native code to write to, -1 when the waker is gone. A borrow: it stays the waker's. */
  get fd(): number {
    return addon().wakerWriteFd(this.handle.wakerId);
  }

  /** Wakes the loop; false when it is gone. Never blocks or throws. */
  wake(): boolean {
    return addon().wake(this.handle.wakerId);
  }

  /** Keeps the process alive: the default. */
  ref(): this {
    this.#owner?.setWakerReferenced(this, true);
    return this;
  }

  /** Does not keep the process alive. */
  unref(): this {
    this.#owner?.setWakerReferenced(this, false);
    return this;
  }

  /** No wake after this one is heard. Idempotent. */
  close(): void {
    this.#owner?.forgetWaker(this);
    this.#owner = null;
  }

  /** Closes. */
  [Symbol.dispose](): void {
    this.close();
  }
}
