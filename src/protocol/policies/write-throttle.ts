import type { IOLoop } from '../../ioloop.ts';
import type { TimerHandle } from '../../timer.ts';
import { TokenBucket } from './token-bucket.ts';

/** Bytes that one of those that wait sends before the next has its turn. */
const QUANTUM = 16 * 1024;

/** Somebody who holds bytes until they may leave. */
export interface ThrottledWriter {
  /** How many it holds. */
  readonly bytesHeld: number;
  /** Sends `bytes` of them, or all if these are fewer; how many. */
  release(bytes: number): number;
}

/** Keeps what many write together at a rate: who has to wait is served in turn. */
export class WriteThrottle {
  readonly #loop: IOLoop;
  readonly #bucket: TokenBucket;
  readonly #waiting = new Set<ThrottledWriter>();
  #timer: TimerHandle | null = null;

  /** @param rate Bytes a second, of which `burstMs` milliseconds may be written at once. */
  constructor(loop: IOLoop, rate: number, burstMs: number) {
    this.#loop = loop;
    this.#bucket = new TokenBucket(loop, rate, burstMs);
  }

  /** How many of `bytes` may leave now, which then are paid for: none while others wait. */
  admit(bytes: number): number {
    if (this.#waiting.size > 0) return 0;
    const admitted = Math.max(Math.min(bytes, this.#bucket.available()), 0);
    this.#bucket.take(admitted);
    return admitted;
  }

  /** `bytes` have left, whether they could or not. */
  charge(bytes: number): void {
    this.#bucket.available();
    this.#bucket.take(bytes);
  }

  /** Has `writer` release what it holds, as soon as that may leave. */
  wait(writer: ThrottledWriter): void {
    this.#waiting.add(writer);
    if (this.#timer?.active !== true) this.#arm();
  }

  /** `writer` holds nothing any more. */
  forget(writer: ThrottledWriter): void {
    this.#waiting.delete(writer);
    if (this.#waiting.size === 0) this.#timer?.cancel();
  }

  #arm(): void {
    const delayMs = this.#bucket.waitMs();
    if (this.#timer === null) this.#timer = this.#loop.callLater(delayMs, this.#look);
    else this.#timer.reschedule(delayMs);
  }

  readonly #look = (): void => {
    // Whoever still holds something goes to the end, where this comes by again.
    for (const writer of this.#waiting) {
      const available = this.#bucket.available();
      if (available < 1) break;
      this.#waiting.delete(writer);
      this.#bucket.take(writer.release(Math.min(available, QUANTUM)));
      if (writer.bytesHeld > 0) this.#waiting.add(writer);
    }
    if (this.#waiting.size > 0) this.#arm();
  };
}
