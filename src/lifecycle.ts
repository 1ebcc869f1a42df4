import { AsyncResource } from 'node:async_hooks';
import { deferred } from './deferred.ts';
import { AbortError, IOLoopError, TimeoutError } from './errors.ts';
import type { Scheduler } from './scheduler.ts';
import type { TimerQueue } from './timer.ts';

/** Somebody who waits for the loop's stop. */
type OnStopped = () => void;

/** Who waits for a loop to stop, and what is called when it does. */
export class Lifecycle {
  readonly #scheduler: Scheduler;
  readonly #timers: TimerQueue;
  #hooks: (() => unknown)[] = [];
  #waiting = new Set<OnStopped>();
  #stopRequested = false;
  /** How many wait for hooks that are running. */
  #stopping = 0;

  constructor(scheduler: Scheduler, timers: TimerQueue) {
    this.#scheduler = scheduler;
    this.#timers = timers;
  }

  /** How many start() and run() keep the process alive. */
  get size(): number {
    return this.#scheduler.closed ? 0 : this.#waiting.size + this.#stopping;
  }

  /** Settles when the loop has stopped. */
  start(): Promise<void> {
    const { promise, resolve } = deferred();
    this.#wait(resolve);
    return promise;
  }

  stop(): void {
    // Under way already, and nobody has started anew: no request for the next start().
    if (this.#stopping > 0 && this.#waiting.size === 0) return;
    this.#stopRequested = true;
    if (this.#waiting.size > 0) this.#scheduler.wantWork();
  }

  /** Calls `hook` when the loop stops, once, in the context of this call. */
  onStop(hook: () => unknown): void {
    this.#hooks.push(AsyncResource.bind(hook, 'IOLoopStopHook'));
  }

  /** What `main` returns, unless the time, the signal or the loop ends first. */
  async run<T>(main: () => T | Promise<T>, timeoutMs: number, signal: AbortSignal | undefined): Promise<T> {
    if (signal?.aborted) throw new AbortError(signal.reason);
    const { promise: ended, reject } = deferred<never>();
    // main() may end the waiting and then throw: nobody races with it any more.
    ended.catch(() => {});
    const onAbort = (): void => reject(new AbortError(signal?.reason));
    const onStopped = (): void =>
      reject(new IOLoopError('ERR_IOLOOP_CLOSED', 'the loop stopped before main() was done'));
    const onTimeout = (): void => reject(new TimeoutError(`main() took more than ${timeoutMs} ms`));
    const timer =
      timeoutMs === Number.POSITIVE_INFINITY ? undefined : this.#timers.later(timeoutMs, onTimeout);
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#wait(onStopped);
    try {
      return await Promise.race([main(), ended]);
    } finally {
      signal?.removeEventListener('abort', onAbort);
      timer?.cancel();
      if (this.#waiting.delete(onStopped) && !this.#scheduler.closed) this.#scheduler.unreference();
    }
  }

  /** Stops, if that was asked for and somebody waits for it. */
  settle(): void {
    if (this.#stopRequested && this.#waiting.size > 0) void this.#finish();
  }

  /** The loop is closed: nobody waits any longer, and hooks are not called. */
  clear(): void {
    for (const onStopped of this.#waiting) onStopped();
    this.#waiting.clear();
    this.#hooks = [];
  }

  async #finish(): Promise<void> {
    this.#stopRequested = false;
    const waiting = this.#waiting;
    this.#stopping += waiting.size;
    const hooks = this.#hooks.reverse();
    this.#waiting = new Set();
    this.#hooks = [];
    for (const hook of hooks) {
      try {
        await hook();
      } catch (error) {
        this.#scheduler.caught(error);
      }
    }
    this.#stopping -= waiting.size;
    for (const onStopped of waiting) {
      onStopped();
      if (!this.#scheduler.closed) this.#scheduler.unreference();
    }
  }

  #wait(onStopped: OnStopped): void {
    this.#waiting.add(onStopped);
    this.#scheduler.reference();
    if (this.#stopRequested) this.#scheduler.wantWork();
  }
}
