import type { LookupFunction } from 'node:net';
import { checkBoolean } from '../arguments.ts';
import { DatagramSocket } from '../datagram/datagram-socket.ts';
import type { DatagramOptions } from '../datagram/udp-options.ts';
import { bindAddresses } from './bind-addresses.ts';

/**
 * UDP sockets that are bound at every address of `host`, as {@link bindAddresses} finds them.
 *
 * @throws {@link SystemError} EADDRINUSE, EACCES, EADDRNOTAVAIL ...; what {@link resolve} throws;
 *   `ERR_IOLOOP_INVALID_ARGUMENT`.
 */
export async function bindUdpSockets(
  port: number,
  host: string | undefined,
  options: Omit<DatagramOptions, 'type'>,
  lookup?: LookupFunction,
): Promise<readonly DatagramSocket[]> {
  const { ipv6Only = false } = options;
  checkBoolean(ipv6Only, 'options.ipv6Only');
  const bind = (address: string, onPort: number, only: boolean): Promise<DatagramSocket> =>
    bindUdp(address, onPort, { ...options, ipv6Only: only });
  return bindAddresses({ bind, portOf, release }, port, host, { ipv6Only, lookup });
}

async function bindUdp(
  address: string,
  port: number,
  options: Omit<DatagramOptions, 'type'>,
): Promise<DatagramSocket> {
  const type = address.includes(':') ? 'udp6' : 'udp4';
  const socket = new DatagramSocket({ ...options, type });
  try {
    await socket.bind(port, address);
    return socket;
  } catch (error) {
    release(socket);
    throw error;
  }
}

function portOf({ local }: DatagramSocket): number {
  return local.port;
}

function release(socket: DatagramSocket): void {
  void socket.close();
}
