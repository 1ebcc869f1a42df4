import { Buffer } from 'node:buffer';
import { constants } from 'node:os';
import { type Address, toAddress } from '../address.ts';
import { checkFlag, checkInteger, checkMilliseconds, invalidArgument } from '../arguments.ts';
import { IOLoopError } from '../errors.ts';
import {
  abortStream,
  addon,
  closeStream,
  recv,
  send,
  sendFile,
  sendVector,
  sendWithFds,
  shutdownStream,
  unreadBytes,
  unsentBytes,
} from '../native.ts';
import { explain } from '../native-error.ts';
import type { OwnedFd } from '../owned-fd.ts';
import type { PeerCredentials } from '../peer-credentials.ts';
import type { TcpInfo } from '../tcp-info.ts';
import { BaseIOStream, type Bytes, checkViews } from './base-stream.ts';
import { OutgoingFds } from './outgoing-fds.ts';
import { type OutgoingFile, sendThroughMemory } from './outgoing-file.ts';
import type { ProxyHeader } from './proxy-header.ts';
import type { SocketOptions } from './socket-option-table.ts';
import { getOption, getOptionText, setKeepAlive, setOption } from './socket-options.ts';
import type { StreamSettings } from './stream-options.ts';
import { BORROWED_FROM } from './write-queue.ts';

const ENOSYS = -constants.errno.ENOSYS;
const EINVAL = -constants.errno.EINVAL;

/** A stream over a socket: how bytes and descriptors pass the kernel, and what that tells of it and lets be set. */
export abstract class SocketStream<Self> extends BaseIOStream<Self> {
  #peer: Address | null;
  #proxyHeader: ProxyHeader | null = null;

  protected constructor(fd: number, settings: StreamSettings, peer: Address | null, interest: number) {
    super(fd, settings, interest);
    this.#peer = peer;
  }

  // ---- descriptors

  /**
   * Sends descriptors over a Unix socket (SCM_RIGHTS, unix(7)), with the first byte of `data`, behind all
   * that was written before.
   *
   * They are duplicated in the call: the caller may close its own at once, and they are never left open,
   * however the stream ends. `data` goes in one message as far as the kernel takes it so: who reads it with
   * recvmsg(2) gets the beginning and the descriptors together. A connection that is served here and goes to
   * somebody else is `detach()`ed first.
   *
   * @param fds 1 to 253; their numbers are others at the receiver, their order is not.
   * @param data One byte at least; as write() takes it, but the promise settles when all of it has left.
   * @returns Rejects with SystemError EBADF, EMFILE, `ERR_IOLOOP_INVALID_ARGUMENT`, and with
   *   `ERR_IOLOOP_INVALID_STATE` where no descriptors can go: TCP, TLS, pipes; nothing has happened then.
   *   {@link StreamClosedError}, which nobody has to wait for; its cause is ETOOMANYREFS when too many wait
   *   to be received (unix(7)).
   */
  sendFds(fds: readonly (number | OwnedFd)[], data: Bytes): Promise<void> {
    try {
      if (!this.passesFds)
        throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'descriptors go over plain Unix sockets alone');
      const bytes = toOne(data);
      if (bytes.length === 0) throw invalidArgument('data', 'one byte or more', data);
      return this.writeWithFds(bytes, OutgoingFds.duplicate(fds, this.settings.streams.handlers));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Takes descriptors that were received and wait, in the order they were sent: the oldest `count`, or all.
   *
   * Those that were sent with a byte are there when that byte is read, and may be there before: bytes are
   * received ahead. Up to the option `receiveFds` wait. One that comes beyond ends the stream with a
   * {@link LimitError} (`ERR_IOLOOP_READ_LIMIT`), and one that finds this process's table full with a
   * SystemError EMFILE; the bytes it came with are lost. What is not taken is closed: by close() and
   * abort(), and when the stream is closed and all that was received is read.
   *
   * @returns None without `receiveFds`, the default: the kernel then discards what is sent.
   */
  takeFds(count?: number): OwnedFd[] {
    if (count !== undefined) checkInteger(count, 'count', 0, Number.MAX_SAFE_INTEGER);
    return [];
  }

  /**
   * Who has connected or, at the client, who listens (SO_PEERCRED, unix(7)): process, effective user and
   * group as they were then.
   *
   * @throws `ERR_IOLOOP_INVALID_STATE`: no Unix socket.
   */
  peerCredentials(): PeerCredentials {
    if (this.peer.family !== 'Unix')
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the peers of Unix sockets alone are known');
    return explain({ detail: `fd ${this.fd}` }, () => addon().peerCredentials(this.openFd));
  }

  // ---- options

  /** Whether small segments leave at once (TCP_NODELAY, tcp(7)). */
  setNoDelay(on: boolean): void {
    checkFlag(on, 'on');
    setOption(this.openFd, 'TCP_NODELAY', on);
  }

  /** Has the kernel probe a peer that was silent for `idleMs`, rounded up to seconds; false: never (SO_KEEPALIVE). */
  setKeepAlive(idleMs: number | false): void {
    if (idleMs !== false) checkMilliseconds(idleMs, 'idleMs');
    setKeepAlive(this.openFd, idleMs === false ? 0 : idleMs);
  }

  /**
   * Sets a socket option, by its name or by level, number and bytes (setsockopt(2)). {@link SocketOptions}
   * documents the common ones; those that have to be set before connect(2) or listen(2) are options of
   * connect() and listen().
   *
   * @throws SystemError EPERM: of a capability that this process lacks; EINVAL, ENOPROTOOPT ...;
   *   `ERR_IOLOOP_INVALID_ARGUMENT`: this system has none of that name.
   */
  setOption<Name extends keyof SocketOptions>(name: Name, value: NonNullable<SocketOptions[Name]>): void;
  setOption(name: string, value: number | boolean | string): void;
  setOption(level: number, name: number, value: Uint8Array): void;
  setOption(nameOrLevel: string | number, valueOrName: number | boolean | string, bytes?: Uint8Array): void {
    setOption(this.openFd, nameOrLevel, valueOrName, bytes);
  }

  /** A socket option as a number (getsockopt(2)). Of SO_LINGER its seconds, -1: off. */
  getOption(name: string): number {
    return getOption(this.openFd, name);
  }

  /** A socket option that is a text: 'TCP_CONGESTION', 'SO_BINDTODEVICE' (getsockopt(2)). */
  getOptionText(name: string): string {
    return getOptionText(this.openFd, name);
  }

  /** What the kernel knows of the connection (TCP_INFO, tcp(7)). Throws ENOTSUP where the system has none. */
  tcpInfo(): TcpInfo {
    return explain({ detail: `fd ${this.fd}` }, () => addon().tcpInfo(this.openFd));
  }

  /** Where the socket is bound; behind a proxy, where the client has connected to. */
  get local(): Address {
    const { destination = null } = this.proxyHeader ?? {};
    if (destination !== null) return destination;
    return toAddress(explain({ detail: `fd ${this.fd}` }, () => addon().socketAddress(this.openFd)));
  }

  /** Whom it is, or was, connected to; behind a proxy, the client of that. */
  get remote(): Address {
    return this.proxyHeader?.source ?? this.peer;
  }

  /** What the proxy said that the stream came through: `proxyProtocol` of servers. null: none did. */
  get proxyHeader(): ProxyHeader | null {
    return this.#proxyHeader;
  }

  /** @internal It came through a proxy, which says so. */
  cameThrough(header: ProxyHeader): void {
    this.#proxyHeader = header;
  }

  /** @internal Who has the other end of the socket, proxy or not. */
  get peer(): Address {
    this.#peer ??= toAddress(explain({ detail: `fd ${this.fd}` }, () => addon().peerAddress(this.openFd)));
    return this.#peer;
  }

  private get openFd(): number {
    if (this.fd < 0) throw this.closedError('the stream is closed', this.error);
    return this.fd;
  }

  // ---- the seam

  /** Whether descriptors can go over it. */
  protected get passesFds(): boolean {
    return this.peer.family === 'Unix';
  }
  protected override readFromFd(target: Uint8Array, start: number): number {
    return recv(this.fd, target, start, target.length - start);
  }
  protected override writeToFd(source: Uint8Array, start: number, end: number): number {
    return send(this.fd, source, start, end - start);
  }
  protected override writeWithFdsToFd(source: Uint8Array, fds: Int32Array): number {
    return sendWithFds(this.fd, source, 0, source.length, fds);
  }
  protected override writeViewsToFd(views: readonly Uint8Array[], skip: number): number {
    return sendVector(this.fd, views, 0, views.length, skip);
  }
  protected override sendFileToFd(file: OutgoingFile, most: number): number {
    const count = sendFile(this.fd, file.fd, file.offset, most);
    // The system has none, or none for a file of this kind: sendfile(2).
    if (count === ENOSYS || count === EINVAL)
      return sendThroughMemory(file, most, (bytes) => this.writeToFd(bytes, 0, bytes.length));
    return count;
  }
  protected override shutdownFd(): void {
    // ENOTCONN: the peer has reset the connection, and reading will say so.
    shutdownStream(this.fd);
  }
  protected override closeFd(abort: boolean): void {
    if (abort) abortStream(this.fd);
    else closeStream(this.fd);
  }
  protected override mustLinger(): boolean {
    return unreadBytes(this.fd) > 0 || unsentBytes(this.fd) > 0;
  }
}

/** `data` in one piece: a copy, or itself if it is large. */
function toOne(data: Bytes): Uint8Array {
  if (typeof data === 'string') return Buffer.from(data);
  if (!(data instanceof Uint8Array)) return Buffer.concat(checkViews(data));
  return data.length < BORROWED_FROM ? Buffer.from(data) : data;
}
