import { type InetAddress, toAddress } from '../address.ts';
import {
  checkBoolean,
  checkFd,
  checkFlag,
  checkInteger,
  checkOneOf,
  checkOptions,
  invalidArgument,
} from '../arguments.ts';
import { IOLoopError, SystemError } from '../errors.ts';
import { Interest } from '../interest.ts';
import { isIpLiteral } from '../ip-literal.ts';
import { addon } from '../native.ts';
import { type DatagramRows, ROW, WANT } from '../native-datagrams.ts';
import { explain } from '../native-error.ts';
import type { Chunk } from '../stream/read-buffer.ts';
import { resolve } from '../stream/resolve.ts';
import { getOption, setOption } from '../stream/socket-options.ts';
import { DatagramBatch, textAt } from './datagram-batch.ts';
import type { Origin } from './message-batch.ts';
import { type MessageOptions, type MessageSettings, messageSettings } from './message-options.ts';
import { MessageSocket } from './message-socket.ts';
import { adoptSocket, isConnected, openSocket, setBufferSizes } from './open-socket.ts';
import { checkBytes, checkData, readMessages } from './outgoing-messages.ts';
import { SegmentedSends } from './segmented-sends.ts';
import type { SendQueue } from './send-queue.ts';

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

/** One datagram, with bytes of its own. */
export interface Datagram {
  readonly data: Chunk;
  /** The IP address that it came from. */
  readonly address: string;
  readonly port: number;
  /** Whether it was longer than `maxPacketSize`, and its end is lost. */
  readonly truncated: boolean;
}

/** One of {@link DatagramSocket.sendMany}. */
export interface OutgoingDatagram {
  readonly data: Uint8Array;
  readonly port?: number;
  readonly address?: string;
}

/** What a membership is of, beside its group. */
export interface MembershipOptions {
  /** The interface's name, number or address; the system's choice. */
  interface?: string;
  /** The one sender that is listened to (source-specific multicast, RFC 4607). */
  source?: string;
}

/** Whether a connected socket can send to others, and by its address to its peer: not on the BSDs, EISCONN of sendto(2). */
const TAKES_DESTINATION = process.platform === 'linux';
/** A kernel, or a system, without an option. */
const HAS_NO_SUCH: ReadonlySet<string> = new Set(['ENOPROTOOPT', 'ENOTSUP', 'EOPNOTSUPP']);

/** A UDP socket. */
export class DatagramSocket extends MessageSocket<DatagramBatch, Datagram> {
  readonly #family: 4 | 6;
  readonly #ipv6Only: boolean;
  readonly #packetInfo: boolean;
  readonly #segments: SegmentedSends | null;
  #local: InetAddress | null = null;
  #isConnected = false;
  /** What it is watched for when nobody reads; null: nothing was sent yet. */
  #errorInterest: number | null = null;

  /**
   * @throws `ERR_IOLOOP_INVALID_ARGUMENT`; {@link SystemError} EMFILE, EAFNOSUPPORT ...; ENOPROTOOPT for
   *   an option that this kernel has not: {@link capabilities} tells.
   */
  constructor(options: DatagramOptions);
  /** @internal Over a descriptor that was adopted. */
  constructor(options: DatagramOptions, adopted: number);
  constructor(options: DatagramOptions, adopted?: number) {
    checkOptions(options ?? null);
    const { type, ipv6Only, packetInfo, sendOffload } = options;
    if (type === undefined) throw invalidArgument('options.type', "'udp4' or 'udp6'", type);
    checkOneOf(type, 'options.type', ['udp4', 'udp6']);
    const settings = udpSettings(options);
    super(adopted ?? openUdp(options, settings), settings);
    this.#family = type === 'udp4' ? 4 : 6;
    this.#ipv6Only = ipv6Only === true;
    this.#packetInfo = packetInfo === true;
    this.#segments = sendOffload === true ? new SegmentedSends() : null;
  }

  /**
   * A socket over a descriptor that is bound already: systemd's (sd_listen_fds(3), {@link listenFds}),
   * an inherited one. Takes it over once it returns.
   *
   * @throws SystemError ENOTSOCK, EINVAL: no UDP socket; EBADF.
   */
  static fromFd(fd: number, options?: Omit<DatagramOptions, 'type'>): DatagramSocket {
    checkFd(fd);
    checkOptions(options);
    return adoptSocket(fd, ['udp4', 'udp6'], (type) => {
      const given = { ...options, type, receiveOffload: options?.receiveOffload || isJoining(fd) };
      setUp(fd, given, messageSettings(given));
      const socket = new DatagramSocket(given, fd);
      socket.#isConnected = isConnected(fd);
      if (!socket.#isConnected) socket.#answerFromThere();
      return socket;
    });
  }

  /**
   * Takes a port (0, the default: any free one) at an address, by default at all of them. A name is
   * resolved, and its first address of the socket's family taken.
   *
   * @throws SystemError EADDRINUSE, EACCES, EADDRNOTAVAIL, EINVAL: bound already; of the lookup ENOTFOUND ...
   */
  async bind(port = 0, host?: string): Promise<InetAddress> {
    checkInteger(port, 'port', 0, 65_535);
    checkHost(host);
    this.checkOpen();
    const address = host === undefined ? (this.#family === 6 ? '::' : '0.0.0.0') : await this.#resolve(host);
    explain({ address, port }, () => addon().bindDatagram(this.openFd, undefined, address, port, -1));
    this.#local = null;
    this.#answerFromThere();
    return this.local;
  }

  /**
   * Sends to `host` and receives from nobody else from now on; ICMP errors of it are told to `onError`.
   *
   * @throws SystemError ENETUNREACH, EACCES: a broadcast without SO_BROADCAST ...; of the lookup ENOTFOUND ...
   */
  async connect(port: number, host: string): Promise<void> {
    checkInteger(port, 'port', 1, 65_535);
    if (host === undefined) throw invalidArgument('host', 'a host name or an IP literal', host);
    checkHost(host);
    this.checkOpen();
    const address = await this.#resolve(host);
    if (this.#isConnected) this.checkAllSent();
    explain({ address, port }, () => addon().connectDatagram(this.openFd, undefined, address, port));
    this.#isConnected = true;
    this.#local = null;
  }

  /** The end of {@link connect}. @throws `ERR_IOLOOP_INVALID_STATE`: it is not connected. */
  disconnect(): void {
    const fd = this.openFd;
    if (!this.#isConnected) throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the socket is not connected');
    this.checkAllSent();
    explain({ detail: `fd ${fd}` }, () => addon().disconnectDatagram(fd));
    this.#isConnected = false;
    this.#local = null;
    this.#answerFromThere();
  }

  /**
   * Sends one datagram: at once, if the kernel takes it, else as soon as it does. `data` is yours again
   * when the call returns. A connected socket takes no destination, another one a port and an IP
   * literal (the loopback address by default).
   *
   * @returns Settles when the kernel has it. It rejects with {@link SystemError} EMSGSIZE (the message
   *   names the size), EPERM (a firewall), ENETUNREACH ..., ENOBUFS: the queue is full. A rejection that
   *   nobody waits for goes to `onError` instead.
   */
  send(data: string | Uint8Array, port?: number, address?: string): Promise<void> {
    checkData(data);
    const words = this.#wordsOf(port, address, '');
    if (this.closed) return this.refusal();
    const queue = this.#room(data, words, port);
    return queue === null ? this.refusal() : this.leave(queue);
  }

  /**
   * Sends many datagrams with as few system calls as the kernel takes; a batch, which its listener has
   * just been given, goes back where it came from.
   *
   * @returns As {@link send}: settles when all of them have left, or were refused, and rejects with the
   *   first of their errors.
   */
  sendMany(messages: BatchLike | readonly OutgoingDatagram[]): Promise<void> {
    if (messages instanceof DatagramBatch) return this.sendBatch(messages);
    if (!Array.isArray(messages)) throw invalidArgument('messages', 'a DatagramBatch or an array', messages);
    const sent: readonly OutgoingDatagram[] = messages;
    const outgoing = readMessages(sent, ({ data, port, address }, name) => {
      checkBytes(data, `${name}.data`);
      return { data, port, words: this.#wordsOf(port, address, `${name}.`) };
    });
    return this.sendAll(outgoing.length, (place) => {
      const message = outgoing[place];
      return message === undefined ? null : this.#room(message.data, message.words, message.port);
    });
  }

  /**
   * Joins a multicast group.
   *
   * @throws SystemError ENODEV: no such interface; EADDRINUSE: joined already; EINVAL: no group.
   */
  addMembership(group: string, options?: MembershipOptions): void {
    this.#setMembership(group, options, true);
  }

  /** Leaves a multicast group. @throws SystemError EADDRNOTAVAIL: it is not in it. */
  dropMembership(group: string, options?: MembershipOptions): void {
    this.#setMembership(group, options, false);
  }

  /** The interface that multicasts leave by: its name, number or address; '': the system's choice. */
  setMulticastInterface(networkInterface: string): void {
    if (typeof networkInterface !== 'string')
      throw invalidArgument('networkInterface', 'a string', networkInterface);
    explain({ detail: networkInterface }, () => addon().setMulticastInterface(this.openFd, networkInterface));
  }

  /** How many hops a multicast may go, 1 by default: 0 stays on this machine. */
  setMulticastTtl(ttl: number): void {
    checkInteger(ttl, 'ttl', 0, 255);
    this.#setOfFamilies('IP_MULTICAST_TTL', 'IPV6_MULTICAST_HOPS', ttl);
  }

  /** Whether this machine's members of a group get what is sent from here; true. */
  setMulticastLoopback(on: boolean): void {
    checkFlag(on, 'on');
    this.#setOfFamilies('IP_MULTICAST_LOOP', 'IPV6_MULTICAST_LOOP', on);
  }

  /** How many hops a datagram may go, 1 to 255; 64 on most systems. */
  setTtl(ttl: number): void {
    checkInteger(ttl, 'ttl', 1, 255);
    this.#setOfFamilies('IP_TTL', 'IPV6_UNICAST_HOPS', ttl);
  }

  /** Whether broadcasts may be sent (SO_BROADCAST, socket(7)); false. */
  setBroadcast(on: boolean): void {
    checkFlag(on, 'on');
    this.setOption('SO_BROADCAST', on);
  }

  /** Where it is bound; port 0: nowhere yet. */
  get local(): InetAddress {
    if (this.#local !== null && this.#local.port !== 0) return this.#local;
    const address = toAddress(explain({ detail: `fd ${this.fd}` }, () => addon().socketAddress(this.openFd)));
    if (address.family === 'Unix') throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'no UDP socket');
    this.#local = address;
    return address;
  }

  protected override makeBatch(count: number): DatagramBatch {
    return new DatagramBatch(this, count);
  }

  protected override makeMessage(batch: DatagramBatch, i: number): Datagram {
    return {
      data: batch.copy(i),
      address: batch.address(i),
      port: batch.port(i),
      truncated: batch.truncated(i),
    };
  }

  protected override discard(): void {}

  protected override addressReply(queue: SendQueue, row: number, origin: Origin): void {
    // What came before connect() is not from the peer.
    if (TAKES_DESTINATION || !this.#isConnected) super.addressReply(queue, row, origin);
  }

  protected override get isBlockedUnseen(): boolean {
    return false;
  }

  protected override destinationOf({ rows }: SendQueue, row: number): string {
    return endpointAt(rows, row);
  }

  protected override get interest(): number {
    return super.interest || (this.#errorInterest ?? 0);
  }

  protected override hasSent(): void {
    if (this.#errorInterest !== null || this.fd < 0) return;
    // The first send has bound it, unless it was before.
    if (this.#local === null && !this.#isConnected) this.#answerFromThere();
    this.#watchForErrors();
  }

  protected override sendRows(queue: SendQueue): number {
    return this.#segments?.send(this.fd, queue) ?? super.sendRows(queue);
  }

  protected override pendingError(errno: number): SystemError {
    const { errors } = this.datagrams;
    if (errors.get(0, ROW.FAMILY) === 0) return super.pendingError(errno);
    const address = textAt(errors, 0, ROW.ADDRESS, ROW.SCOPE);
    return new SystemError(errno, 'send', { address, port: errors.get(0, ROW.PORT) });
  }

  /** ICMP answers when the send is over, and perhaps the last one: errors come without Interest, but not unwatched. */
  #watchForErrors(): void {
    this.#errorInterest = Interest.PRIORITY;
    try {
      this.watch();
    } catch {
      // A loop that cannot watch it: a reader, or a later send, comes upon them.
      this.#errorInterest = 0;
    }
  }

  #room(data: string | Uint8Array, words: Int32Array | null, port: number | undefined): SendQueue | null {
    const queue = this.room(data, 0);
    if (queue !== null && words !== null) queue.rows.setDestination(queue.last, words, port ?? 0);
    return queue;
  }

  /** A destination in words; null: whom the socket is connected to. */
  #wordsOf(port: number | undefined, address: string | undefined, of: string): Int32Array | null {
    if (this.#isConnected) {
      if (port === undefined && address === undefined) return null;
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', `the socket is connected, and ${of}port is given`);
    }
    checkInteger(port, `${of}port`, 1, 65_535);
    const literal = address ?? (this.#family === 6 ? '::1' : '127.0.0.1');
    const words = typeof literal === 'string' ? this.datagrams.wordsOf(literal, this.#family === 6) : null;
    if (words !== null) return words;
    const expected = this.#family === 6 ? 'an IP literal' : 'an IPv4 literal';
    throw invalidArgument(`${of}address`, `${expected} (bind and connect resolve names)`, address);
  }

  async #resolve(host: string): Promise<string> {
    const isMapped = this.#family === 6 && isIpLiteral(host) && !host.includes(':');
    if (isMapped) return `::ffff:${host}`;
    if (isIpLiteral(host)) return host;
    const [address = ''] = await resolve(host, {
      family: this.#family === 4 ? 4 : this.#ipv6Only ? 6 : 0,
      hints: 0,
    });
    return this.#family === 6 && !address.includes(':') ? `::ffff:${address}` : address;
  }

  /** A socket of all addresses answers from the one that was asked. */
  #answerFromThere(): void {
    const { address } = this.local;
    if (this.#packetInfo || (address !== '0.0.0.0' && address !== '::')) return;
    try {
      addon().wantControl(this.openFd, WANT.LOCAL);
    } catch {
      // A system that does not tell chooses the address itself.
    }
  }

  /** Sets an option by its name in IPv4, in IPv6, or both where the socket sends by both. */
  #setOfFamilies(four: string, six: string, value: number | boolean): void {
    if (this.#family === 4) {
      this.setOption(four, value);
      return;
    }
    this.setOption(six, value);
    if (this.#ipv6Only) return;
    try {
      this.setOption(four, value);
    } catch {
      // macOS and the BSDs have no option of IPv4 for such a socket.
    }
  }

  #setMembership(group: string, options: MembershipOptions | undefined, join: boolean): void {
    if (typeof group !== 'string' || !isIpLiteral(group))
      throw invalidArgument('group', 'the IP literal of a group', group);
    checkOptions(options);
    const { interface: networkInterface = '', source = '' } = options ?? {};
    if (typeof networkInterface !== 'string')
      throw invalidArgument('options.interface', 'a string', networkInterface);
    if (typeof source !== 'string' || (source !== '' && !isIpLiteral(source)))
      throw invalidArgument('options.source', 'an IP literal', source);
    const detail = [group, networkInterface, source].filter((part) => part !== '').join(', ');
    explain({ detail }, () => addon().setMembership(this.openFd, group, networkInterface, source, join));
  }
}

/** What {@link DatagramSocket.sendMany} sends back. */
type BatchLike = Pick<DatagramBatch, keyof DatagramBatch>;

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

function openUdp(options: DatagramOptions, settings: MessageSettings): number {
  return openSocket(options.type, (fd) => {
    setUp(fd, options, settings);
    // Both ways, since the default is the administrator's.
    if (options.type === 'udp6') setOption(fd, 'IPV6_V6ONLY', options.ipv6Only === true);
  });
}

function setUp(fd: number, options: DatagramOptions, settings: MessageSettings): void {
  const { reuseAddress, reusePort, packetInfo, receiveOffload } = options;
  setBufferSizes(fd, settings);
  if (reuseAddress) setOption(fd, 'SO_REUSEADDR', true);
  if (reusePort) setOption(fd, 'SO_REUSEPORT', true);
  if (receiveOffload) joinWherePossible(fd);
  if (packetInfo) want(fd, WANT.LOCAL | WANT.INFO, 'packetInfo');
}

/** Whether the kernel joins what `fd` receives: somebody has asked for it before. */
function isJoining(fd: number): boolean {
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

/** Where row `row` goes, for people. */
function endpointAt(rows: DatagramRows, row: number): string {
  const family = rows.get(row, ROW.FAMILY);
  if (family === 0) return 'the peer';
  const address = textAt(rows, row, ROW.ADDRESS, ROW.SCOPE);
  const port = rows.get(row, ROW.PORT);
  return family === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}

/** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
function checkHost(host: unknown): void {
  if (host !== undefined && (typeof host !== 'string' || host === '' || host.includes('\0')))
    throw invalidArgument('host', 'a host name or an IP literal', host);
}
