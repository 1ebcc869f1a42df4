import type { TlsOptions } from 'node:tls';
import type { Address } from '../address.ts';
import { checkFd, checkFunction, checkMilliseconds, checkOptions, invalidArgument } from '../arguments.ts';
import { type Deferred, deferred } from '../deferred.ts';
import { isPromise } from '../entry-runner.ts';
import { IOLoopError } from '../errors.ts';
import { addon, closeStream } from '../native.ts';
import { explain } from '../native-error.ts';
import { IOStream, openStream, StreamClosedError, setUp } from '../stream/io-stream.ts';
import { type StreamSettings, streamSettings } from '../stream/stream-options.ts';
import { Handshakes } from './handshakes.ts';
import { Listener } from './listener.ts';
import {
  type DropReason,
  type ServerOptions,
  type ServerSettings,
  serverSettings,
} from './server-options.ts';

/**
 * Serves one connection. While its promise is pending the stream is its; then the stream is closed,
 * unless somebody reads it, or it was detached or handed on.
 */
export type StreamHandler = (stream: IOStream, address: Address) => void | Promise<void>;

const DEFAULT_GRACE_MS = 30_000;

/** What {@link TCPServer} and {@link UnixServer} have in common: all but where they listen. */
// A LoopPart, a ListenerOwner and a StreamOwner, which only the published declarations must not say:
// these have none of the internal members.
export abstract class StreamServer {
  /** @internal */
  readonly settings: StreamSettings;
  readonly #handler: StreamHandler;
  readonly #options: ServerSettings;
  readonly #listeners: Listener[] = [];
  readonly #handshakes: Handshakes;
  #connections = 0;
  #shed = 0;
  #referenced = true;
  #attached = false;
  #closed: Deferred | null = null;

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`; what node:tls says of bad keys and certificates. */
  protected constructor(handler: StreamHandler, options: ServerOptions | undefined) {
    checkFunction(handler, 'handler');
    this.settings = streamSettings(options);
    this.#handler = handler;
    this.#options = serverSettings(options);
    this.#handshakes = new Handshakes(this.settings.loop, this.#options.handshakeTimeoutMs);
    if (options?.tls !== undefined) this.setTls(options.tls);
  }

  /** Where it listens. */
  get addresses(): readonly Address[] {
    return this.#listeners.map(({ address }) => address);
  }

  /** How many connections are open, those that are being closed included. */
  get connections(): number {
    return this.#connections;
  }

  /**
   * Accepts from a socket that listens already: systemd's (sd_listen_fds(3), {@link listenFds}), or an
   * inherited one. Takes it over.
   *
   * @throws SystemError ENOTSOCK, EINVAL: it does not listen; EBADF.
   */
  async listenFd(fd: number): Promise<Address> {
    checkFd(fd);
    this.checkListening();
    explain({ detail: `fd ${fd}` }, () => addon().adoptListener(fd));
    return this.listenOn(fd);
  }

  /**
   * Serves a stream that somebody else accepted, sniffed or decrypted; the handler is called as for a
   * client of its own. With `tls` a stream that is not encrypted is, and what is unread of it is the
   * beginning of the handshake.
   */
  adopt(stream: IOStream): void {
    if (!(stream instanceof IOStream)) throw invalidArgument('stream', 'an IOStream', stream);
    if (stream.loop !== this.settings.loop)
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the stream lives on another loop');
    this.#checkOpen();
    if (stream.closed) throw new StreamClosedError(stream, 'a closed stream cannot be adopted', stream.error);
    const { owner, remote } = stream;
    this.#attach();
    this.#connections++;
    stream.owner = this;
    if (owner instanceof StreamServer) owner.#left();
    this.#secureAndServe(stream, remote);
  }

  /** New certificates, or TLS at all, for connections from now on. */
  setTls(options: TlsOptions): void {
    checkOptions(options ?? null);
    this.#handshakes.setContext(options);
  }

  /** Accepts no more. Idempotent. */
  stop(): void {
    for (const listener of this.#listeners.splice(0)) {
      listener.stop();
      this.#shed += listener.shed;
      this.stopped(listener.address);
    }
  }

  /**
   * Accepts no more, closes the connections that are idle, gives the others `graceMs` (30,000) to
   * finish what they are at, then aborts them. Settles when all are gone. Idempotent.
   */
  close(options?: { graceMs?: number | undefined } | number): Promise<void> {
    const given = typeof options === 'number' ? { graceMs: options } : options;
    checkOptions(given);
    const { graceMs = DEFAULT_GRACE_MS } = given ?? {};
    checkMilliseconds(graceMs, 'options.graceMs');
    if (this.#closed !== null) return this.#closed.promise;
    this.#closed = deferred();
    this.stop();
    this.#handshakes.abort();
    const timer = this.settings.loop.callLater(graceMs, () => this.#abortAll());
    void this.#closed.promise.then(() => timer.cancel());
    this.#closeIdle();
    this.#finishIfEmpty();
    return this.#closed.promise;
  }

  /** Keeps the process alive while it listens: the default. */
  ref(): this {
    return this.#setReferenced(true);
  }

  /** Does not keep the process alive by listening; its connections do. */
  unref(): this {
    return this.#setReferenced(false);
  }

  /** {@link close} */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ---- for those who listen

  /**
   * Accepts from `fds`, which are taken over: from all of them or, when one is refused, from none.
   *
   * @returns Where the first of them is.
   * @throws `ERR_IOLOOP_CLOSED`: closed meanwhile; {@link SystemError} of addHandler().
   */
  protected listenOn(...fds: readonly number[]): Address {
    const opened: Listener[] = [];
    try {
      this.#checkOpen();
      for (const fd of fds)
        opened.push(new Listener(this.settings.loop, fd, this, this.#options.maxAcceptsPerTurn));
      // Accepted sockets inherit what is set here, on Linux (tcp(7)).
      for (const { fd, address } of opened) setUp(fd, this.settings, address);
    } catch (error) {
      for (const fd of fds.slice(opened.length)) closeStream(fd);
      for (const listener of opened) listener.stop();
      throw error;
    }
    const [first] = opened;
    if (first === undefined)
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'there is no address to listen at');
    this.#attach();
    this.#listeners.push(...opened);
    if (!this.#referenced) for (const listener of opened) listener.unref();
    return first.address;
  }

  /** @throws `ERR_IOLOOP_CLOSED`. */
  protected checkListening(): void {
    this.#checkOpen();
  }

  /** It no longer listens at `address`. */
  protected stopped(_address: Address): void {}

  // ---- ListenerOwner

  /** @internal */
  hasRoom(): boolean {
    return this.#connections < this.#options.maxConnections;
  }

  /** @internal */
  onConnection(fd: number, remote: Address): void {
    const verdict = this.#verify(remote);
    if (verdict === false) {
      closeStream(fd);
      this.onDrop('refused', remote);
      return;
    }
    const stream = this.#open(fd, remote);
    if (verdict === true) this.#secureAndServe(stream, remote);
    else void this.#serveIf(verdict, stream, remote);
  }

  /** @internal */
  onDrop(reason: DropReason, address: Address | null): void {
    try {
      this.#options.onDrop(reason, address);
    } catch (error) {
      this.onError(error);
    }
  }

  /** @internal What has no stream to be said of. */
  onError(error: unknown): void {
    this.settings.loop.scheduler.caught(error);
  }

  // ---- StreamOwner

  /** @internal */
  streamFailed(stream: IOStream, error: unknown): void {
    if (isOwnEnd(stream, error)) return;
    try {
      this.#options.onError(error, stream);
    } catch (thrown) {
      this.onError(thrown);
    }
  }

  /** @internal */
  streamEvicted(stream: IOStream): void {
    this.onDrop('memory', stream.remote);
  }

  /** @internal */
  streamClosed(stream: IOStream): void {
    // The stream below an encrypted one is still there, and is the one that is counted.
    if (!stream.encrypted) this.#left();
  }

  // ---- LoopPart

  /** @internal */
  settle(): void {
    if (this.#closed !== null) this.#closeIdle();
  }

  /** @internal */
  abort(): void {
    this.stop();
    this.#abortAll();
    this.settings.loop.detach(this);
  }

  /** @internal */
  measure(metrics: { acceptsShed: number }): void {
    metrics.acceptsShed += this.#shed;
    for (const { shed } of this.#listeners) metrics.acceptsShed += shed;
  }

  #open(fd: number, remote: Address): IOStream {
    try {
      if (process.platform !== 'linux') setUp(fd, this.settings, remote);
      const stream = openStream(fd, this.settings, remote);
      stream.owner = this;
      this.#connections++;
      return stream;
    } catch (error) {
      closeStream(fd);
      throw error;
    }
  }

  /** A throw is a rejection: that is reported with the stream. */
  #verify(remote: Address): boolean | Promise<boolean> {
    try {
      const verdict = this.#options.verifyRequest(remote);
      return isPromise(verdict) ? verdict : verdict === true;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #serveIf(verdict: Promise<boolean>, stream: IOStream, remote: Address): Promise<void> {
    stream.hold();
    let verified = false;
    try {
      verified = (await verdict) === true;
    } catch (error) {
      this.streamFailed(stream, error);
    }
    stream.release();
    if (stream.closed) return;
    if (verified && this.#closed === null) {
      this.#secureAndServe(stream, remote);
      return;
    }
    stream.abort();
    if (!verified) this.onDrop('refused', remote);
  }

  #secureAndServe(stream: IOStream, remote: Address): void {
    if (this.#handshakes.isOn && !stream.encrypted) void this.#serveSecured(stream, remote);
    else this.#serve(stream, remote);
  }

  async #serveSecured(plain: IOStream, remote: Address): Promise<void> {
    try {
      const stream = await this.#handshakes.secure(plain);
      this.#serve(stream, remote);
    } catch {
      // In order: what node:tls had to say to the client is on its way.
      void plain.close();
      if (this.#closed === null) this.onDrop('handshake', remote);
    }
  }

  #serve(stream: IOStream, remote: Address): void {
    // From its first line on: close() called there waits for it, too.
    stream.hold();
    try {
      const result = this.#handler(stream, remote);
      if (!isPromise(result)) {
        stream.release();
        return;
      }
      Promise.resolve(result).then(
        () => this.#served(stream),
        (error: unknown) => this.#failed(stream, error),
      );
    } catch (error) {
      this.#failed(stream, error);
    }
  }

  /** The handler is done: so is the stream, unless somebody has it. */
  #served(stream: IOStream): void {
    stream.release();
    if (!stream.isRead && stream.owner === this) void stream.close();
  }

  #failed(stream: IOStream, error: unknown): void {
    stream.release();
    this.streamFailed(stream, error);
    void stream.close(error instanceof Error && !isOwnEnd(stream, error) ? error : undefined);
  }

  #closeIdle(): void {
    const served = this.settings.streams.ownedBy((owner) => owner === this);
    for (const stream of served) if (stream.isIdle) void stream.close();
  }

  #abortAll(): void {
    // What carries a TLS stream may outlive that: its last bytes leave.
    const isOurs = (owner: object | null): boolean =>
      owner === this || (owner instanceof IOStream && owner.owner === this);
    for (const stream of this.settings.streams.ownedBy(isOurs)) stream.abort();
  }

  /** One connection less: it is gone, or another server's. */
  #left(): void {
    this.#connections--;
    this.#finishIfEmpty();
  }

  #finishIfEmpty(): void {
    if (this.#closed === null || this.#connections > 0) return;
    this.#closed.resolve();
    this.settings.loop.detach(this);
    this.#attached = false;
  }

  #attach(): void {
    if (!this.#attached) this.settings.loop.attach(this);
    this.#attached = true;
  }

  #setReferenced(referenced: boolean): this {
    this.#referenced = referenced;
    for (const listener of this.#listeners) {
      if (referenced) listener.ref();
      else listener.unref();
    }
    return this;
  }

  #checkOpen(): void {
    if (this.#closed !== null) throw new IOLoopError('ERR_IOLOOP_CLOSED', 'the server is closed');
  }
}

/** Whether `error` says that `stream`, or what goes over it, is closed: a client that left is no error. */
function isOwnEnd(stream: IOStream, error: unknown): boolean {
  const { owner }: { owner: object | null } = stream;
  return error instanceof StreamClosedError && (error.stream === stream || error.stream === owner);
}
