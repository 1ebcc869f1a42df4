import { Buffer } from 'node:buffer';
import { toAddress, type UnixAddress } from '../address.ts';
import { checkBoolean, checkFd, checkInteger, checkOptions, invalidArgument } from '../arguments.ts';
import { IOLoopError } from '../errors.ts';
import { addon } from '../native.ts';
import { NAME_SIZE, ROW, WANT } from '../native-datagrams.ts';
import { explain } from '../native-error.ts';
import type { OwnedFd } from '../owned-fd.ts';
import type { PassedFd } from '../passed-fds.ts';
import type { PeerCredentials } from '../peer-credentials.ts';
import type { Chunk } from '../stream/read-buffer.ts';
import { checkSocketPath, isAbstract, NO_MODE, SocketFile } from '../stream/socket-file.ts';
import type { Origin } from './message-batch.ts';
import { type MessageOptions, type MessageSettings, messageSettings } from './message-options.ts';
import { MessageSocket } from './message-socket.ts';
import { adoptSocket, isConnected, openPair, openSocket, setBufferSizes } from './open-socket.ts';
import { checkBytes, checkData, readMessages } from './outgoing-messages.ts';
import type { SendQueue } from './send-queue.ts';
import { UnixDatagramBatch } from './unix-batch.ts';

/** What a Unix datagram socket may be told. */
export interface UnixDatagramOptions extends MessageOptions {
  /** Whether descriptors that come with a datagram are taken; false: they are closed. */
  receiveFds?: boolean | undefined;
  /** Whether to be told who sent a datagram (SO_PASSCRED, unix(7)). */
  credentials?: boolean | undefined;
}

/** One Unix datagram, with bytes of its own. */
export interface UnixDatagram {
  readonly data: Chunk;
  /** The path that it came from; '': its sender has none, NUL first: an abstract name. */
  readonly path: string;
  /** Whether it was longer than `maxPacketSize`, and its end is lost. */
  readonly truncated: boolean;
  /** Who sent it; null without `credentials`. */
  readonly credentials: PeerCredentials | null;
  /** The descriptors that came with it, with `receiveFds`: each its taker's to close. */
  readonly fds: readonly OwnedFd[];
  /** Whether descriptors were lost that did not fit in our table. */
  readonly fdsTruncated: boolean;
}

/** One of {@link UnixDatagramSocket.sendMany}. */
export interface OutgoingUnixDatagram {
  readonly data: Uint8Array;
  readonly path?: string;
}

const NO_NAME = Buffer.alloc(0);

/**
 * A datagram socket in the Unix domain: reliable and in order, so that a receiver who is full has its
 * senders wait (unix(7)).
 */
export class UnixDatagramSocket extends MessageSocket<UnixDatagramBatch, UnixDatagram> {
  #file: SocketFile | null = null;
  #local: UnixAddress | null = null;
  #isConnected = false;
  /** Whether it is connected to somebody who has a name, as the ends of a pair have none. */
  #hasNamedPeer = false;

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`; SystemError EMFILE ... */
  constructor(options?: UnixDatagramOptions);
  /** @internal Over a descriptor that was adopted. */
  constructor(options: UnixDatagramOptions | undefined, adopted: number);
  constructor(options?: UnixDatagramOptions, adopted?: number) {
    const settings = unixSettings(options);
    const fd = adopted ?? openSocket('unix', (opened) => setUp(opened, settings, options));
    super(fd, settings, options?.receiveFds === true);
  }

  /** Two sockets that are connected to each other (socketpair(2)). */
  static pair(options?: UnixDatagramOptions): [UnixDatagramSocket, UnixDatagramSocket] {
    const settings = unixSettings(options);
    const [one, other] = openPair('unix', (fd) => setUp(fd, settings, options));
    const pair: [UnixDatagramSocket, UnixDatagramSocket] = [
      new UnixDatagramSocket(options, one),
      new UnixDatagramSocket(options, other),
    ];
    for (const socket of pair) socket.#isConnected = true;
    return pair;
  }

  /**
   * A socket over a descriptor: systemd's (sd_listen_fds(3), {@link listenFds}), an inherited one. Takes
   * it over once it returns.
   *
   * @throws SystemError ENOTSOCK, EINVAL: no Unix datagram socket; EBADF.
   */
  static fromFd(fd: number, options?: UnixDatagramOptions): UnixDatagramSocket {
    checkFd(fd);
    return adoptSocket(fd, ['unix'], () => {
      setUp(fd, unixSettings(options), options);
      const socket = new UnixDatagramSocket(options, fd);
      socket.#isConnected = isConnected(fd);
      return socket;
    });
  }

  /**
   * Takes a path, or an abstract name after a NUL; none: one that the system chooses (Linux). A socket
   * file that nobody is bound to any more is replaced, and what this makes is removed at close().
   *
   * @param options `mode`: who may send to it, as chmod(2) says it; 0o600.
   * @throws SystemError EADDRINUSE, EACCES, ENOENT, EINVAL: bound already.
   */
  async bind(path?: string, options?: { mode?: number | undefined }): Promise<UnixAddress> {
    if (path !== undefined) checkSocketPath(path);
    checkOptions(options);
    const { mode = 0o600 } = options ?? {};
    checkInteger(mode, 'options.mode', 0, 0o777);
    const fd = this.openFd;
    const bind = (name: string, withMode: number): void =>
      explain({ path: name }, () => addon().bindDatagram(fd, name, '', 0, withMode));
    if (path === undefined) bind('', NO_MODE);
    else [, this.#file] = SocketFile.bind(path, () => bind(path, isAbstract(path) ? NO_MODE : mode));
    this.#local = null;
    return this.local;
  }

  /**
   * Sends to `path` and receives from nobody else from now on.
   *
   * @throws SystemError ECONNREFUSED: nobody is there; ENOENT, EACCES, EPROTOTYPE: of another type;
   *   `ERR_IOLOOP_INVALID_STATE`: what was sent to the last one still waits ({@link flush}).
   */
  async connect(path: string): Promise<void> {
    checkSocketPath(path);
    if (this.#isConnected) this.checkAllSent();
    explain({ path }, () => addon().connectDatagram(this.openFd, path, '', 0));
    this.#isConnected = true;
    this.#hasNamedPeer = true;
  }

  /**
   * The end of {@link connect}. Linux drops what has come from the peer and was not received.
   *
   * @throws `ERR_IOLOOP_INVALID_STATE`: it is not connected, or what was sent still waits.
   */
  disconnect(): void {
    const fd = this.openFd;
    if (!this.#isConnected) throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the socket is not connected');
    this.checkAllSent();
    explain({ detail: `fd ${fd}` }, () => addon().disconnectDatagram(fd));
    this.#isConnected = false;
    this.#hasNamedPeer = false;
  }

  /**
   * Sends one datagram: at once, if its receiver has room, else as soon as it has; then later ones wait
   * behind it. `data` is yours again when the call returns. A connected socket takes no path.
   *
   * @returns Settles when it is in the receiver's buffer. It rejects with SystemError ECONNREFUSED:
   *   nobody is there any more (then ENOTCONN, until {@link connect} is called again); ENOENT, EACCES,
   *   EMSGSIZE (the message names the size); `ERR_IOLOOP_BUFFER_FULL`. A rejection that nobody waits for
   *   goes to `onError` instead.
   */
  send(data: string | Uint8Array, path?: string): Promise<void> {
    checkData(data);
    const name = this.#nameOf(path, '');
    if (this.closed) return this.refusal();
    const queue = this.#room(data, name);
    return queue === null ? this.refusal() : this.leave(queue);
  }

  /**
   * Sends descriptors with a datagram (SCM_RIGHTS, unix(7)): they are duplicated, and yours again on return.
   *
   * @param fds 1 to 253; their numbers are others at the receiver, their order is not.
   * @returns As {@link send}; EBADF, EMFILE; ETOOMANYREFS: too many wait to be received.
   */
  sendFds(fds: readonly PassedFd[], data: string | Uint8Array, path?: string): Promise<void> {
    checkData(data);
    const name = this.#nameOf(path, '');
    if (this.closed) return this.refusal();
    return this.leaveWithFds(fds, () => this.#room(data, name));
  }

  /**
   * Sends many datagrams with as few system calls as the kernel takes; a batch, which its listener has
   * just been given, goes back where it came from.
   *
   * @returns As {@link send}: settles when all of them have left, or were refused, and rejects with the
   *   first of their errors.
   */
  sendMany(messages: UnixDatagramBatch | readonly OutgoingUnixDatagram[]): Promise<void> {
    if (messages instanceof UnixDatagramBatch) return this.sendBatch(messages);
    if (!Array.isArray(messages))
      throw invalidArgument('messages', 'a UnixDatagramBatch or an array', messages);
    const sent: readonly OutgoingUnixDatagram[] = messages;
    const outgoing = readMessages(sent, ({ data, path }, name) => {
      checkBytes(data, `${name}.data`);
      return { data, name: this.#nameOf(path, `${name}.`) };
    });
    return this.sendAll(outgoing.length, (place) => {
      const message = outgoing[place];
      return message === undefined ? null : this.#room(message.data, message.name);
    });
  }

  /** Where it is bound; path '': nowhere. */
  get local(): UnixAddress {
    if (this.#local !== null) return this.#local;
    const address = toAddress(explain({ detail: `fd ${this.fd}` }, () => addon().socketAddress(this.openFd)));
    if (address.family !== 'Unix') throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'no Unix socket');
    // With `credentials` the kernel gives an unnamed one a name when it sends.
    if (address.path !== '') this.#local = address;
    return address;
  }

  /** Who made the other end of a pair. @throws SystemError ENOTCONN ... */
  peerCredentials(): PeerCredentials {
    return explain({ detail: `fd ${this.fd}` }, () => addon().peerCredentials(this.openFd));
  }

  protected override makeBatch(count: number): UnixDatagramBatch {
    return new UnixDatagramBatch(this, count);
  }

  protected override makeMessage(batch: UnixDatagramBatch, i: number): UnixDatagram {
    return {
      data: batch.copy(i),
      path: batch.path(i),
      truncated: batch.truncated(i),
      credentials: batch.credentials(i),
      fds: batch.fds(i),
      fdsTruncated: batch.fdsTruncated(i),
    };
  }

  protected override discard({ fds }: UnixDatagram): void {
    for (const fd of fds) fd.close();
  }

  /** poll(2) tells of the room at a peer, and not at others: unix(7). */
  protected override get isBlockedUnseen(): boolean {
    return !this.#isConnected;
  }

  protected override destinationOf({ rows, data }: SendQueue, row: number): string {
    if (rows.get(row, ROW.FAMILY) === 0) return 'the peer';
    const end = rows.get(row, ROW.OFFSET);
    return data.toString('utf8', end - rows.get(row, ROW.PORT), end).replace('\0', '@');
  }

  protected override replyNameSize({ rows, row }: Origin): number {
    return rows.get(row, ROW.PORT);
  }

  protected override addressReply(queue: SendQueue, row: number, origin: Origin): void {
    const size = this.replyNameSize(origin);
    if (size === 0) {
      // Nobody can send to a sender without a name: EINVAL, where family 0 would mean the peer.
      if (this.#hasNamedPeer) queue.rows.set(row, ROW.FAMILY, 1);
      return;
    }
    const start = origin.row * NAME_SIZE;
    queue.setName(row, origin.names.subarray(start, start + size));
  }

  protected override dispose(error: Error | null): void {
    super.dispose(error);
    this.#file?.unlink();
    this.#file = null;
  }

  #room(data: string | Uint8Array, name: Uint8Array): SendQueue | null {
    const queue = this.room(data, name.length);
    if (queue !== null && name.length > 0) queue.setName(queue.last, name);
    return queue;
  }

  #nameOf(path: string | undefined, of: string): Uint8Array {
    if (this.#isConnected) {
      if (path === undefined) return NO_NAME;
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', `the socket is connected, and ${of}path is given`);
    }
    checkSocketPath(path, `${of}path`);
    return Buffer.from(path);
  }
}

/**
 * Checks `options` and fills in the defaults of all sockets.
 *
 * @throws `ERR_IOLOOP_INVALID_ARGUMENT`; `ERR_IOLOOP_CLOSED`.
 */
export function unixSettings(options: UnixDatagramOptions | undefined): MessageSettings {
  const settings = messageSettings(options);
  checkBoolean(options?.receiveFds, 'options.receiveFds');
  checkBoolean(options?.credentials, 'options.credentials');
  return settings;
}

function setUp(fd: number, settings: MessageSettings, options: UnixDatagramOptions | undefined): void {
  setBufferSizes(fd, settings);
  if (options?.credentials) addon().wantControl(fd, WANT.CREDENTIALS);
}
