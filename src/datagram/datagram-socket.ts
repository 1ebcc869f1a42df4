import { type InetAddress, toAddress } from '../address.ts';
import { checkFd, checkInteger, checkOneOf, checkOptions, invalidArgument } from '../arguments.ts';
import { IOLoopError, SystemError } from '../errors.ts';
import { Interest } from '../interest.ts';
import { isIpLiteral } from '../ip-literal.ts';
import { addon } from '../native.ts';
import { type DatagramRows, ROW, WANT } from '../native-datagrams.ts';
import { explain } from '../native-error.ts';
import type { Chunk } from '../stream/read-buffer.ts';
import { resolve } from '../stream/resolve.ts';
import { DatagramBatch, textAt } from './datagram-batch.ts';
import type { Origin } from './message-batch.ts';
import { messageSettings } from './message-options.ts';
import { MulticastSocket } from './multicast-socket.ts';
import { adoptSocket, isConnected } from './open-socket.ts';
import { checkBytes, checkData, readMessages } from './outgoing-messages.ts';
import { SegmentedSends } from './segmented-sends.ts';
import type { SendQueue } from './send-queue.ts';
import { type DatagramOptions, isJoining, openUdp, setUpUdp, udpSettings } from './udp-options.ts';

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

/** Whether a connected socket can send to others, and by its address to its peer: not on the BSDs, EISCONN of sendto(2). */
const TAKES_DESTINATION = process.platform === 'linux';
/** A UDP socket. */
export class DatagramSocket extends MulticastSocket<DatagramBatch, Datagram> {
  protected override readonly family: 4 | 6;
  protected override readonly ipv6Only: boolean;
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
    this.family = type === 'udp4' ? 4 : 6;
    this.ipv6Only = ipv6Only === true;
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
      setUpUdp(fd, given, messageSettings(given));
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
    const address = host === undefined ? (this.family === 6 ? '::' : '0.0.0.0') : await this.#resolve(host);
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
    this.connectTo(await this.#resolve(host), port);
  }

  /** @internal {@link connect}, at once: `literal` is an IP literal. */
  connectTo(literal: string, port: number): void {
    const address = this.family === 6 ? toMapped(literal) : literal;
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
    // However it ends: what it fails at is taking the port back.
    this.#isConnected = false;
    this.#local = null;
    explain({ detail: `fd ${fd}` }, () => addon().disconnectDatagram(fd));
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
    const literal = address ?? (this.family === 6 ? '::1' : '127.0.0.1');
    const words = typeof literal === 'string' ? this.datagrams.wordsOf(literal, this.family === 6) : null;
    if (words !== null) return words;
    const expected = this.family === 6 ? 'an IP literal' : 'an IPv4 literal';
    throw invalidArgument(`${of}address`, `${expected} (bind and connect resolve names)`, address);
  }

  async #resolve(host: string): Promise<string> {
    if (isIpLiteral(host)) return this.family === 6 ? toMapped(host) : host;
    const [address = ''] = await resolve(host, {
      family: this.family === 4 ? 4 : this.ipv6Only ? 6 : 0,
      hints: 0,
    });
    return this.family === 6 ? toMapped(address) : address;
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
}

/** What {@link DatagramSocket.sendMany} sends back. */
type BatchLike = Pick<DatagramBatch, keyof DatagramBatch>;

/** An IP literal as IPv6 has it. */
function toMapped(literal: string): string {
  return literal.includes(':') ? literal : `::ffff:${literal}`;
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
