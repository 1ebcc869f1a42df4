import type { IOLoop } from '../../ioloop.ts';

/** Milliseconds from one look at those who wait to the next, at least: their timers are not for each byte. */
export const PERIOD_MS = 20;

/**
 * How much may pass at a rate: what nobody uses is saved up, to some amount. More may be taken than there is;
 * that is a debt, which is paid before there is anything again.
 */
export class TokenBucket {
  readonly #loop: IOLoop;
  /** A second. */
  readonly #rate: number;
  readonly #capacity: number;
  #tokens: number;
  #sinceMs: number;

  /**
   * @param rate Tokens a second.
   * @param burstMs How many milliseconds of the rate are saved up, and are there at first: two periods at least,
   *   so that a look that is late loses nothing.
   */
  constructor(loop: IOLoop, rate: number, burstMs: number) {
    this.#loop = loop;
    this.#rate = rate;
    this.#capacity = Math.max((rate * Math.max(burstMs, 2 * PERIOD_MS)) / 1_000, 1);
    this.#tokens = this.#capacity;
    this.#sinceMs = loop.time();
  }

  /** Whole tokens that there are; below 0: a debt. */
  available(): number {
    const nowMs = this.#loop.time();
    const earned = ((nowMs - this.#sinceMs) * this.#rate) / 1_000;
    this.#tokens = Math.min(this.#tokens + earned, this.#capacity);
    this.#sinceMs = nowMs;
    return Math.floor(this.#tokens);
  }

  /** Takes `count`, there or not. */
  take(count: number): void {
    this.#tokens -= count;
  }

  /**
   * Milliseconds until there is what {@link PERIOD_MS} bring, and one at least. Rounded up to a microsecond: what
   * is less may not move the clock at all.
   */
  waitMs(): number {
    const enough = Math.max((this.#rate * PERIOD_MS) / 1_000, 1);
    this.available();
    const microseconds = ((enough - this.#tokens) * 1_000_000) / this.#rate;
    return Math.max(Math.ceil(microseconds) / 1_000, 0);
  }
}
