import type { LookupFunction } from 'node:net';
import { checkBoolean, checkInteger, checkOptions } from '../arguments.ts';
import { addon, closeStream } from '../native.ts';
import type { SocketOptions } from '../stream/socket-option-table.ts';
import { explainPresets, presetOptions } from '../stream/socket-options.ts';
import type { ServingOptions } from './base-server.ts';
import { bindAddresses, checkEndpoint } from './bind-addresses.ts';
import { DEFAULT_QUEUE_SIZE } from './server-options.ts';

/** How a TCP server listens. */
export interface ListenOptions extends ServingOptions {
  /** Connections that wait to be accepted; by default the server's `requestQueueSize`. */
  backlog?: number | undefined;
  /** Several sockets, of other threads or processes too, share the port (SO_REUSEPORT, socket(7)). */
  reusePort?: boolean | undefined;
  /** "::" takes no IPv4 (IPV6_V6ONLY, ipv6(7)). */
  ipv6Only?: boolean | undefined;
  /** Set before bind(2) and listen(2); connections inherit them (Linux). Those of IPv6 on sockets of IPv6 alone. */
  socketOptions?: SocketOptions | undefined;
}

const LEAVE_MODE = -1;

/**
 * TCP sockets that listen at every address of `host`, as {@link bindAddresses} finds them. They belong to
 * this environment; {@link Listener} takes them over.
 *
 * @throws {@link SystemError} EADDRINUSE, EACCES, EADDRNOTAVAIL ...; what {@link resolve} throws;
 *   `ERR_IOLOOP_INVALID_ARGUMENT`.
 */
export async function bindSockets(
  port: number,
  host?: string,
  options: ListenOptions & { lookup?: LookupFunction | undefined } = {},
  requestQueueSize: number = DEFAULT_QUEUE_SIZE,
): Promise<readonly number[]> {
  checkEndpoint(port, host);
  checkOptions(options);
  const { backlog = requestQueueSize, reusePort = false, ipv6Only = false, lookup, socketOptions } = options;
  checkInteger(backlog, 'options.backlog', 0, 0x7fffffff);
  checkBoolean(reusePort, 'options.reusePort');
  checkBoolean(ipv6Only, 'options.ipv6Only');
  const presets = presetOptions(socketOptions);
  const bind = (address: string, onPort: number, only: boolean): number =>
    explainPresets(presets, { address, port: onPort }, () =>
      addon().listenStream(undefined, address, onPort, backlog, reusePort, only, LEAVE_MODE, presets),
    );
  return bindAddresses({ bind, portOf, release: closeStream }, port, host, { ipv6Only, lookup });
}

function portOf(fd: number): number {
  const bound = addon().socketAddress(fd);
  return 'port' in bound ? bound.port : 0;
}
