import dns, { ADDRCONFIG } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { invalidArgument } from '../arguments.ts';
import { SystemError } from '../errors.ts';
import { familyOf, isIpLiteral } from '../ip-literal.ts';

/** How a name is resolved. */
export interface ResolveOptions {
  /** In place of `dns.lookup`. Called once, with `all: true`. */
  readonly lookup?: LookupFunction | undefined;
  /** Addresses of this family alone; 0, the default: of both. */
  readonly family?: 0 | 4 | 6 | undefined;
  /** Of getaddrinfo(3); by default families that this machine has no address of are left out. */
  readonly hints?: number | undefined;
}

// Nobody has as many, and what a resolver answers is not ours to trust.
const MAX_ADDRESSES = 256;
/** "No address", as libuv numbers the errors of getaddrinfo(3). */
const EAI_NODATA = -3007;

/**
 * The addresses of `host` in the order of the answer, each once. A literal is its own address.
 *
 * It cannot be called off: who no longer waits drops the answer.
 *
 * @throws what the lookup answers (`ENOTFOUND`, `EAI_AGAIN` ...), {@link SystemError} `EAI_NODATA`: no
 *   address of the family; `ERR_IOLOOP_INVALID_ARGUMENT`: an answer that is no list of IP addresses.
 */
export async function resolve(host: string, options: ResolveOptions = {}): Promise<readonly string[]> {
  const { family = 0, hints = ADDRCONFIG, lookup = dns.lookup } = options;
  const answer = isIpLiteral(host) ? host : await ask(lookup, host, { all: true, family, hints });
  const addresses = new Set(addressesIn(answer).filter((address) => isOf(family, address)));
  if (addresses.size > 0) return [...addresses];
  const wanted = family === 0 ? '' : ` of IPv${family}`;
  throw new SystemError(EAI_NODATA, 'getaddrinfo', { detail: `${host}${wanted}` });
}

/**
 * `addresses` with the families in turn, the first one's first: RFC 8305, section 4, with a First
 * Address Family Count of 1.
 */
export function interleave(addresses: readonly string[]): string[] {
  const preferred = familyOf(addresses[0] ?? '');
  const ahead = addresses.filter((address) => isOf(preferred, address));
  const behind = addresses.filter((address) => !isOf(preferred, address));
  const mixed: string[] = [];
  for (let place = 0; place < Math.max(ahead.length, behind.length); place++)
    mixed.push(...ahead.slice(place, place + 1), ...behind.slice(place, place + 1));
  return mixed;
}

function isOf(family: 0 | 4 | 6, address: string): boolean {
  return family === 0 || familyOf(address) === family;
}

function ask(lookup: LookupFunction, host: string, options: dns.LookupOptions): Promise<unknown> {
  return new Promise((fulfil, reject) => {
    lookup(host, options, (error, address: unknown) => {
      if (error) reject(error);
      else fulfil(address);
    });
  });
}

/** An answer is one address, or a list of `{ address, family }`: the text tells the family better. */
function addressesIn(answer: unknown): string[] {
  const items: unknown[] = Array.isArray(answer) ? answer.slice(0, MAX_ADDRESSES) : [answer];
  return items.map((item) => {
    const address = typeof item === 'object' && item !== null && 'address' in item ? item.address : item;
    if (typeof address === 'string' && isIpLiteral(address)) return address;
    throw invalidArgument('what lookup answers', 'IP addresses', item);
  });
}
