import {
  checkBoolean,
  checkDuration,
  checkMilliseconds,
  checkOptions,
  checkSignal,
  invalidArgument,
} from './arguments.ts';
import { deferred } from './deferred.ts';
import { IOLoop } from './ioloop.ts';
import { waitFor } from './wait.ts';

/** How to wait by the clock of a loop. */
export interface ClockOptions {
  /** Whose time it is: the current loop's by default; a simulated one's takes no real time. */
  loop?: IOLoop | undefined;
  /** Ends the waiting with an AbortError. */
  signal?: AbortSignal | undefined;
}

/** How to wait for nothing but time. */
export interface DelayOptions extends ClockOptions {
  /** Whether the process is kept alive meanwhile: by default it is. */
  ref?: boolean | undefined;
}

/**
 * Settles no sooner than `delayMs` from now (Tornado's `gen.sleep`, Twisted's `deferLater`).
 *
 * A loop that closes drops its timers: then it never settles.
 *
 * @param delayMs Milliseconds; fractions count, negatives mean now, Infinity means never.
 * @throws AbortError; `ERR_IOLOOP_CLOSED`, `ERR_IOLOOP_INVALID_ARGUMENT`.
 */
export async function delay(delayMs: number, options?: DelayOptions): Promise<void> {
  checkMilliseconds(delayMs, 'delayMs');
  const { loop, signal } = clockOf(options);
  checkBoolean(options?.ref, 'options.ref');
  const passed = deferred();
  const timer = loop.callLater(delayMs, () => passed.resolve());
  if (options?.ref === false) timer.unref();
  try {
    await waitFor(loop, passed.promise, { signal }, 'delay()');
  } finally {
    timer.cancel();
  }
}

/**
 * What `promise` comes to, unless `timeoutMs` pass first (Tornado's `gen.with_timeout`, Twisted's
 * `Deferred.addTimeout`).
 *
 * The end of the waiting does not end what is waited for: where that takes a signal, give it one. What
 * it rejects with later is no unhandledRejection.
 *
 * @param timeoutMs Milliseconds; fractions count, Infinity means no limit.
 * @throws {@link TimeoutError}, AbortError; `ERR_IOLOOP_CLOSED`, `ERR_IOLOOP_INVALID_ARGUMENT`.
 */
export async function timeout<T>(
  promise: PromiseLike<T>,
  timeoutMs: number,
  options?: ClockOptions,
): Promise<T> {
  if (typeof promise?.then !== 'function') throw invalidArgument('promise', 'a promise', promise);
  checkDuration(timeoutMs, 'timeoutMs');
  const { loop, signal } = clockOf(options);
  return waitFor(loop, Promise.resolve(promise), { signal, timeoutMs }, 'the promise');
}

function clockOf(options: ClockOptions | undefined): { loop: IOLoop; signal: AbortSignal | undefined } {
  checkOptions(options);
  const { loop = IOLoop.current(), signal } = options ?? {};
  if (!(loop instanceof IOLoop)) throw invalidArgument('options.loop', 'an IOLoop', loop);
  checkSignal(signal, 'options.signal');
  return { loop, signal };
}
