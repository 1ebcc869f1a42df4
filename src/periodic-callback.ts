import { checkFunction, checkMilliseconds, checkOptions, invalidArgument } from './arguments.ts';
import { IOLoop } from './ioloop.ts';
import type { TimerHandle } from './timer.ts';

/**
 * Calls back every `periodMs`, on a fixed grid that starts with start().
 *
 * Late calls are skipped, never made up for in a burst, and calls never overlap: while a returned
 * promise is pending the grid's points pass unused. What the callback throws goes where a throw in a
 * loop's callback goes, and the next call comes all the same.
 */
export class PeriodicCallback {
  readonly #callback: () => void | Promise<void>;
  readonly #periodMs: number;
  readonly #jitter: number;
  readonly #loop: IOLoop | undefined;
  #timer: TimerHandle | undefined;
  #nextMs = 0;
  #running = false;
  /** Whether a promise of the callback is pending: also one of before a stop() and a start(). */
  #calling = false;

  /**
   * @param periodMs Milliseconds, more than 0; fractions count.
   * @param options `jitter`: 0 to 1, how much of a period each call may be moved, half of it either
   *   way; `loop`: where it is called, the current one by default.
   */
  constructor(
    callback: () => void | Promise<void>,
    periodMs: number,
    options?: { jitter?: number | undefined; loop?: IOLoop | undefined },
  ) {
    checkFunction(callback, 'callback');
    checkMilliseconds(periodMs, 'periodMs');
    checkOptions(options);
    const jitter = options?.jitter ?? 0;
    if (!(periodMs > 0 && periodMs < Number.POSITIVE_INFINITY))
      throw invalidArgument('periodMs', 'a finite number of milliseconds over 0', periodMs);
    if (!(typeof jitter === 'number' && jitter >= 0 && jitter <= 1))
      throw invalidArgument('options.jitter', 'a number from 0 to 1', jitter);
    this.#callback = callback;
    this.#periodMs = periodMs;
    this.#jitter = jitter;
    this.#loop = options?.loop;
  }

  /** Begins; the first call is one period from now. Does nothing when it runs. */
  start(): void {
    if (this.#running) return;
    const loop = this.#loop ?? IOLoop.current();
    this.#nextMs = loop.time();
    this.#schedule(loop);
    this.#running = true;
  }

  /** Ends; a call under way finishes, none follows. */
  stop(): void {
    this.#running = false;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Whether it was started and not stopped. */
  isRunning(): boolean {
    return this.#running;
  }

  #scheduleUnlessClosed(loop: IOLoop): void {
    if (loop.fd >= 0) this.#schedule(loop);
    else this.stop();
  }

  #schedule(loop: IOLoop): void {
    const behindMs = loop.time() - this.#nextMs;
    // At least one point on: jitter calls ahead of the point that the call stands for.
    this.#nextMs += Math.max(1, Math.floor(behindMs / this.#periodMs) + 1) * this.#periodMs;
    const offsetMs = this.#jitter * (Math.random() - 0.5) * this.#periodMs;
    const timer = loop.callAt(this.#nextMs + offsetMs, async () => {
      if (this.#calling) return this.#scheduleUnlessClosed(loop);
      this.#calling = true;
      try {
        await this.#callback();
      } finally {
        this.#calling = false;
        // Stopped, or stopped and started again, while the callback ran: another timer leads.
        if (this.#timer === timer) this.#scheduleUnlessClosed(loop);
      }
    });
    this.#timer = timer;
  }
}
