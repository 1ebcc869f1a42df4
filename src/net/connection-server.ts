import type { Address } from '../address.ts';
import { checkFd, checkFunction } from '../arguments.ts';
import { type Deferred, deferred } from '../deferred.ts';
import { diagnostics } from '../diagnostics.ts';
import { isPromise } from '../entry-runner.ts';
import { IOLoopError } from '../errors.ts';
import type { IOLoop } from '../ioloop.ts';
import { closeStream } from '../native.ts';
import { explain } from '../native-error.ts';
import { graceOf } from './grace.ts';
import { Listener, type ShedReason } from './listener.ts';
import type { OwnedConnection, ServedConnection } from './served-connection.ts';
import type { ConnectionServerSettings } from './server-options.ts';

/** Serves one connection, which is its own while its promise is pending. */
export type ConnectionHandler<Connection> = (
  connection: Connection,
  address: Address,
) => void | Promise<void>;

/** What servers of connections have in common, whatever goes over these: all but where they listen. */
// A LoopPart and a ListenerOwner, which only the published declarations must not say.
export abstract class ConnectionServer<Connection extends ServedConnection, Reason extends string = never> {
  /** @internal */
  readonly loop: IOLoop;
  readonly #handler: ConnectionHandler<Connection>;
  readonly #settings: ConnectionServerSettings<Connection, Reason>;
  readonly #listeners: Listener[] = [];
  #connections = 0;
  #shed = 0;
  #referenced = true;
  #attached = false;
  #closed: Deferred | null = null;

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
  protected constructor(
    handler: ConnectionHandler<Connection>,
    loop: IOLoop,
    settings: ConnectionServerSettings<Connection, Reason>,
  ) {
    checkFunction(handler, 'handler');
    this.loop = loop;
    this.#handler = handler;
    this.#settings = settings;
  }

  // ---- what its kinds say

  /** Takes over a listening descriptor of theirs. Throws SystemError. */
  protected abstract adoptListener(fd: number): void;

  /** A connection of this server over an accepted descriptor: that is its own once this returns. */
  protected abstract open(fd: number, remote: Address): Connection;

  /** Those that are this server's. */
  protected abstract owned(): Iterable<OwnedConnection>;

  /** Whether `error` says that `connection` is closed: a client that left is no error. */
  protected abstract isOwnEnd(connection: Connection, error: unknown): boolean;

  /** What listeners have set up before they accept; by default nothing. */
  protected setUpListener(_listener: Listener): void {}

  /** Begins with a connection that was verified. */
  protected begin(connection: Connection, remote: Address): void {
    this.serve(connection, remote);
  }

  /** Ends all connections at once. */
  protected abortAll(): void {
    for (const connection of this.owned()) connection.abort();
  }

  /** It no longer listens at `address`. */
  protected stopped(_address: Address): void {}

  /** close() was called. */
  protected closing(): void {}

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
  async listenFd(fd: number): Promise<Address> {
    checkFd(fd);
    this.checkListening();
    explain({ detail: `fd ${fd}` }, () => this.adoptListener(fd));
    return this.listenOn(fd);
  }

  /** Accepts no more. Idempotent. */
  stop(): void {
    for (const listener of this.#listeners.splice(0)) {
      listener.stop();
      this.#shed += listener.shed;
      this.stopped(listener.address);
      if (diagnostics.serverStopped.hasSubscribers)
        diagnostics.serverStopped.publish({ server: this, address: listener.address });
    }
  }

  /**
   * Accepts no more, closes the connections that are idle, gives the others `graceMs` (30,000) to
   * finish what they are at, then aborts them. Settles when all are gone. Idempotent.
   */
  close(options?: { graceMs?: number | undefined } | number): Promise<void> {
    const graceMs = graceOf(options);
    if (this.#closed !== null) return this.#closed.promise;
    this.#closed = deferred();
    this.stop();
    this.closing();
    const timer = this.loop.callLater(graceMs, () => this.abortAll());
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

  // ---- for its kinds

  /**
   * Accepts from `fds`, which are taken over: from all of them or, when one is refused, from none.
   *
   * @returns Where the first of them is.
   * @throws `ERR_IOLOOP_CLOSED`: closed meanwhile; {@link SystemError} of addHandler().
   */
  protected listenOn(...fds: readonly number[]): Address {
    const opened: Listener[] = [];
    try {
      this.checkListening();
      for (const fd of fds) opened.push(new Listener(this.loop, fd, this, this.#settings.maxAcceptsPerTurn));
      for (const listener of opened) this.setUpListener(listener);
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
    if (diagnostics.serverListening.hasSubscribers)
      for (const { address } of opened) diagnostics.serverListening.publish({ server: this, address });
    return first.address;
  }

  /** @throws `ERR_IOLOOP_CLOSED`. */
  protected checkListening(): void {
    if (this.#closed !== null) throw new IOLoopError('ERR_IOLOOP_CLOSED', 'the server is closed');
  }

  /** Whether close() was called. */
  protected get isClosing(): boolean {
    return this.#closed !== null;
  }

  /** One connection more. */
  protected joined(connection: Connection, address: Address): void {
    this.#attach();
    this.#connections++;
    if (diagnostics.connectionOpened.hasSubscribers)
      diagnostics.connectionOpened.publish({ server: this, connection, address });
  }

  /** One connection less: it is gone, or another server's. */
  protected left(connection: Connection, address: Address): void {
    this.#connections--;
    if (diagnostics.connectionClosed.hasSubscribers)
      diagnostics.connectionClosed.publish({ server: this, connection, address });
    this.#finishIfEmpty();
  }

  /** Hands a connection to the handler, and closes it afterwards, unless somebody has it by then. */
  protected serve(connection: Connection, remote: Address): void {
    // From its first line on: close() called there waits for it, too.
    connection.hold();
    try {
      const result = this.#handler(connection, remote);
      if (!isPromise(result)) {
        connection.release();
        return;
      }
      Promise.resolve(result).then(
        () => this.#served(connection),
        (error: unknown) => this.#failed(connection, error),
      );
    } catch (error) {
      this.#failed(connection, error);
    }
  }

  /** Tells what went wrong with a connection. */
  protected report(connection: Connection, error: unknown): void {
    if (this.isOwnEnd(connection, error)) return;
    if (diagnostics.error.hasSubscribers) diagnostics.error.publish({ error, server: this, connection });
    try {
      this.#settings.onError(error, connection);
    } catch (thrown) {
      this.onError(thrown);
    }
  }

  // ---- ListenerOwner

  /** @internal */
  hasRoom(): boolean {
    return this.#connections < this.#settings.maxConnections;
  }

  /** @internal */
  onConnection(fd: number, remote: Address): void {
    const verdict = this.#verify(remote);
    if (verdict === false) {
      closeStream(fd);
      this.onDrop('refused', remote);
      return;
    }
    const connection = this.#open(fd, remote);
    if (verdict === true) this.begin(connection, remote);
    else void this.#beginIf(verdict, connection, remote);
  }

  /** @internal */
  onDrop(reason: ShedReason | 'refused' | Reason, address: Address | null): void {
    if (diagnostics.connectionDropped.hasSubscribers)
      diagnostics.connectionDropped.publish({ server: this, reason, address });
    try {
      this.#settings.onDrop(reason, address);
    } catch (error) {
      this.onError(error);
    }
  }

  /** @internal What has no connection to be said of. */
  onError(error: unknown): void {
    this.loop.scheduler.caught(error);
  }

  // ---- LoopPart

  /** @internal */
  settle(): void {
    if (this.#closed !== null) this.#closeIdle();
  }

  /** @internal */
  abort(): void {
    this.stop();
    this.abortAll();
    this.loop.detach(this);
  }

  /** @internal */
  measure(metrics: { acceptsShed: number }): void {
    metrics.acceptsShed += this.#shed;
    for (const { shed } of this.#listeners) metrics.acceptsShed += shed;
  }

  /** A throw is a rejection: that is reported with the connection. */
  #verify(remote: Address): boolean | Promise<boolean> {
    try {
      const verdict = this.#settings.verifyRequest(remote);
      return isPromise(verdict) ? verdict : verdict === true;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #open(fd: number, remote: Address): Connection {
    try {
      const connection = this.open(fd, remote);
      this.joined(connection, remote);
      return connection;
    } catch (error) {
      closeStream(fd);
      throw error;
    }
  }

  async #beginIf(verdict: Promise<boolean>, connection: Connection, remote: Address): Promise<void> {
    connection.hold();
    let verified = false;
    try {
      verified = (await verdict) === true;
    } catch (error) {
      this.report(connection, error);
    }
    connection.release();
    if (connection.closed) return;
    if (verified && this.#closed === null) {
      this.begin(connection, remote);
      return;
    }
    connection.abort();
    if (!verified) this.onDrop('refused', remote);
  }

  /** The handler is done: so is the connection, unless somebody has it. */
  #served(connection: Connection): void {
    connection.release();
    if (!connection.isRead && connection.owner === this) void connection.close();
  }

  #failed(connection: Connection, error: unknown): void {
    connection.release();
    this.report(connection, error);
    const cause = error instanceof Error && !this.isOwnEnd(connection, error) ? error : undefined;
    void connection.close(cause);
  }

  #closeIdle(): void {
    for (const connection of this.owned()) if (connection.isIdle) void connection.close();
  }

  #finishIfEmpty(): void {
    if (this.#closed === null || this.#connections > 0) return;
    this.#closed.resolve();
    this.loop.detach(this);
    this.#attached = false;
  }

  #attach(): void {
    if (!this.#attached) this.loop.attach(this);
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
}
