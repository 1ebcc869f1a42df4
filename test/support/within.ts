/** What every limit is multiplied by: sanitizers and slow machines set `IOLOOP_TIME_SCALE`. */
export const timeScale: number = Number(process.env.IOLOOP_TIME_SCALE ?? 1);

/**
 * Settles as `promise` does, or rejects once `limitMs` have passed without that.
 *
 * Every wait in a test goes through it, so that one that never ends fails by its name. While it waits
 * the process stays alive: a loop that forgot to is told by the limit, not by an early exit.
 *
 * @param limitMs Milliseconds, multiplied by `IOLOOP_TIME_SCALE`.
 * @param what The subject of the message: "the first byte", "the child's exit".
 */
export async function within<T>(limitMs: number, promise: T | PromiseLike<T>, what: string): Promise<T> {
  const limit = limitMs * timeScale;
  let timer: NodeJS.Timeout | undefined;
  const expiry = new Promise<never>((_, reject) => {
    const error = new Error(`${what} did not come within ${limit} ms`);
    timer = setTimeout(() => reject(error), limit);
  });
  try {
    return await Promise.race([promise, expiry]);
  } finally {
    clearTimeout(timer);
  }
}
