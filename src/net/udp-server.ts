import type { LookupFunction } from 'node:net';
import type { InetAddress } from '../address.ts';
import { checkFunction, checkOptions } from '../arguments.ts';
import type { DatagramBatch } from '../datagram/datagram-batch.ts';
import { DatagramSocket } from '../datagram/datagram-socket.ts';
import { type DatagramOptions, udpSettings } from '../datagram/udp-options.ts';
import { type ServingOptions, startsServing } from './base-server.ts';
import { checkEndpoint } from './bind-addresses.ts';
import { bindUdpSockets } from './bind-udp.ts';
import { type DatagramServerOptions, datagramServerSettings } from './datagram-options.ts';
import { UDPRequest } from './datagram-request.ts';
import { type DatagramHandler, DatagramServer } from './datagram-server.ts';
import type { RequestHandlerClass } from './request-handler.ts';

/** What a UDP server allows its clients, and whom it tells. */
export interface UDPServerOptions
  extends Omit<DatagramOptions, 'type' | keyof UDPListenOptions | 'onError'>,
    DatagramServerOptions<UDPRequest> {}

/** How a UDP server listens. */
export interface UDPListenOptions extends ServingOptions {
  /** The port may be bound by others who say so, too: for multicast (SO_REUSEADDR, socket(7)). */
  reuseAddress?: boolean | undefined;
  /** Several sockets, of other threads or processes too, share the port (SO_REUSEPORT, socket(7)). */
  reusePort?: boolean | undefined;
  /** "::" takes no IPv4 (IPV6_V6ONLY, ipv6(7)). */
  ipv6Only?: boolean | undefined;
}

/** Serves one UDP datagram. A rejection or a throw ends that request only, and goes to `onError`. */
export type UDPHandler = DatagramHandler<UDPRequest>;

/** A server of UDP datagrams. */
export class UDPServer extends DatagramServer<DatagramBatch, DatagramSocket, UDPRequest> {
  readonly #options: Omit<DatagramOptions, 'type'>;

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
  constructor(
    handler: UDPHandler | RequestHandlerClass<UDPRequest, InetAddress>,
    options?: UDPServerOptions,
  ) {
    checkFunction(handler, 'handler');
    checkOptions(options);
    const settings = datagramServerSettings(options);
    super(handler, udpSettings({ ...options, onError: undefined }).loop, settings);
    this.#options = { ...options, onError: this.socketReport };
  }

  /**
   * Listens, at one more place if it does already. Without a host: at all addresses of both families.
   * A name: at all its addresses, on one port. Port 0: any free one.
   *
   * @returns The first address.
   * @throws SystemError EADDRINUSE, EACCES, EADDRNOTAVAIL ..., of the lookup ENOTFOUND ...
   */
  async listen(
    port: number,
    host?: string,
    options?: UDPListenOptions & { lookup?: LookupFunction | undefined },
  ): Promise<InetAddress> {
    this.checkListening();
    checkEndpoint(port, host);
    const startServing = startsServing(options);
    const { reuseAddress, reusePort, ipv6Only, lookup } = options ?? {};
    const places = { ...this.#options, reuseAddress, reusePort, ipv6Only };
    const sockets = await bindUdpSockets(port, host, places, lookup);
    return this.listenOn(sockets, startServing);
  }

  protected override adopt(fd: number): DatagramSocket {
    return DatagramSocket.fromFd(fd, this.#options);
  }

  protected override makeRequest(socket: DatagramSocket, batch: DatagramBatch, i: number): UDPRequest {
    return new UDPRequest(socket, batch, i);
  }

  protected override sourceOf(batch: DatagramBatch, i: number): InetAddress {
    return batch.source(i);
  }
}
