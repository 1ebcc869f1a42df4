import { EventEmitter } from 'node:events';
import { isIP } from 'node:net';
import { constants } from 'node:os';
import type { Duplex } from 'node:stream';
import type { ConnectionOptions, Server, TLSSocket, TlsOptions } from 'node:tls';
import { type Deferred, deferred } from '../deferred.ts';
import { AbortError, SystemError, TimeoutError } from '../errors.ts';
import { Ready } from '../interest.ts';
import type { WaitOptions } from '../ioloop.ts';
import type { StreamDuplex } from './duplex.ts';
import { SETTLED } from './wait.ts';

/** Begins a handshake; calls one of them back, once or more. */
type BeginHandshake = (secured: (socket: TLSSocket) => void, failed: (error: Error) => void) => void;

/** What the connections of a server share: certificates, SNI, ALPN, the keys of its tickets. */
export class TlsServerContext {
  readonly #server: Server;

  /** @throws What node:tls says of bad keys and certificates. */
  constructor(options: TlsOptions) {
    this.#server = tls().createServer(options);
  }

  /** Begins the handshake of a client; whoever is refused is told as a failure. */
  accept(duplex: Duplex, secured: (socket: TLSSocket) => void, failed: (error: Error) => void): void {
    const { TLSSocket } = tls();
    const emit = (event: string, ...args: readonly unknown[]): boolean => {
      const [first, second] = args;
      if (event === 'secureConnection' && first instanceof TLSSocket) secured(first);
      if (event === 'tlsClientError' && first instanceof Error) failed(explain(first, second));
      return true;
    };
    // A server says that a connection is secure, but not which of those that it was given this is.
    // So each is given to a view of the server, which hears of that one alone.
    const view: Server = Object.create(this.#server, { emit: { value: emit } });
    EventEmitter.prototype.emit.call(view, 'connection', duplex);
  }
}

/**
 * What TLS servers need of `options`, made once for all their connections.
 *
 * @throws What node:tls says of bad keys and certificates.
 */
export function createServerContext(options: TlsOptions): TlsServerContext {
  return new TlsServerContext(options);
}

/**
 * One end of a TLS connection after its handshake, read and written like a non-blocking descriptor.
 *
 * The work is Node's own `tls`, over the duplex of a plain stream. `node:tls` is loaded by the first
 * session, not by the import of this file.
 */
export class TlsSession {
  /** For certificates, ciphers and session tickets; reading and writing is this object's. */
  readonly socket: TLSSocket;
  /** What ended it; bytes decrypted before that can still be read. */
  error: Error | null = null;
  readonly #duplex: StreamDuplex;
  #ended = false;
  /** Bytes of the write under way. */
  #writing = 0;
  /** Settles when it is no longer. */
  #whenWritten: Deferred | null = null;
  #onReady: ((events: number) => void) | null = null;

  private constructor(socket: TLSSocket, duplex: StreamDuplex) {
    this.socket = socket;
    this.#duplex = duplex;
    socket.on('readable', () => this.#tell(Ready.READ));
    socket.on('end', () => {
      this.#ended = true;
      this.#tell(Ready.READ);
    });
    socket.on('error', (error) => this.#fail(error));
    // Without its end and without an error: the transport was closed under it.
    socket.on('close', () => this.#ended || this.#fail(connectionReset('the stream was closed under TLS')));
  }

  /**
   * Shakes hands as the client. The server's name (SNI, and what its certificate must say) is
   * `options.servername`, or else `options.host`; an IP address is no name to be sent, RFC 6066.
   *
   * Takes the duplex over: a handshake that fails, or ends by `wait`, destroys it.
   *
   * @throws What node:tls says, a {@link SystemError}, TimeoutError, AbortError.
   */
  static client(duplex: StreamDuplex, options: ConnectionOptions, wait: WaitOptions): Promise<TlsSession> {
    return TlsSession.#handshake(duplex, wait, (secured, failed) => {
      const { host } = options;
      const servername = options.servername ?? (host === undefined || isIP(host) !== 0 ? '' : host);
      const socket = tls().connect({ ...options, servername, socket: duplex });
      socket.once('secureConnect', () => secured(socket)).on('error', failed);
      socket.once('close', () => failed(connectionReset('the stream was closed under the TLS handshake')));
    });
  }

  /**
   * Shakes hands as the server. The same in all else as {@link TlsSession.client}.
   *
   * A client whose certificate is not taken has failed, unless `rejectUnauthorized` is false.
   */
  static server(duplex: StreamDuplex, context: TlsServerContext, wait: WaitOptions): Promise<TlsSession> {
    return TlsSession.#handshake(duplex, wait, (...ends) => context.accept(duplex, ...ends));
  }

  static #handshake(duplex: StreamDuplex, wait: WaitOptions, begin: BeginHandshake): Promise<TlsSession> {
    const { signal, timeoutMs = Number.POSITIVE_INFINITY } = wait;
    const { promise, resolve, reject } = deferred<TlsSession>();
    let decided = false;
    const decide = (): boolean => {
      if (decided) return false;
      decided = true;
      timer?.cancel();
      signal?.removeEventListener('abort', onAbort);
      return true;
    };
    const failed = (error: Error): void => {
      if (!decide()) return;
      reject(error);
      duplex.destroy(error);
    };
    const onAbort = (): void => failed(new AbortError(signal?.reason));
    const onTimeout = (): void =>
      failed(new TimeoutError(`the TLS handshake took more than ${timeoutMs} ms`));
    const timer =
      timeoutMs < Number.POSITIVE_INFINITY ? duplex.stream.loop.callLater(timeoutMs, onTimeout) : null;

    duplex.on('error', failed).once('end', () => failed(connectionReset('the peer left the TLS handshake')));
    signal?.addEventListener('abort', onAbort);
    if (signal?.aborted) {
      onAbort();
      return promise;
    }
    // The end of the stream is the session's to see: what is unread or unsent outlives it.
    duplex.allowHalfOpen = true;
    try {
      begin((socket) => decide() && resolve(new TlsSession(socket, duplex)), failed);
    } catch (error) {
      failed(error instanceof Error ? error : new Error('the TLS handshake did not begin', { cause: error }));
    }
    return promise;
  }

  /**
   * Called when read() or write() would go on: bits of Ready, ERROR once {@link TlsSession.error} is
   * set. Never from within a call. Told once after each `null`, and once when it is set.
   */
  set onReady(listener: ((events: number) => void) | null) {
    this.#onReady = listener;
    if (listener !== null)
      process.nextTick(() => this.#tell(Ready.READ | Ready.WRITE | (this.error === null ? 0 : Ready.ERROR)));
  }

  /** Bytes decrypted into `target`, 0 at the peer's end, null when it would block or has failed. */
  read(target: Uint8Array): number | null {
    const { socket } = this;
    const count = Math.min(target.length, socket.readableLength);
    if (count > 0) {
      const bytes: Uint8Array = socket.read(count);
      target.set(bytes);
      return count;
    }
    if (this.#ended) return 0;
    // Asks for more, or for the end.
    socket.read(0);
    return null;
  }

  /** Takes a copy of all of `source`, or null while the last write is under way, and after a failure. */
  write(source: Uint8Array): number | null {
    if (this.#writing > 0 || this.error !== null) return null;
    if (source.length === 0) return 0;
    this.#writing = source.length;
    this.socket.write(Buffer.from(source), (error) => error == null && this.#written());
    return source.length;
  }

  /** Bytes that write() took and the kernel has not: WRITE is told when there are none any more. */
  get unflushed(): number {
    return this.#writing + this.#duplex.writableLength + this.#duplex.stream.bytesQueued;
  }

  /** Settles when what write() took was encrypted and given to the stream below, or the session has failed. */
  written(): Promise<void> {
    if (this.#writing === 0 || this.error !== null) return SETTLED;
    this.#whenWritten ??= deferred();
    return this.#whenWritten.promise;
  }

  /** Ends our half: close_notify (RFC 8446, 6.1), then the half of the transport. Reading goes on. */
  shutdown(): void {
    this.socket.end();
  }

  /** Ends it, and the stream below. */
  destroy(): void {
    this.#onReady = null;
    this.socket.destroy();
  }

  /** What ALPN agreed on, RFC 7301; null: nothing. */
  get alpnProtocol(): string | null {
    return this.socket.alpnProtocol || null;
  }

  /** The name that the client asked for, on a server; null: none. */
  get servername(): string | null {
    const name: unknown = Reflect.get(this.socket, 'servername');
    return typeof name === 'string' ? name : null;
  }

  /** Whether the peer's certificate was asked for and found good. */
  get authorized(): boolean {
    return this.socket.authorized;
  }

  #written(): void {
    this.#writing = 0;
    this.#whenWritten?.resolve();
    this.#whenWritten = null;
    this.#tell(Ready.WRITE);
    if (this.unflushed === 0) return;
    this.#duplex.stream.flush().then(
      () => this.#tell(Ready.WRITE),
      // The stream failed, and has told it.
      () => {},
    );
  }

  #fail(error: Error): void {
    if (this.error !== null) return;
    this.error = error;
    this.#whenWritten?.resolve();
    this.#tell(Ready.READ | Ready.WRITE | Ready.ERROR);
  }

  #tell(events: number): void {
    this.#onReady?.(events);
  }
}

function tls(): typeof import('node:tls') {
  return process.getBuiltinModule('node:tls');
}

/** Why a server refused: node:tls says of a bad certificate that the socket hung up. */
function explain(error: Error, socket: unknown): Error {
  const reason: unknown = socket instanceof EventEmitter ? Reflect.get(socket, 'authorizationError') : null;
  return typeof reason === 'string'
    ? new Error(`the client's certificate was refused: ${reason}`, { cause: error })
    : error;
}

function connectionReset(detail: string): SystemError {
  return new SystemError(-constants.errno.ECONNRESET, 'read', { detail });
}
