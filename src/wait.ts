import { checkDuration, checkOptions, checkSignal } from './arguments.ts';
import { deferred } from './deferred.ts';
import { AbortError, TimeoutError } from './errors.ts';
import type { IOLoop, WaitOptions } from './ioloop.ts';

/** @throws `ERR_IOLOOP_INVALID_ARGUMENT` when `options` are no {@link WaitOptions}. */
export function checkWait(options: WaitOptions | undefined): void {
  if (options === undefined) return;
  checkOptions(options);
  checkSignal(options.signal, 'options.signal');
  if (options.timeoutMs !== undefined) checkDuration(options.timeoutMs, 'options.timeoutMs');
}

/**
 * `promise`, unless the time or the signal ends the waiting first.
 *
 * @param what What is waited for, for the {@link TimeoutError}.
 */
export async function waitFor<T>(
  loop: IOLoop,
  promise: Promise<T>,
  options: WaitOptions | undefined,
  what: string,
): Promise<T> {
  const { signal, timeoutMs = Number.POSITIVE_INFINITY } = options ?? {};
  if (signal === undefined && timeoutMs === Number.POSITIVE_INFINITY) return promise;
  // Where the waiting does not even begin, nobody hears how it ends.
  promise.catch(() => {});
  if (signal?.aborted) throw new AbortError(signal.reason);
  const { promise: ended, reject } = deferred<never>();
  const onAbort = (): void => reject(new AbortError(signal?.reason));
  const timer =
    timeoutMs === Number.POSITIVE_INFINITY
      ? undefined
      : loop.callLater(timeoutMs, () => reject(new TimeoutError(`${what} took more than ${timeoutMs} ms`)));
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, ended]);
  } finally {
    signal?.removeEventListener('abort', onAbort);
    timer?.cancel();
  }
}
