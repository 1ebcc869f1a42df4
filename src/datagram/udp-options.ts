import { checkBoolean } from '../arguments.ts';
import { SystemError } from '../errors.ts';
import { addon } from '../native.ts';
import { WANT } from '../native-datagrams.ts';
import { explain } from '../native-error.ts';
import { getOption, setOption } from '../stream/socket-options.ts';
import { type MessageOptions, type MessageSettings, messageSettings } from './message-options.ts';
import { openSocket, setBufferSizes } from './open-socket.ts';

/** What a UDP socket may be told. */
export interface DatagramOptions extends MessageOptions {
  /** Its family: 'udp6' takes IPv4, too, unless `ipv6Only`. */
  type: 'udp4' | 'udp6';
  /** The port may be bound by others who say so, too: for multicast (SO_REUSEADDR, socket(7)). */
  reuseAddress?: boolean | undefined;
  /** Several sockets share the port, and the kernel spreads the senders over them (SO_REUSEPORT). */
  reusePort?: boolean | undefined;
  /** 'udp6' takes no IPv4 (IPV6_V6ONLY, ipv6(7)). */
  ipv6Only?: boolean | undefined;
  /** Batches tell by `info()` where a datagram was sent to, its ECN and TTL, and when it came. */
  packetInfo?: boolean | undefined;
  /** The kernel joins datagrams that come in a row, where it can (UDP_GRO, udp(7)): fewer of them cost more CPU. */
  receiveOffload?: boolean | undefined;
  /** Datagrams of one size and destination leave as one that the kernel cuts, where it can (UDP_SEGMENT). */
  sendOffload?: boolean | undefined;
}

/** A kernel, or a system, without an option. */
const HAS_NO_SUCH: ReadonlySet<string> = new Set(['ENOPROTOOPT', 'ENOTSUP', 'EOPNOTSUPP']);

/**
 * Checks `options` and fills in the defaults of all sockets.
 *
 * @throws `ERR_IOLOOP_INVALID_ARGUMENT`; `ERR_IOLOOP_CLOSED`.
 */
export function udpSettings(options: Omit<DatagramOptions, 'type'>): MessageSettings {
  const { reuseAddress, reusePort, ipv6Only, packetInfo, receiveOffload, sendOffload } = options;
  checkBoolean(reuseAddress, 'options.reuseAddress');
  checkBoolean(reusePort, 'options.reusePort');
  checkBoolean(ipv6Only, 'options.ipv6Only');
  checkBoolean(packetInfo, 'options.packetInfo');
  checkBoolean(receiveOffload, 'options.receiveOffload');
  checkBoolean(sendOffload, 'options.sendOffload');
  return messageSettings(options, receiveOffload);
}

/** A UDP socket that is told what it can be told before it is bound. */
export function openUdp(options: DatagramOptions, settings: MessageSettings): number {
  return openSocket(options.type, (fd) => {
    setUpUdp(fd, options, settings);
    // Both ways, since the default is the administrator's.
    if (options.type === 'udp6') setOption(fd, 'IPV6_V6ONLY', options.ipv6Only === true);
  });
}

/** Tells a UDP socket what any of them can be told. */
export function setUpUdp(fd: number, options: DatagramOptions, settings: MessageSettings): void {
  const { reuseAddress, reusePort, packetInfo, receiveOffload } = options;
  setBufferSizes(fd, settings);
  if (reuseAddress) setOption(fd, 'SO_REUSEADDR', true);
  if (reusePort) setOption(fd, 'SO_REUSEPORT', true);
  if (receiveOffload) joinWherePossible(fd);
  if (packetInfo) want(fd, WANT.LOCAL | WANT.INFO, 'packetInfo');
}

/** Whether the kernel joins what `fd` receives: somebody has asked for it before. */
export function isJoining(fd: number): boolean {
  return addon().capabilities().udpGro && getOption(fd, 'UDP_GRO') !== 0;
}

/** Has the kernel join what it receives, if it can. */
function joinWherePossible(fd: number): void {
  try {
    want(fd, WANT.GRO, 'receiveOffload');
  } catch (error) {
    if (!(error instanceof SystemError) || !HAS_NO_SUCH.has(error.code)) throw error;
  }
}

function want(fd: number, wanted: number, detail: string): void {
  explain({ detail }, () => addon().wantControl(fd, wanted));
}
