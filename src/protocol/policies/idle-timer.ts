import { checkDuration, checkFunction, invalidArgument } from '../../arguments.ts';
import { IOLoop } from '../../ioloop.ts';
import type { TimerHandle } from '../../timer.ts';

/**
 * Calls when nothing has happened for a while: Twisted's `TimeoutMixin`, as a part that a protocol has.
 *
 *     class Patient extends Protocol {
 *       readonly #idle = new IdleTimer(() => this.transport.loseConnection());
 *       override connectionMade() { this.#idle.setTimeout(60_000); }
 *       override dataReceived(data: Buffer) { this.#idle.resetTimeout(); }
 *       override connectionLost() { this.#idle.setTimeout(null); }
 *     }
 *
 * It is never early. A reset costs a look at the clock: the loop's timer is moved only when it fires and finds
 * that something has happened since. It keeps no process alive.
 */
export class IdleTimer {
  readonly #loop: IOLoop;
  readonly #onTimeout: () => void;
  #timer: TimerHandle | null = null;
  #timeoutMs: number | null = null;
  /** When something last happened. */
  #activeMs = 0;

  /**
   * @param timeoutConnection Called at the end of each {@link setTimeout}, once.
   * @throws `ERR_IOLOOP_INVALID_ARGUMENT`.
   */
  constructor(timeoutConnection: () => void, loop: IOLoop = IOLoop.current()) {
    checkFunction(timeoutConnection, 'timeoutConnection');
    if (!(loop instanceof IOLoop)) throw invalidArgument('loop', 'an IOLoop', loop);
    this.#onTimeout = timeoutConnection;
    this.#loop = loop;
  }

  /** What it waits for, in milliseconds; null: it does not. */
  get timeoutMs(): number | null {
    return this.#timeoutMs;
  }

  /**
   * Waits from now until `timeoutMs` have passed without {@link resetTimeout}.
   *
   * @param timeoutMs Milliseconds; null: waits no more.
   * @returns What it has waited for until now.
   */
  setTimeout(timeoutMs: number | null): number | null {
    if (timeoutMs !== null) checkDuration(timeoutMs, 'timeoutMs');
    const before = this.#timeoutMs;
    this.#timeoutMs = timeoutMs;
    if (timeoutMs === null) {
      this.#timer?.cancel();
      return before;
    }
    this.#activeMs = this.#loop.time();
    if (this.#timer === null) this.#timer = this.#loop.callLater(timeoutMs, this.#look).unref();
    else this.#timer.reschedule(timeoutMs);
    return before;
  }

  /** Something has happened: waits anew. No effect without {@link setTimeout}. */
  resetTimeout(): void {
    if (this.#timeoutMs !== null) this.#activeMs = this.#loop.time();
  }

  readonly #look = (): void => {
    if (this.#timeoutMs === null) return;
    const leftMs = this.#activeMs + this.#timeoutMs - this.#loop.time();
    if (leftMs > 0) {
      // Less than a microsecond may not move the clock at all.
      this.#timer?.reschedule(Math.max(leftMs, 0.001));
      return;
    }
    this.#timeoutMs = null;
    this.#onTimeout();
  };
}
