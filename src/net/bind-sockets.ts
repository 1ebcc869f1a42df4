import type { LookupFunction } from 'node:net';
import { checkBoolean, checkFunction, checkInteger, checkOptions, invalidArgument } from '../arguments.ts';
import { SystemError } from '../errors.ts';
import { isIpLiteral } from '../ip-literal.ts';
import { addon, closeStream } from '../native.ts';
import { explain } from '../native-error.ts';
import { resolve } from '../stream/resolve.ts';

/** How a TCP server listens. */
export interface ListenOptions {
  /** Connections that wait to be accepted; 4096, clipped by the kernel (listen(2), net.core.somaxconn). */
  backlog?: number | undefined;
  /** Several sockets, of other threads or processes too, share the port (SO_REUSEPORT, socket(7)). */
  reusePort?: boolean | undefined;
  /** "::" takes no IPv4 (IPV6_V6ONLY, ipv6(7)). */
  ipv6Only?: boolean | undefined;
}

const DEFAULT_BACKLOG = 4096;
/** How many ports the kernel may choose that are free at one address and taken at another. */
const MAX_PORTS = 16;
const LEAVE_MODE = -1;

/**
 * Sockets that listen at every address of `host`, all on one port (Tornado's bind_sockets): all of
 * them or, when one is refused, none. They belong to this environment; {@link Listener} takes them over.
 *
 * Without a host, every address of both families by one dual-stack socket, or IPv4's where the machine
 * has no IPv6. A name's IPv6 addresses take no IPv4. With port 0 the first socket's choice is the
 * others' as well; a port that is taken there is given back for another, a few times.
 *
 * @throws {@link SystemError} EADDRINUSE, EACCES, EADDRNOTAVAIL ...; what {@link resolve} throws;
 *   `ERR_IOLOOP_INVALID_ARGUMENT`.
 */
export async function bindSockets(
  port: number,
  host?: string,
  options: ListenOptions & { lookup?: LookupFunction | undefined } = {},
): Promise<readonly number[]> {
  checkInteger(port, 'port', 0, 65535);
  if (host !== undefined && (typeof host !== 'string' || host === '' || host.includes('\0')))
    throw invalidArgument('host', 'a host name or an IP literal', host);
  checkOptions(options);
  const { backlog = DEFAULT_BACKLOG, reusePort = false, ipv6Only = false, lookup } = options;
  checkInteger(backlog, 'options.backlog', 0, 0x7fffffff);
  checkBoolean(reusePort, 'options.reusePort');
  checkBoolean(ipv6Only, 'options.ipv6Only');
  if (lookup !== undefined) checkFunction(lookup, 'options.lookup');
  const listen = (address: string, onPort: number, only: boolean): number =>
    explain({ address, port: onPort }, () =>
      addon().listenStream(undefined, address, onPort, backlog, reusePort, only, LEAVE_MODE),
    );
  if (host === undefined) return [listenEverywhere(port, ipv6Only, listen)];
  if (isIpLiteral(host)) return [listen(host, port, ipv6Only)];
  // The families of the loopback interface count, too: no hints.
  const addresses = await resolve(host, { lookup, hints: 0 });
  return bindAll(addresses, port, (address, onPort) => listen(address, onPort, true));
}

type Listen = (address: string, port: number, ipv6Only: boolean) => number;

function listenEverywhere(port: number, ipv6Only: boolean, listen: Listen): number {
  try {
    return listen('::', port, ipv6Only);
  } catch (error) {
    if (ipv6Only || !isCode(error, 'EAFNOSUPPORT', 'EADDRNOTAVAIL')) throw error;
    return listen('0.0.0.0', port, false);
  }
}

/** {@link bindOnce} with another port where the kernel's choice did not do. */
function bindAll(addresses: readonly string[], port: number, listen: BindOne): readonly number[] {
  for (let ports = 1; ; ports++) {
    try {
      return bindOnce(addresses, port, listen);
    } catch (error) {
      if (port !== 0 || ports === MAX_PORTS || !isCode(error, 'EADDRINUSE')) throw error;
    }
  }
}

type BindOne = (address: string, port: number) => number;

function bindOnce(addresses: readonly string[], port: number, listen: BindOne): readonly number[] {
  const fds: number[] = [];
  let shared = port;
  try {
    for (const address of addresses) {
      const fd = listen(address, shared);
      fds.push(fd);
      if (shared === 0) shared = portOf(fd);
    }
    return fds;
  } catch (error) {
    for (const fd of fds) closeStream(fd);
    throw error;
  }
}

function portOf(fd: number): number {
  const bound = addon().socketAddress(fd);
  return 'port' in bound ? bound.port : 0;
}

function isCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof SystemError && codes.includes(error.code);
}
