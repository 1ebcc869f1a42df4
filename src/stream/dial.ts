import type { LookupFunction } from 'node:net';
import {
  checkFunction,
  checkInteger,
  checkMilliseconds,
  checkOptions,
  checkSignal,
  invalidArgument,
} from '../arguments.ts';
import { deferred } from '../deferred.ts';
import { AbortError, TimeoutError } from '../errors.ts';
import type { IOLoop } from '../ioloop.ts';
import { familyOf, isIpLiteral } from '../ip-literal.ts';
import type { NativePreset, NativeTarget } from '../native.ts';
import type { Connection, LocalEnd } from './connect-attempt.ts';
import { HappyEyeballs } from './happy-eyeballs.ts';
import { interleave, resolve } from './resolve.ts';

/**
 * Whom to connect to: a name or an IP literal ('localhost' by default) and a port, from an address
 * and port of this machine if that matters; or a path in the Unix domain, NUL first for an abstract
 * name (unix(7)).
 */
export type DialTarget =
  | {
      host?: string | undefined;
      port: number;
      localAddress?: string | undefined;
      localPort?: number | undefined;
    }
  | { path: string };

export interface DialOptions {
  /** Resolves the name in place of `dns.lookup`. */
  lookup?: LookupFunction | undefined;
  signal?: AbortSignal | undefined;
  /** For all of it, the lookup included; 30,000. */
  timeoutMs?: number | undefined;
  /** Between the beginnings of two attempts: RFC 8305, section 5; 250. */
  attemptDelayMs?: number | undefined;
  /** Set on each socket before it connects; none. */
  presets?: readonly NativePreset[] | undefined;
}

const DEFAULT_TIMEOUT_MS = 30_000;
const ATTEMPT_DELAY_MS = 250;
/** More addresses than this are not tried: at 250 ms each they would outlast anybody's patience. */
const MAX_ATTEMPTS = 16;
const ANY = { address: '', port: 0 };

/**
 * Connects, to whichever address of a name answers first (happy eyeballs, RFC 8305), and keeps the
 * process alive meanwhile. The descriptor is the caller's and watched by nobody.
 *
 * A socket that came to connect to itself is refused; a Unix socket whose backlog is full is waited
 * for. With a `localPort` one address is tried after the other has failed. However it fails, no
 * descriptor stays open; the answer of a lookup that nobody waits for any more is dropped.
 *
 * @throws {@link SystemError} of connect(2), with the other addresses' errors in its `cause`;
 *   what {@link resolve} throws; AbortError; {@link TimeoutError}; `ERR_IOLOOP_INVALID_ARGUMENT`.
 */
export async function dial(loop: IOLoop, target: DialTarget, options: DialOptions = {}): Promise<Connection> {
  checkOptions(options);
  const { lookup, signal, timeoutMs = DEFAULT_TIMEOUT_MS, attemptDelayMs = ATTEMPT_DELAY_MS } = options;
  const { presets = [] } = options;
  if (lookup !== undefined) checkFunction(lookup, 'options.lookup');
  checkSignal(signal, 'options.signal');
  checkMilliseconds(timeoutMs, 'options.timeoutMs');
  checkMilliseconds(attemptDelayMs, 'options.attemptDelayMs');
  const { name, targets, local } = checkTarget(target, lookup);
  if (signal?.aborted) throw new AbortError(signal.reason);
  const { promise: interrupted, reject: interrupt } = deferred<never>();
  // Nobody may be waiting when it comes.
  interrupted.catch(() => {});
  const onAbort = (): void => interrupt(new AbortError(signal?.reason));
  const timer = loop.callLater(timeoutMs, () =>
    interrupt(new TimeoutError(`connecting to ${name} took more than ${timeoutMs} ms`)),
  );
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const found = await Promise.race([interrupted, targets()]);
    return await connectFirst(
      new HappyEyeballs(loop, found, { ...local, presets }, attemptDelayMs),
      interrupted,
    );
  } finally {
    signal?.removeEventListener('abort', onAbort);
    timer.cancel();
  }
}

async function connectFirst(race: HappyEyeballs, interrupted: Promise<never>): Promise<Connection> {
  try {
    const connection = await Promise.race([interrupted, race.connected]);
    race.release();
    return connection;
  } finally {
    race.close();
  }
}

/** A target that was checked. */
export interface CheckedTarget {
  /** For people. */
  readonly name: string;
  /** Where to connect to, the best first. */
  readonly targets: () => Promise<readonly NativeTarget[]>;
  readonly local: Pick<LocalEnd, 'address' | 'port'>;
}

/** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
export function checkTarget(target: DialTarget, lookup: LookupFunction | undefined): CheckedTarget {
  checkOptions(target ?? null, 'target');
  if ('path' in target) return pathTarget(target.path);
  const { host = 'localhost', port, localAddress, localPort = 0 } = target;
  if (typeof host !== 'string' || host === '' || host.includes('\0'))
    throw invalidArgument('target.host', 'a host name or an IP literal', host);
  checkInteger(port, 'target.port', 1, 65535);
  checkInteger(localPort, 'target.localPort', 0, 65535);
  if (localAddress !== undefined && !(typeof localAddress === 'string' && isIpLiteral(localAddress)))
    throw invalidArgument('target.localAddress', 'an IP literal', localAddress);
  const family = localAddress === undefined ? 0 : familyOf(localAddress);
  const targets = async (): Promise<readonly NativeTarget[]> => {
    const addresses = interleave(await resolve(host, { lookup, family }));
    return addresses.slice(0, MAX_ATTEMPTS).map((address) => ({ path: undefined, host: address, port }));
  };
  return { name: `${host}:${port}`, targets, local: { address: localAddress ?? '', port: localPort } };
}

function pathTarget(path: unknown): CheckedTarget {
  // An abstract name begins with a NUL; a path ends at one.
  if (typeof path !== 'string' || path === '' || (path.includes('\0') && !path.startsWith('\0')))
    throw invalidArgument('target.path', 'a path or an abstract name', path);
  return { name: path, targets: async () => [{ path, host: '', port: 0 }], local: ANY };
}
