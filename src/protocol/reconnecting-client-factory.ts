import { checkDuration, invalidArgument } from '../arguments.ts';
import { AbortError } from '../errors.ts';
import { ClientFactory, type Connector } from './client-factory.ts';
import { PendingRetry } from './pending-retry.ts';
import type { Reason } from './reasons.ts';

/**
 * A factory that connects anew when an attempt fails or a connection is lost, later each time.
 *
 * Call {@link resetDelay} when a connection has proved good, not when it is made: a server that accepts and
 * hangs up is not to be hammered.
 */
export class ReconnectingClientFactory extends ClientFactory {
  /** What the first attempt after a success waits for, in milliseconds. */
  initialDelayMs = 1_000;
  /** No wait is longer. */
  maxDelayMs = 60_000;
  /** By how much each wait is longer than the one before; 1: not at all. */
  factor = 2;
  /** Waits are longer or shorter by up to this share, so that clients do not come in step; 0 to 1. */
  jitter = 0.2;
  /** Attempts that may fail in a row before it gives up. */
  maxRetries: number = Number.POSITIVE_INFINITY;
  #delayMs: number | null = null;
  #retries = 0;
  #stopped = false;
  /** Those that connect, are connected, or wait until they do. */
  readonly #connectors = new Map<Connector, PendingRetry | null>();

  override startedConnecting(connector: Connector): void {
    this.#stopped = false;
    this.#connectors.get(connector)?.cancel();
    this.#connectors.set(connector, null);
  }

  /** An attempt that was given up, by `stopConnecting()` or its signal, is not made again. */
  override clientConnectionFailed(connector: Connector, reason: Error): void {
    if (reason instanceof AbortError) this.#connectors.delete(connector);
    else this.retry(connector);
  }

  override clientConnectionLost(connector: Connector, _reason: Reason): void {
    this.retry(connector);
  }

  /** Attempts since {@link resetDelay}. */
  get retries(): number {
    return this.#retries;
  }

  /** Has `connector` connect anew after the next delay, unless it was told to stop, or has tried too often. */
  retry(connector: Connector): void {
    if (this.#stopped || this.#retries >= this.maxRetries || connector.loop.scheduler.closed) {
      this.#connectors.delete(connector);
      return;
    }
    const delayMs = this.#nextDelay();
    this.#retries++;
    // Its port stays counted: the factory starts and stops once, however often it connects.
    this.doStart();
    this.#connectors.get(connector)?.cancel();
    const begin = (): void => {
      this.#connectors.set(connector, null);
      try {
        connector.connect();
      } finally {
        this.doStop();
      }
    };
    const calledOff = (): void => {
      this.#connectors.delete(connector);
      this.doStop();
    };
    this.#connectors.set(connector, new PendingRetry(connector.loop, delayMs, begin, calledOff));
  }

  /** Connects no more: an attempt that waits is off, one that is under way is given up. A connection goes on. */
  stopTrying(): void {
    this.#stopped = true;
    for (const connector of [...this.#connectors.keys()]) {
      this.#connectors.get(connector)?.cancel();
      if (connector.state === 'connecting') connector.stopConnecting();
      else if (connector.state === 'disconnected') this.#connectors.delete(connector);
    }
  }

  /** The next failure is the first. */
  resetDelay(): void {
    this.#delayMs = null;
    this.#retries = 0;
  }

  #nextDelay(): number {
    checkDuration(this.initialDelayMs, 'initialDelayMs');
    checkDuration(this.maxDelayMs, 'maxDelayMs');
    if (!(this.factor >= 1)) throw invalidArgument('factor', 'a number from 1', this.factor);
    if (!(this.jitter >= 0 && this.jitter <= 1))
      throw invalidArgument('jitter', 'a number from 0 to 1', this.jitter);
    const delay = this.#delayMs === null ? this.initialDelayMs : this.#delayMs * this.factor;
    this.#delayMs = Math.min(delay, this.maxDelayMs);
    return Math.min(this.#delayMs * (1 + this.jitter * (2 * Math.random() - 1)), this.maxDelayMs);
  }
}
