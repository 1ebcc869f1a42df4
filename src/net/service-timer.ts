import type { IOLoop } from '../ioloop.ts';
import type { TimerHandle } from '../timer.ts';

/** Between two calls: the poll_interval of socketserver. */
const INTERVAL_MS = 500;

/**
 * Calls a server's serviceActions() every half second while it serves. Calls never overlap: the time runs
 * from the end of one to the next. Keeps no process alive.
 */
export class ServiceTimer {
  readonly #loop: IOLoop;
  readonly #actions: () => void | Promise<void>;
  #timer: TimerHandle | null = null;

  constructor(loop: IOLoop, actions: () => void | Promise<void>) {
    this.#loop = loop;
    this.#actions = actions;
  }

  /** Begins; does nothing when it runs. */
  start(): void {
    if (this.#timer !== null) return;
    const timer = this.#loop.callLater(INTERVAL_MS, async () => {
      try {
        await this.#actions();
      } finally {
        // Stopped, or stopped and started again, meanwhile: another timer leads.
        if (this.#timer === timer) timer.reschedule(INTERVAL_MS);
      }
    });
    this.#timer = timer.unref();
  }

  /** Ends; a call under way finishes, none follows. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }
}
