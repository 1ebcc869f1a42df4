import { type Deferred, deferred } from '../deferred.ts';
import { SystemError } from '../errors.ts';
import type { IOLoop } from '../ioloop.ts';
import { closeStream, type NativeTarget } from '../native.ts';
import type { TimerHandle } from '../timer.ts';
import { ConnectAttempt, type Connection, type ConnectObserver, type LocalEnd } from './connect-attempt.ts';

/** What this machine answers by itself. */
const NO_ROUTE = ['ENETUNREACH', 'EADDRNOTAVAIL', 'EAFNOSUPPORT'];

/**
 * Attempts to connect to several addresses of one host, in their order: the next one begins when the
 * last has failed or has taken longer than the Connection Attempt Delay, none is given up for a later
 * one, and the first connection wins (RFC 8305, section 5).
 */
export class HappyEyeballs {
  readonly #loop: IOLoop;
  readonly #untried: NativeTarget[];
  readonly #local: LocalEnd;
  readonly #delayMs: number;
  readonly #attempts = new Set<ConnectAttempt>();
  readonly #errors: unknown[] = [];
  readonly #connected: Deferred<Connection> = deferred<Connection>();
  #timer: TimerHandle | undefined;
  #won: Connection | undefined;

  /** @param delayMs The Connection Attempt Delay. */
  constructor(loop: IOLoop, targets: readonly NativeTarget[], local: LocalEnd, delayMs: number) {
    this.#loop = loop;
    this.#untried = [...targets];
    this.#local = local;
    // One local port serves one attempt at a time.
    this.#delayMs = local.port === 0 ? delayMs : Number.POSITIVE_INFINITY;
    this.#startNext();
  }

  /**
   * The one that won. Rejects when all have failed, with the error of the first address that there was
   * a route to; its `cause` is an AggregateError of the others', if there were others.
   */
  get connected(): Promise<Connection> {
    return this.#connected.promise;
  }

  /** The connection that won is its receiver's from now on. */
  release(): void {
    this.#won = undefined;
  }

  /** Ends all of it: closes every descriptor that was not released. */
  close(): void {
    this.#timer?.cancel();
    this.#untried.length = 0;
    for (const attempt of this.#attempts) attempt.cancel();
    this.#attempts.clear();
    if (this.#won !== undefined) closeStream(this.#won.fd);
    this.#won = undefined;
  }

  #startNext(): void {
    this.#timer?.cancel();
    const target = this.#untried.shift();
    if (target === undefined) return;
    if (this.#untried.length > 0) this.#timer = this.#loop.callLater(this.#delayMs, () => this.#startNext());
    const attempt = new ConnectAttempt(this.#loop, target, this.#local, this.#observer);
    this.#attempts.add(attempt);
    attempt.start();
  }

  readonly #observer: ConnectObserver = {
    onConnected: (connection) => {
      this.close();
      this.#won = connection;
      this.#connected.resolve(connection);
    },
    onFailed: (error, attempt) => {
      this.#attempts.delete(attempt);
      this.#errors.push(error);
      if (this.#untried.length > 0) this.#startNext();
      else if (this.#attempts.size === 0) this.#connected.reject(this.#verdict(error));
    },
  };

  #verdict(last: unknown): unknown {
    const verdict = this.#errors.find(isRouted) ?? last;
    const others = this.#errors.filter((error) => error !== verdict);
    if (verdict instanceof Error && others.length > 0)
      verdict.cause = new AggregateError(others, 'the other addresses failed, too');
    return verdict;
  }
}

/** Whether an address was refused by more than this machine's own routes. */
function isRouted(error: unknown): boolean {
  return error instanceof SystemError && !NO_ROUTE.includes(error.code);
}
