import { type InetAddress, toAddress } from '../address.ts';
import { checkFunction, checkInteger, checkOptions, invalidArgument } from '../arguments.ts';
import type { DatagramBatch } from '../datagram/datagram-batch.ts';
import { DatagramSocket } from '../datagram/datagram-socket.ts';
import type { DatagramOptions } from '../datagram/udp-options.ts';
import { isIpLiteral } from '../ip-literal.ts';
import { bindUdpSockets } from '../net/bind-udp.ts';
import { DatagramPort } from './datagram-port.ts';
import { DatagramProtocol } from './datagram-protocol.ts';
import type { UdpTarget, UdpTransport } from './datagram-transport.ts';

/** How a protocol listens on UDP. */
export interface ListenUdpOptions extends Omit<DatagramOptions, 'type' | 'packetInfo' | 'onError'> {
  /** Where: an IP literal; by default all addresses of both families. */
  interface?: string | undefined;
  /**
   * What the protocol throws; ICMP errors, but those that {@link DatagramProtocol.connectionRefused} tells;
   * and why what was written was refused. By default a line on stderr, of the kernel's errors once for each code.
   */
  onError?: ((error: unknown) => void) | undefined;
}

/**
 * Has `protocol` receive the datagrams sent to `port`; 0: any free one. Multicast and connected sockets are
 * made by it, too: see {@link UdpTransport}.
 *
 * @throws SystemError EADDRINUSE, EACCES, EADDRNOTAVAIL ...; `ERR_IOLOOP_INVALID_ARGUMENT`; what
 *   `startProtocol()` throws.
 */
export async function listenUdp(
  port: number,
  protocol: DatagramProtocol,
  options?: ListenUdpOptions,
): Promise<UdpTransport> {
  checkInteger(port, 'port', 0, 65_535);
  checkListening(protocol, options);
  const { interface: host } = options ?? {};
  if (host !== undefined && (typeof host !== 'string' || !isIpLiteral(host)))
    throw invalidArgument('options.interface', 'an IP literal', host);
  const [socket] = await bindUdpSockets(port, host, { ...options });
  if (socket === undefined) throw invalidArgument('options.interface', 'an address', host);
  return UdpPort.open(socket, protocol, options?.onError);
}

/**
 * Has `protocol` receive by a descriptor that is bound already: systemd's (sd_listen_fds(3),
 * {@link listenFds}), or an inherited one. Takes it over.
 *
 * @throws SystemError ENOTSOCK, EINVAL: no UDP socket; EBADF; `ERR_IOLOOP_INVALID_ARGUMENT`; what
 *   `startProtocol()` throws: then it is closed.
 */
export async function adoptDatagramPort(
  fd: number,
  protocol: DatagramProtocol,
  options?: Omit<ListenUdpOptions, 'interface'>,
): Promise<UdpTransport> {
  checkListening(protocol, options);
  return UdpPort.open(DatagramSocket.fromFd(fd, options), protocol, options?.onError);
}

/** A UDP socket, as the transport of a protocol. */
class UdpPort
  extends DatagramPort<InetAddress, UdpTarget, DatagramBatch, DatagramSocket>
  implements UdpTransport
{
  #peer: InetAddress | null = null;

  /** The transport of `protocol`, which is started. */
  static async open(
    socket: DatagramSocket,
    protocol: DatagramProtocol,
    onError: ListenUdpOptions['onError'],
  ): Promise<UdpPort> {
    const port = new UdpPort(socket, protocol, onError);
    await port.start(() => protocol.makeConnection(port));
    return port;
  }

  connect(host: string, port: number): void {
    if (typeof host !== 'string' || !isIpLiteral(host)) throw invalidArgument('host', 'an IP literal', host);
    checkInteger(port, 'port', 1, 65_535);
    this.socket.connectTo(host, port);
    const peer = toAddress({ address: host, port });
    if (peer.family !== 'Unix') this.#peer = peer;
  }

  override getPeer(): InetAddress | null {
    return this.#peer;
  }

  joinGroup(group: string, networkInterface?: string): void {
    this.socket.addMembership(group, membershipBy(networkInterface));
  }

  leaveGroup(group: string, networkInterface?: string): void {
    this.socket.dropMembership(group, membershipBy(networkInterface));
  }

  setOutgoingInterface(networkInterface: string): void {
    this.socket.setMulticastInterface(networkInterface);
  }

  setTtl(ttl: number): void {
    this.socket.setMulticastTtl(ttl);
  }

  getTtl(): number {
    return this.socket.getOption(this.#isIPv6 ? 'IPV6_MULTICAST_HOPS' : 'IP_MULTICAST_TTL');
  }

  setLoopbackMode(on: boolean): void {
    this.socket.setMulticastLoopback(on);
  }

  getLoopbackMode(): boolean {
    return this.socket.getOption(this.#isIPv6 ? 'IPV6_MULTICAST_LOOP' : 'IP_MULTICAST_LOOP') !== 0;
  }

  setBroadcastAllowed(on: boolean): void {
    this.socket.setBroadcast(on);
  }

  getBroadcastAllowed(): boolean {
    return this.socket.getOption('SO_BROADCAST') !== 0;
  }

  protected override send(datagram: string | Uint8Array, address: UdpTarget | undefined): void {
    const peer = this.#peer;
    if (peer !== null && (address === undefined || isSame(address, peer))) {
      void this.socket.send(datagram);
      return;
    }
    if (typeof address?.address !== 'string')
      throw invalidArgument('address', 'an IP literal and a port', address);
    void this.socket.send(datagram, address.port, address.address);
  }

  get #isIPv6(): boolean {
    return this.getHost().family === 'IPv6';
  }
}

/** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
function checkListening(protocol: unknown, options: ListenUdpOptions | undefined): void {
  if (!(protocol instanceof DatagramProtocol))
    throw invalidArgument('protocol', 'a DatagramProtocol', protocol);
  checkOptions(options);
  if (options?.onError !== undefined) checkFunction(options.onError, 'options.onError');
}

function membershipBy(networkInterface: string | undefined): { interface: string } | undefined {
  return networkInterface === undefined ? undefined : { interface: networkInterface };
}

function isSame(one: UdpTarget, other: UdpTarget): boolean {
  return one.port === other.port && one.address === other.address;
}
