import type { IOLoop } from '../../ioloop.ts';
import type { TimerHandle } from '../../timer.ts';
import { TokenBucket } from './token-bucket.ts';

/** Somebody who reads, and can be told to wait. */
export interface ThrottledReader {
  throttleReads(): void;
  unthrottleReads(): void;
}

/**
 * Keeps what many read together at a rate: who reads too much makes all of them wait until that is paid. They
 * go on in the order in which they last read, so that nobody takes it all.
 */
export class ReadThrottle {
  readonly #loop: IOLoop;
  readonly #bucket: TokenBucket;
  /** Who has not read for longest is first. */
  readonly #readers = new Set<ThrottledReader>();
  #timer: TimerHandle | null = null;

  /** @param rate Bytes a second, of which `burstMs` milliseconds may be read at once. */
  constructor(loop: IOLoop, rate: number, burstMs: number) {
    this.#loop = loop;
    this.#bucket = new TokenBucket(loop, rate, burstMs);
  }

  get #isThrottled(): boolean {
    return this.#timer?.active === true;
  }

  /** `reader` begins. */
  add(reader: ThrottledReader): void {
    this.#readers.add(reader);
    // A debt outlives those who made it: to connect anew does not help.
    if (!this.#isThrottled && this.#bucket.available() < 0) this.#arm();
    if (this.#isThrottled) reader.throttleReads();
  }

  /** `reader` has ended. */
  remove(reader: ThrottledReader): void {
    this.#readers.delete(reader);
    if (this.#readers.size === 0) this.#timer?.cancel();
  }

  /** `reader` has read `bytes`. */
  received(reader: ThrottledReader, bytes: number): void {
    const left = this.#bucket.available() - bytes;
    this.#bucket.take(bytes);
    this.#readers.delete(reader);
    this.#readers.add(reader);
    if (left >= 0 || this.#isThrottled) return;
    this.#arm();
    for (const other of this.#readers) other.throttleReads();
  }

  /** The readers keep the process alive, if they are to. */
  #arm(): void {
    const delayMs = this.#bucket.waitMs();
    if (this.#timer === null) this.#timer = this.#loop.callLater(delayMs, this.#look).unref();
    else this.#timer.reschedule(delayMs);
  }

  readonly #look = (): void => {
    // Those that were served before the pause reached them have added to the debt.
    if (this.#bucket.waitMs() > 0) {
      this.#arm();
      return;
    }
    for (const reader of this.#readers) reader.unthrottleReads();
  };
}
