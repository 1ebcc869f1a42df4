import type { LookupFunction } from 'node:net';
import { checkFunction, checkInteger, invalidArgument } from '../arguments.ts';
import { SystemError } from '../errors.ts';
import { isIpLiteral } from '../ip-literal.ts';
import { resolve } from '../stream/resolve.ts';

/** How a server's sockets of one kind are bound. */
export interface Binder<Socket> {
  /** A socket at an address; `ipv6Only`: it takes no IPv4. */
  bind(address: string, port: number, ipv6Only: boolean): Socket | Promise<Socket>;
  portOf(socket: Socket): number;
  /** Closes a socket that is not wanted after all. */
  release(socket: Socket): void;
}

/** Where to bind, beside port and host. */
export interface BindOptions {
  readonly ipv6Only: boolean;
  readonly lookup?: LookupFunction | undefined;
}

/** How many ports the kernel may choose that are free at one address and taken at another. */
const MAX_PORTS = 16;

/** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
export function checkEndpoint(port: unknown, host: unknown): void {
  checkInteger(port, 'port', 0, 65535);
  if (host !== undefined && (typeof host !== 'string' || host === '' || host.includes('\0')))
    throw invalidArgument('host', 'a host name or an IP literal', host);
}

/**
 * Sockets at every address of `host`, all on one port (Tornado's bind_sockets): all of them or, when
 * one is refused, none.
 *
 * Without a host, every address of both families by one dual-stack socket, or IPv4's where the machine
 * has no IPv6. A name's IPv6 addresses take no IPv4. With port 0 the first socket's choice is the
 * others' as well; a port that is taken there is given back for another, a few times.
 *
 * @throws {@link SystemError} EADDRINUSE, EACCES, EADDRNOTAVAIL ...; what {@link resolve} throws;
 *   `ERR_IOLOOP_INVALID_ARGUMENT`.
 */
export async function bindAddresses<Socket>(
  binder: Binder<Socket>,
  port: number,
  host: string | undefined,
  { ipv6Only, lookup }: BindOptions,
): Promise<readonly Socket[]> {
  if (lookup !== undefined) checkFunction(lookup, 'options.lookup');
  if (host === undefined) return [await bindEverywhere(binder, port, ipv6Only)];
  if (isIpLiteral(host)) return [await binder.bind(host, port, ipv6Only)];
  // The families of the loopback interface count, too: no hints.
  return bindAll(binder, await resolve(host, { lookup, hints: 0 }), port);
}

async function bindEverywhere<Socket>(
  binder: Binder<Socket>,
  port: number,
  ipv6Only: boolean,
): Promise<Socket> {
  try {
    return await binder.bind('::', port, ipv6Only);
  } catch (error) {
    if (ipv6Only || !isCode(error, 'EAFNOSUPPORT', 'EADDRNOTAVAIL')) throw error;
    return binder.bind('0.0.0.0', port, false);
  }
}

/** {@link bindOnce} with another port where the kernel's choice did not do. */
async function bindAll<Socket>(
  binder: Binder<Socket>,
  addresses: readonly string[],
  port: number,
): Promise<readonly Socket[]> {
  for (let ports = 1; ; ports++) {
    try {
      return await bindOnce(binder, addresses, port);
    } catch (error) {
      if (port !== 0 || ports === MAX_PORTS || !isCode(error, 'EADDRINUSE')) throw error;
    }
  }
}

async function bindOnce<Socket>(
  binder: Binder<Socket>,
  addresses: readonly string[],
  port: number,
): Promise<readonly Socket[]> {
  const sockets: Socket[] = [];
  let shared = port;
  try {
    for (const address of addresses) {
      const socket = await binder.bind(address, shared, true);
      sockets.push(socket);
      if (shared === 0) shared = binder.portOf(socket);
    }
    return sockets;
  } catch (error) {
    for (const socket of sockets) binder.release(socket);
    throw error;
  }
}

function isCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof SystemError && codes.includes(error.code);
}
