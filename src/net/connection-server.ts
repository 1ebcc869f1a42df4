import type { Address } from '../address.ts';
import { checkFd } from '../arguments.ts';
import { diagnostics } from '../diagnostics.ts';
import { IOLoopError } from '../errors.ts';
import type { IOLoop } from '../ioloop.ts';
import { closeStream } from '../native.ts';
import { explain } from '../native-error.ts';
import { type ServingOptions, startsServing } from './base-server.ts';
import { Listener, type ShedReason } from './listener.ts';
import type { RequestFunction, RequestHandlerClass } from './request-handler.ts';
import { RequestServer, verdictOf } from './request-server.ts';
import type { OwnedConnection, ServedConnection } from './served-connection.ts';
import type { ConnectionServerSettings } from './server-options.ts';

/** Serves one connection, which is its own while its promise is pending. */
export type ConnectionHandler<Connection> = RequestFunction<Connection>;

/** What servers of connections have in common, whatever goes over these: all but where they listen. */
// A ListenerOwner, which only the published declarations must not say.
export abstract class ConnectionServer<
  Connection extends ServedConnection,
  Reason extends string = never,
> extends RequestServer<Connection, Address> {
  readonly #settings: ConnectionServerSettings<Connection, Reason>;
  readonly #listeners: Listener[] = [];
  #connections = 0;
  #shed = 0;

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
  protected constructor(
    handler: ConnectionHandler<Connection> | RequestHandlerClass<Connection>,
    loop: IOLoop,
    settings: ConnectionServerSettings<Connection, Reason>,
  ) {
    super(handler, loop);
    this.#settings = settings;
  }

  // ---- what its kinds say

  /** Takes over a listening descriptor of theirs. Throws SystemError. */
  protected abstract adoptListener(fd: number): void;

  /** A connection of this server over an accepted descriptor: that is its own once this returns. */
  protected abstract open(fd: number, remote: Address): Connection;

  /** Those that are this server's. */
  protected abstract owned(): Iterable<OwnedConnection>;

  /** What listeners have set up before they accept; by default nothing. */
  protected setUpListener(_listener: Listener): void {}

  /** Begins with a connection that was verified; settles when it is served. */
  protected begin(connection: Connection, remote: Address): void | Promise<void> {
    return this.serve(connection, remote);
  }

  /** It no longer listens at `address`. */
  protected stopped(_address: Address): void {}

  // ---- hooks

  /**
   * Whether to serve a client; false, a promise of it, a throw: it is closed. By default what the option of
   * this name says.
   */
  protected verifyRequest(clientAddress: Address): boolean | Promise<boolean> {
    return this.#settings.verifyRequest(clientAddress);
  }

  protected override handleError(error: unknown, connection: Connection): void | Promise<void> {
    this.#settings.onError(error, connection);
  }

  /**
   * Ends a connection that was processed, unless somebody reads it, or one that has failed with `cause`. By
   * default closes it: what was written is delivered, then the end (socketserver's shutdown and close).
   */
  protected override shutdownRequest(connection: Connection, cause?: Error): void | Promise<void> {
    return connection.close(cause);
  }

  // ---- the server

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
   * @throws SystemError ENOTSOCK, EINVAL: it does not listen, or is of another type; EBADF.
   */
  async listenFd(fd: number, options?: ServingOptions): Promise<Address> {
    checkFd(fd);
    const startServing = startsServing(options);
    this.checkListening();
    explain({ detail: `fd ${fd}` }, () => this.adoptListener(fd));
    return this.listenOn([fd], startServing);
  }

  // ---- for its kinds

  /** Connections that may wait to be accepted where nothing else is said. */
  protected get requestQueueSize(): number {
    return this.#settings.requestQueueSize;
  }

  /**
   * Accepts from `fds`, which are taken over: from all of them or, when one is refused, from none.
   *
   * @returns Where the first of them is.
   * @throws `ERR_IOLOOP_CLOSED`: closed meanwhile; {@link SystemError} of addHandler().
   */
  protected listenOn(fds: readonly number[], startServing: boolean): Address {
    const opened: Listener[] = [];
    try {
      this.checkListening();
      for (const fd of fds) opened.push(new Listener(this.loop, fd, this, this.#settings.maxAcceptsPerTurn));
      for (const listener of opened) this.setUpListener(listener);
      this.opened(opened, startServing);
    } catch (error) {
      for (const fd of fds.slice(opened.length)) closeStream(fd);
      for (const listener of opened) listener.stop();
      throw error;
    }
    const [first] = opened;
    if (first === undefined)
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'there is no address to listen at');
    this.#listeners.push(...opened);
    if (diagnostics.serverListening.hasSubscribers)
      for (const { address } of opened) diagnostics.serverListening.publish({ server: this, address });
    return first.address;
  }

  /** One connection more. */
  protected joined(connection: Connection, address: Address): void {
    this.attach();
    this.#connections++;
    if (diagnostics.connectionOpened.hasSubscribers)
      diagnostics.connectionOpened.publish({ server: this, connection, address });
  }

  /** One connection less: it is gone, or another server's. */
  protected left(connection: Connection, address: Address): void {
    this.#connections--;
    if (diagnostics.connectionClosed.hasSubscribers)
      diagnostics.connectionClosed.publish({ server: this, connection, address });
    this.finishIfEmpty();
  }

  /** Verifies the client of an accepted descriptor, which it takes over, and begins with it; settles when it is served. */
  protected accepted(fd: number, remote: Address): void | Promise<void> {
    const verdict = verdictOf(() => this.verifyRequest(remote));
    if (verdict === false) {
      closeStream(fd);
      this.onDrop('refused', remote);
      return;
    }
    const connection = this.take(fd, remote);
    return verdict === true ? this.begin(connection, remote) : this.#beginIf(verdict, connection, remote);
  }

  /** A connection over an accepted descriptor, which is one of this server's from now on. */
  protected take(fd: number, remote: Address): Connection {
    try {
      const connection = this.open(fd, remote);
      this.joined(connection, remote);
      return connection;
    } catch (error) {
      closeStream(fd);
      throw error;
    }
  }

  /** Verifies the client of a connection that is taken already, and begins with it; settles when it is served. */
  protected verifyAndBegin(connection: Connection, remote: Address): Promise<void> {
    return this.#beginIf(
      verdictOf(() => this.verifyRequest(remote)),
      connection,
      remote,
    );
  }

  // ---- BaseServer

  protected override get places(): readonly Listener[] {
    return this.#listeners;
  }

  protected override get isEmpty(): boolean {
    return this.#connections === 0;
  }

  protected override stopListening(): void {
    for (const listener of this.#listeners.splice(0)) {
      listener.stop();
      this.#shed += listener.shed;
      this.stopped(listener.address);
      if (diagnostics.serverStopped.hasSubscribers)
        diagnostics.serverStopped.publish({ server: this, address: listener.address });
    }
  }

  protected override closing(): void {
    this.#closeIdle();
  }

  protected override abortAll(): void {
    for (const connection of this.owned()) connection.abort();
  }

  // ---- RequestServer

  /** Hands a connection to the handler, and closes it afterwards, unless somebody has it by then. */
  protected override serve(connection: Connection, remote: Address): void | Promise<void> {
    // From its first line on: close() called there waits for it, too.
    connection.hold();
    return super.serve(connection, remote);
  }

  /** The handler has left the connection to others, or to its own end. */
  protected override returned(connection: Connection): void {
    connection.release();
  }

  /** The handler is done: so is the connection, unless somebody has it. */
  protected override fulfilled(connection: Connection): void | Promise<void> {
    connection.release();
    if (!connection.isRead && connection.owner === this) return this.shutDown(connection);
  }

  protected override failed(connection: Connection, error: unknown): void | Promise<void> {
    connection.release();
    return super.failed(connection, error);
  }

  protected override shut(connection: Connection, error?: unknown): void {
    if (error !== undefined) void connection.close(error instanceof Error ? error : undefined);
  }

  protected override report(connection: Connection, error: unknown): void {
    if (diagnostics.error.hasSubscribers && !this.isOwnEnd(connection, error))
      diagnostics.error.publish({ error, server: this, connection });
    super.report(connection, error);
  }

  // ---- ListenerOwner

  /** @internal */
  hasRoom(): boolean {
    return this.#connections < this.#settings.maxConnections;
  }

  /** @internal */
  onConnection(fd: number, remote: Address): void {
    this.admit(() => this.accepted(fd, remote));
  }

  /** @internal */
  onDrop(reason: ShedReason | 'refused' | Reason, address: Address | null): void {
    if (diagnostics.connectionDropped.hasSubscribers)
      diagnostics.connectionDropped.publish({ server: this, reason, address });
    this.tell(() => this.#settings.onDrop(reason, address));
  }

  // ---- LoopPart

  /** @internal */
  override settle(): void {
    if (this.isClosing) this.#closeIdle();
  }

  /** @internal */
  override measure(metrics: { acceptsShed: number }): void {
    metrics.acceptsShed += this.#shed;
    for (const { shed } of this.#listeners) metrics.acceptsShed += shed;
  }

  async #beginIf(
    verdict: boolean | Promise<boolean>,
    connection: Connection,
    remote: Address,
  ): Promise<void> {
    connection.hold();
    let verified = false;
    try {
      verified = (await verdict) === true;
    } catch (error) {
      this.report(connection, error);
    }
    connection.release();
    if (connection.closed) return;
    if (verified && !this.isClosing) return this.begin(connection, remote);
    connection.abort();
    if (!verified) this.onDrop('refused', remote);
  }

  #closeIdle(): void {
    for (const connection of this.owned()) if (connection.isIdle) void connection.close();
  }
}
