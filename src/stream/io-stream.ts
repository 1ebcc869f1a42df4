import { Buffer } from 'node:buffer';
import type { LookupFunction } from 'node:net';
import type { ConnectionOptions, TlsOptions } from 'node:tls';
import { type Address, toAddress } from '../address.ts';
import { checkFd, checkOptions, invalidArgument } from '../arguments.ts';
import { watchConnect } from '../diagnostics.ts';
import { IOLoopError } from '../errors.ts';
import { Interest, Ready } from '../interest.ts';
import type { WaitOptions } from '../ioloop.ts';
import { addon, closeStream } from '../native.ts';
import { explain } from '../native-error.ts';
import type { OwnedFd } from '../owned-fd.ts';
import { EAGAIN } from '../raw.ts';
import { checkWait, waitFor } from '../wait.ts';
import type { Bytes } from './base-stream.ts';
import { type DialTarget, dial } from './dial.ts';
import { toDuplex } from './duplex.ts';
import { type OutgoingFile, sendThroughMemory } from './outgoing-file.ts';
import type { ProxyHeader } from './proxy-header.ts';
import type { Chunk } from './read-buffer.ts';
import { ReceivedFds } from './received-fds.ts';
import type { SocketOptions } from './socket-option-table.ts';
import { presetOptions, setKeepAlive, setOption } from './socket-options.ts';
import { SocketStream } from './socket-stream.ts';
import type { StreamOwner } from './stream-core.ts';
import { type StreamOptions, type StreamSettings, streamSettings } from './stream-options.ts';
import { createServerContext, TlsServerContext, TlsSession } from './tls-session.ts';

/** A stream is closed, and what was asked of it cannot be. `cause` says what ended it, none after a clean end. */
export class StreamClosedError extends IOLoopError {
  override readonly name = 'StreamClosedError';
  /** Which one. */
  readonly stream: IOStream;

  constructor(stream: IOStream, message: string, cause: Error | null) {
    super('ERR_IOLOOP_STREAM_CLOSED', message, cause === null ? undefined : { cause });
    this.stream = stream;
  }
}

/** Whom to connect to; see {@link IOStream.connect}. */
export type ConnectTarget = DialTarget;

/** How to connect. `timeoutMs` is 30,000 by default, and covers the lookup and the TLS handshake. */
export interface ConnectOptions extends StreamOptions, WaitOptions {
  /** Resolves names in place of `dns.lookup`. */
  lookup?: LookupFunction | undefined;
  /** TLS from the first byte; `true`: by Node's defaults. */
  tls?: ConnectionOptions | true | undefined;
  /** Set before connect(2); those of IPv6 on sockets of IPv6 alone. Refused, they fail the connecting. */
  socketOptions?: SocketOptions | undefined;
}

/** How to secure a stream; see {@link IOStream.startTls}. */
export type StartTlsOptions = (({ server: true } & TlsOptions) | ({ server?: false } & ConnectionOptions)) &
  WaitOptions;

/**
 * A TCP or Unix socket with framed reads and buffered writes.
 *
 * One reader at a time; what is written in a turn leaves together; memory and time are bounded by its
 * options, whatever the peer does.
 */
export class IOStream extends SocketStream<IOStream> {
  /** @internal Takes `fd` over once it returns. */
  constructor(
    fd: number,
    settings: StreamSettings,
    remote: Address | null,
    interest: number = Interest.READ,
  ) {
    super(fd, settings, remote, interest);
  }

  /**
   * Connects to a name, an IP address or a path, whichever address of a name answers first.
   *
   * @throws SystemError of connect(2) or of the lookup, TimeoutError, AbortError, what node:tls says.
   */
  static connect(target: ConnectTarget, options?: ConnectOptions): Promise<IOStream> {
    return watchConnect(target, IOStream.#connect(target, options));
  }

  static async #connect(target: ConnectTarget, options?: ConnectOptions): Promise<IOStream> {
    const settings = streamSettings(options);
    const { lookup, tls, signal, timeoutMs = 30_000, socketOptions } = options ?? {};
    const presets = presetOptions(socketOptions);
    if (tls !== undefined && tls !== true && (typeof tls !== 'object' || tls === null))
      throw invalidArgument('options.tls', 'options of tls.connect() or true', tls);
    const deadline = settings.loop.time() + timeoutMs;
    const { fd, remote } = await settings.streams.connecting(signal, (either) =>
      dial(settings.loop, target, { lookup, signal: either, timeoutMs, presets }),
    );
    const stream = openOrClose(fd, settings, remote);
    if (tls === undefined) return stream;
    const host = 'path' in target ? undefined : (target.host ?? 'localhost');
    const left = Math.max(0, deadline - settings.loop.time());
    return stream.startTls({ host, ...(tls === true ? {} : tls), signal, timeoutMs: left });
  }

  /**
   * A stream over a connected socket, which is the stream's once this returns.
   *
   * @param options `unread`: what was received before, to be read first.
   * @throws SystemError ENOTSOCK, ENOTCONN, EINVAL: no stream socket; EBADF.
   */
  static fromFd(fd: number, options?: StreamOptions & { unread?: Uint8Array | undefined }): IOStream {
    checkFd(fd);
    const settings = streamSettings(options);
    const unread = options?.unread;
    if (unread !== undefined && !(unread instanceof Uint8Array))
      throw invalidArgument('options.unread', 'a Uint8Array', unread);
    explain({ detail: `fd ${fd}` }, () => addon().adoptSocket(fd));
    const remote = toAddress(explain({ detail: `fd ${fd}` }, () => addon().peerAddress(fd)));
    setUp(fd, settings, remote);
    const stream = openStream(fd, settings, remote);
    if (unread !== undefined) stream.unshift(unread);
    return stream;
  }

  /**
   * Shakes hands over this stream, from now on the new one's: as the client, or with `server: true` as
   * the server. What was written before goes out first.
   *
   * @throws `ERR_IOLOOP_INVALID_STATE` while plaintext is unread: it might have been put there to be
   *   taken for what came encrypted (STARTTLS injection, CVE-2011-0411). TimeoutError, AbortError, what
   *   node:tls says; the stream is closed then.
   */
  async startTls(options: StartTlsOptions): Promise<IOStream> {
    checkOptions(options ?? null);
    checkWait(options);
    if (this.bytesBuffered > 0)
      throw new IOLoopError(
        'ERR_IOLOOP_INVALID_STATE',
        `${this.bytesBuffered} bytes of plaintext are unread`,
      );
    const { signal, timeoutMs } = options;
    const how = options.server === true ? createServerContext(options) : options;
    return this.secure(how, { signal, timeoutMs });
  }

  /** @internal {@link startTls}, where the server's context is made; what is unread is the handshake's. */
  async secure(tls: TlsServerContext | ConnectionOptions, wait: WaitOptions): Promise<IOStream> {
    if (this.closed) throw this.closedError('a closed stream cannot be secured', this.error);
    if (this.isRead) throw new IOLoopError('ERR_IOLOOP_READ_PENDING', 'somebody reads the stream already');
    const duplex = toDuplex(this);
    const session =
      tls instanceof TlsServerContext
        ? await TlsSession.server(duplex, tls, wait)
        : await TlsSession.client(duplex, tls, wait);
    const secured = new SecureIOStream(this, session);
    this.holdAlike(secured);
    secured.owner = this.owner;
    this.owner = secured;
    return secured;
  }

  /**
   * Gives the descriptor away, with what was received and not read: to another loop, process or
   * library. The stream is over, and says so by {@link whenClosed} alone.
   *
   * @throws `ERR_IOLOOP_INVALID_STATE` while bytes are queued, a read waits, or under TLS.
   */
  detach(): { fd: number; unread: Chunk } {
    const { fd, unread } = this.giveUp();
    addon().releaseStream(fd);
    return { fd, unread };
  }

  /** Whether what is sent is encrypted. */
  get encrypted(): boolean {
    return false;
  }

  /** What ALPN agreed on (RFC 7301), null: nothing. */
  get alpnProtocol(): string | null {
    return null;
  }

  /** @internal */
  override hold(): void {
    super.hold();
    if (this.owner instanceof SecureIOStream) this.owner.hold();
  }

  /** @internal */
  override release(): void {
    super.release();
    if (this.owner instanceof SecureIOStream) this.owner.release();
  }

  protected override get self(): IOStream {
    return this;
  }
  protected override closedError(message: string, cause: Error | null): StreamClosedError {
    return new StreamClosedError(this, message, cause);
  }
}

/**
 * The stream that {@link IOStream.startTls} makes: what goes over the plain one is encrypted.
 *
 * It owns the plain one, and stands for it before the server that has accepted that.
 */
class SecureIOStream extends IOStream implements StreamOwner<IOStream> {
  readonly #plain: IOStream;
  readonly #session: TlsSession;
  #interest = 0;

  constructor(plain: IOStream, session: TlsSession) {
    super(plain.fd, plain.settings, plain.peer, 0);
    this.#plain = plain;
    this.#session = session;
    session.onReady = (events) => this.#ready(events);
    this.startReading();
  }

  override get encrypted(): boolean {
    return true;
  }

  override get proxyHeader(): ProxyHeader | null {
    return this.#plain.proxyHeader;
  }

  override get alpnProtocol(): string | null {
    return this.#session.alpnProtocol;
  }

  override get whenClosed(): Promise<void> {
    return super.whenClosed.then(() => this.#plain.whenClosed);
  }

  override ref(): this {
    this.#plain.ref();
    return super.ref();
  }

  override unref(): this {
    this.#plain.unref();
    return super.unref();
  }

  override get bytesQueued(): number {
    // A session that was cut off keeps count of what is lost.
    return super.bytesQueued + (this.#plain.fd < 0 ? 0 : this.#session.unflushed);
  }

  override async flush(options?: WaitOptions): Promise<void> {
    await super.flush(options);
    await this.#flushBelow(options, 'flush()');
  }

  override end(data?: Bytes): Promise<void> {
    const ended = super.end(data).then(() => this.#flushBelow(undefined, 'end()'));
    // Nobody has to wait for it.
    ended.catch(() => {});
    return ended;
  }

  /** Settles when what the session was given is in the kernel. */
  async #flushBelow(options: WaitOptions | undefined, what: string): Promise<void> {
    await waitFor(this.loop, this.#session.written(), options, what);
    try {
      await this.#plain.flush(options);
    } catch (error) {
      if (!IOLoopError.is(error, 'ERR_IOLOOP_STREAM_CLOSED')) throw error;
      // In order, with all of it; or not.
      if (this.#plain.error !== null) throw this.closedError(error.message, this.#plain.error);
    }
  }

  override detach(): never {
    throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'a stream under TLS cannot be detached');
  }

  override secure(): Promise<never> {
    return Promise.reject(new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the stream is under TLS already'));
  }

  /** @internal */
  streamFailed(_plain: IOStream, error: unknown): void {
    this.report(error);
  }
  /** @internal */
  streamEvicted(): void {
    this.owner?.streamEvicted(this);
  }
  /** @internal */
  streamClosed(plain: IOStream): void {
    this.owner?.streamClosed(plain);
  }

  /** As a descriptor is watched: what is ready by then is told again. */
  protected override setInterest(interest: number): void {
    const wanted = interest & ~this.#interest;
    this.#interest = interest;
    if (wanted !== 0 && !this.loop.scheduler.closed) this.loop.addCallback(() => this.#ready(wanted));
  }
  protected override get interest(): number {
    return this.#interest;
  }
  protected override forgetFd(): void {
    this.#interest = 0;
  }
  protected override get passesFds(): boolean {
    return false;
  }
  protected override get readsInPieces(): boolean {
    return true;
  }
  protected override readMore(): void {
    this.loop.addCallback(() => this.#ready(Ready.READ));
  }
  protected override readFromFd(target: Uint8Array, start: number): number {
    return this.#session.read(start === 0 ? target : target.subarray(start)) ?? this.#refusal;
  }
  protected override writeToFd(source: Uint8Array, start: number, end: number): number {
    return this.#session.write(source.subarray(start, Math.min(end, start + TAKEN_AT_ONCE))) ?? this.#refusal;
  }
  protected override writeViewsToFd(views: readonly Uint8Array[], skip: number): number {
    return this.#session.write(concatenate(views, skip, TAKEN_AT_ONCE)) ?? this.#refusal;
  }
  protected override sendFileToFd(file: OutgoingFile, most: number): number {
    return sendThroughMemory(file, most, (bytes) => this.writeToFd(bytes, 0, bytes.length));
  }
  protected override errorOf(result: number, call: string): Error {
    return this.#session.error ?? super.errorOf(result, call);
  }
  protected override shutdownFd(): void {
    this.#session.shutdown();
  }
  protected override closeFd(abort: boolean): void {
    const { socket } = this.#session;
    if (abort || socket.destroyed) {
      this.#plain.abort();
      return;
    }
    socket.end(() => this.#plain.close());
    // The end comes after what the session has taken, and the peer may take no more of that.
    this.#plain.limitClosing();
  }
  protected override mustLinger(): boolean {
    return false;
  }

  /** What a read or write that did nothing answers. */
  get #refusal(): number {
    return this.#session.error === null ? EAGAIN : FAILED;
  }

  #ready(events: number): void {
    const told = events & (this.#interest | Ready.ERROR);
    if (told !== 0 && this.fd >= 0) this.ready(this.fd, told);
  }
}

/** Bytes that a session gets at a time: it copies them, and no limit of the queue knows of them any more. */
const TAKEN_AT_ONCE = 64 * 1024;
/** No errno: the session knows what failed. */
const FAILED = -1;

/** At most `most` bytes of `views`, without the first `skip`, as one. */
function concatenate(views: readonly Uint8Array[], skip: number, most: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let start = skip;
  let left = most;
  for (const view of views) {
    const part = view.subarray(start, start + left);
    parts.push(part);
    start = 0;
    left -= part.length;
    if (left === 0) break;
  }
  return Buffer.concat(parts);
}

/** A stream from which descriptors can be taken. It is apart so that no other asks for them. */
class FdReceivingStream extends IOStream {
  readonly #received: ReceivedFds;

  constructor(fd: number, settings: StreamSettings, remote: Address) {
    super(fd, settings, remote);
    this.#received = new ReceivedFds(settings.receiveFds);
  }

  override takeFds(count?: number): OwnedFd[] {
    return this.#received.take(count);
  }

  /** @internal */
  override settle(): void {
    super.settle();
    // Who was given the last bytes has had a turn to take what came with them.
    if (this.fd < 0 && this.bytesBuffered === 0) this.#received.close();
  }

  protected override readFromFd(target: Uint8Array, start: number): number {
    return this.#received.recv(this.fd, target, start);
  }
  protected override errorOf(result: number, call: string): Error {
    return this.#received.error ?? super.errorOf(result, call);
  }
  protected override deafen(): void {
    super.deafen();
    this.#received.close();
  }
}

/** A stream over a socket that is connected and set up. */
export function openStream(fd: number, settings: StreamSettings, remote: Address): IOStream {
  return settings.receiveFds > 0 && remote.family === 'Unix'
    ? new FdReceivingStream(fd, settings, remote)
    : new IOStream(fd, settings, remote);
}

/** A stream over a descriptor that was just connected. */
function openOrClose(fd: number, settings: StreamSettings, remote: Address): IOStream {
  try {
    setUp(fd, settings, remote);
    return openStream(fd, settings, remote);
  } catch (error) {
    closeStream(fd);
    throw error;
  }
}

/** Sets what `settings` say of the socket. Accepted ones have it from their listener where the system does that. */
export function setUp(fd: number, settings: StreamSettings, remote: Address): void {
  if (remote.family === 'Unix') return;
  if (settings.noDelay) setOption(fd, 'TCP_NODELAY', true);
  if (settings.keepAliveMs > 0) setKeepAlive(fd, settings.keepAliveMs);
}
