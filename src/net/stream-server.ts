import type { TlsOptions } from 'node:tls';
import type { Address } from '../address.ts';
import { checkFunction, checkMilliseconds, checkOptions, invalidArgument } from '../arguments.ts';
import { IOLoopError } from '../errors.ts';
import { addon } from '../native.ts';
import { IOStream, openStream, StreamClosedError, setUp } from '../stream/io-stream.ts';
import { type StreamSettings, streamSettings } from '../stream/stream-options.ts';
import { type ConnectionHandler, ConnectionServer } from './connection-server.ts';
import { Handshakes } from './handshakes.ts';
import type { Listener } from './listener.ts';
import { ProxyHeaders } from './proxy-headers.ts';
import type { RequestHandlerClass } from './request-handler.ts';
import type { OwnedConnection } from './served-connection.ts';
import { connectionServerSettings, type ServerOptions } from './server-options.ts';

/**
 * Serves one connection. While its promise is pending the stream is its; then the stream is closed,
 * unless somebody reads it, or it was detached or handed on.
 */
export type StreamHandler = ConnectionHandler<IOStream>;

/** What {@link TCPServer} and {@link UnixServer} have in common: all but where they listen. */
// A StreamOwner, too, which only the published declarations must not say: these have none of the
// internal members.
export abstract class StreamServer extends ConnectionServer<IOStream, 'memory' | 'handshake'> {
  /** @internal */
  readonly settings: StreamSettings;
  readonly #handshakes: Handshakes;
  /** null: nobody is asked for one. */
  readonly #proxyHeaders: ProxyHeaders | null;

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`; what node:tls says of bad keys and certificates. */
  protected constructor(
    handler: StreamHandler | RequestHandlerClass<IOStream>,
    options: ServerOptions | undefined,
  ) {
    checkFunction(handler, 'handler');
    const settings = streamSettings(options);
    super(handler, settings.loop, connectionServerSettings(options));
    const { tls, handshakeTimeoutMs = 10_000 } = options ?? {};
    checkMilliseconds(handshakeTimeoutMs, 'options.handshakeTimeoutMs');
    this.settings = settings;
    this.#proxyHeaders = ProxyHeaders.of(options, handshakeTimeoutMs);
    this.#handshakes = new Handshakes(settings.loop, handshakeTimeoutMs);
    if (tls !== undefined) this.setTls(tls);
  }

  /**
   * Serves a stream that somebody else accepted, sniffed or decrypted; the handler is called as for a
   * client of its own. With `tls` a stream that is not encrypted is, and what is unread of it is the
   * beginning of the handshake; with `proxyProtocol` it begins with its PROXY header, unless that was read.
   */
  adopt(stream: IOStream): void {
    if (!(stream instanceof IOStream)) throw invalidArgument('stream', 'an IOStream', stream);
    if (stream.loop !== this.settings.loop)
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the stream lives on another loop');
    this.checkListening();
    if (stream.closed) throw new StreamClosedError(stream, 'a closed stream cannot be adopted', stream.error);
    const { owner, remote } = stream;
    this.joined(stream, remote);
    stream.owner = this;
    if (owner instanceof StreamServer) owner.left(stream, remote);
    if (!this.#isForwarded(stream)) void this.begin(stream, remote);
    else void this.#receiveProxyHeader(stream, (client) => this.begin(stream, client));
  }

  /** New certificates, or TLS at all, for connections from now on. */
  setTls(options: TlsOptions): void {
    checkOptions(options ?? null);
    this.#handshakes.setContext(options);
  }

  // ---- ConnectionServer

  protected override adoptListener(fd: number): void {
    addon().adoptListener(fd);
  }

  /** Accepted sockets inherit what is set here, on Linux (tcp(7)). */
  protected override setUpListener({ fd, address }: Listener): void {
    setUp(fd, this.settings, address);
  }

  protected override open(fd: number, remote: Address): IOStream {
    if (process.platform !== 'linux') setUp(fd, this.settings, remote);
    const stream = openStream(fd, this.settings, remote);
    stream.owner = this;
    return stream;
  }

  protected override begin(stream: IOStream, remote: Address): void | Promise<void> {
    const isToBeSecured = this.#handshakes.isOn && !stream.encrypted;
    return isToBeSecured ? this.#serveSecured(stream, remote) : this.serve(stream, remote);
  }

  /** A client that a proxy speaks for can be verified when that has said who it is. */
  protected override accepted(fd: number, remote: Address): void | Promise<void> {
    if (this.#proxyHeaders?.isDueFrom(remote) !== true) return super.accepted(fd, remote);
    const stream = this.take(fd, remote);
    return this.#receiveProxyHeader(stream, (client) => this.verifyAndBegin(stream, client));
  }

  protected override owned(): Iterable<OwnedConnection> {
    return this.#ownedBy((owner) => owner === this);
  }

  protected override isOwnEnd(stream: IOStream, error: unknown): boolean {
    const { owner }: { owner: object | null } = stream;
    return error instanceof StreamClosedError && (error.stream === stream || error.stream === owner);
  }

  protected override closing(): void {
    this.#handshakes.abort();
    super.closing();
  }

  /** What carries a TLS stream may outlive that: its last bytes leave. */
  protected override abortAll(): void {
    const isOurs = (owner: object | null): boolean =>
      owner === this || (owner instanceof IOStream && owner.owner === this);
    for (const stream of this.#ownedBy(isOurs)) stream.abort();
  }

  // ---- StreamOwner

  /** @internal */
  streamFailed(stream: IOStream, error: unknown): void {
    this.report(stream, error);
  }

  /** @internal */
  streamEvicted(stream: IOStream): void {
    this.onDrop('memory', stream.remote);
  }

  /** @internal */
  streamClosed(stream: IOStream): void {
    // The stream below an encrypted one is still there, and is the one that is counted.
    if (!stream.encrypted) this.left(stream, stream.remote);
  }

  /** Whether a proxy has to say first whose `stream` is. */
  #isForwarded({ peer, encrypted, proxyHeader }: IOStream): boolean {
    return !encrypted && proxyHeader === null && this.#proxyHeaders?.isDueFrom(peer) === true;
  }

  async #receiveProxyHeader(
    stream: IOStream,
    begin: (client: Address) => void | Promise<void>,
  ): Promise<void> {
    try {
      await this.#proxyHeaders?.receive(stream);
    } catch {
      stream.abort();
      if (!this.isClosing) this.onDrop('handshake', stream.peer);
      return;
    }
    return begin(stream.remote);
  }

  async #serveSecured(plain: IOStream, remote: Address): Promise<void> {
    try {
      const stream = await this.#handshakes.secure(plain);
      return this.serve(stream, remote);
    } catch {
      // In order: what node:tls had to say to the client is on its way.
      void plain.close();
      if (!this.isClosing) this.onDrop('handshake', remote);
    }
  }

  #ownedBy(isOurs: (owner: object | null) => boolean): Iterable<OwnedConnection> {
    return this.settings.streams.ownedBy(isOurs);
  }
}
