import { checkMilliseconds, checkOptions } from '../arguments.ts';

/** How long those who are at work may go on when a server is closed. */
const DEFAULT_GRACE_MS = 30_000;

/**
 * How long the close() of a server waits for those at work.
 *
 * @throws `ERR_IOLOOP_INVALID_ARGUMENT`.
 */
export function graceOf(options: { graceMs?: number | undefined } | number | undefined): number {
  const given = typeof options === 'number' ? { graceMs: options } : options;
  checkOptions(given);
  const { graceMs = DEFAULT_GRACE_MS } = given ?? {};
  checkMilliseconds(graceMs, 'options.graceMs');
  return graceMs;
}
