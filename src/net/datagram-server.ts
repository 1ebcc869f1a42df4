import { AsyncResource } from 'node:async_hooks';
import { checkFd, checkFunction } from '../arguments.ts';
import type { MessageBatch } from '../datagram/message-batch.ts';
import { type Deferred, deferred } from '../deferred.ts';
import { diagnostics } from '../diagnostics.ts';
import { isPromise } from '../entry-runner.ts';
import { IOLoopError, type SystemError } from '../errors.ts';
import type { IOLoop } from '../ioloop.ts';
import { DatagramEndpoint, type ServerSocket } from './datagram-endpoint.ts';
import type { DatagramDropReason, DatagramServerSettings } from './datagram-options.ts';
import type { DatagramRequest } from './datagram-request.ts';
import { graceOf } from './grace.ts';
import { printError } from './server-options.ts';

/** Serves one datagram. */
export type DatagramHandler<Request> = (request: Request) => void | Promise<void>;

const MANUAL_DESTROY = { requireManualDestroy: true };
/** Descriptors that the requests at work may hold: a client may send 253 with each, and the table of a process is small. */
const MAX_FDS_HELD = 512;

/** What {@link UDPServer} and {@link UnixDatagramServer} have in common: all but where they listen. */
// A LoopPart and a SocketOwner, which only the published declarations must not say.
export abstract class DatagramServer<
  Batch extends MessageBatch,
  Socket extends ServerSocket<Batch>,
  Request extends DatagramRequest<Socket>,
> {
  readonly #loop: IOLoop;
  readonly #handler: DatagramHandler<Request>;
  readonly #settings: DatagramServerSettings<Request>;
  readonly #endpoints = new Map<Socket, DatagramEndpoint<Socket>>();
  #requests = 0;
  /** Descriptors that came with those. */
  #fds = 0;
  #dropped = 0;
  /** What sockets that are gone have dropped. */
  #droppedBelow = 0;
  #referenced = true;
  #attached = false;
  #closed: Deferred | null = null;

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
  protected constructor(
    handler: DatagramHandler<Request>,
    loop: IOLoop,
    settings: DatagramServerSettings<Request>,
  ) {
    checkFunction(handler, 'handler');
    this.#loop = loop;
    this.#handler = handler;
    this.#settings = settings;
  }

  // ---- what its kinds say

  /** A socket of theirs over a bound descriptor. Throws SystemError. */
  protected abstract adopt(fd: number): Socket;

  /** Message `i` of a batch that `socket` has received. */
  protected abstract makeRequest(socket: Socket, batch: Batch, i: number): Request;

  /** Where message `i` of a batch came from. */
  protected abstract sourceOf(batch: Batch, i: number): Request['address'];

  // ---- the server

  /** Where it listens. */
  get addresses(): readonly Socket['local'][] {
    return [...this.#endpoints.values()].filter(({ isStopped }) => !isStopped).map(({ address }) => address);
  }

  /** Requests whose handler is at work, or whose verification is. */
  get requests(): number {
    return this.#requests;
  }

  /** Datagrams that no handler got: refused, too many at a time, or dropped by the kernel for want of room. */
  get dropped(): number {
    let dropped = this.#dropped + this.#droppedBelow;
    for (const { socket } of this.#endpoints.values()) dropped += socket.dropped;
    return dropped;
  }

  /**
   * Receives by a socket that is bound already: systemd's (sd_listen_fds(3), {@link listenFds}), or an
   * inherited one. Takes it over.
   *
   * @throws SystemError ENOTSOCK, EINVAL: it is of another type; EBADF.
   */
  async listenFd(fd: number): Promise<Socket['local']> {
    checkFd(fd);
    this.checkListening();
    return this.listenOn([this.adopt(fd)]);
  }

  /**
   * Takes no more requests; what has come by then and was not received is lost. A socket closes, and
   * its address is free, when the requests that came by it are done. Idempotent.
   */
  stop(): void {
    for (const endpoint of [...this.#endpoints.values()]) {
      if (endpoint.isStopped) continue;
      endpoint.stop();
      if (diagnostics.serverStopped.hasSubscribers)
        diagnostics.serverStopped.publish({ server: this, address: endpoint.address });
    }
  }

  /**
   * Takes no more requests, gives those that are pending `graceMs` (30,000), and closes: replies that
   * were made by then are delivered. Settles when its sockets are gone. Idempotent.
   */
  close(options?: { graceMs?: number | undefined } | number): Promise<void> {
    const graceMs = graceOf(options);
    if (this.#closed !== null) return this.#closed.promise;
    this.#closed = deferred();
    this.stop();
    const timer = this.#loop.callLater(graceMs, () => this.#abortAll());
    void this.#closed.promise.then(() => timer.cancel());
    this.#finishIfEmpty();
    return this.#closed.promise;
  }

  /** Keeps the process alive while it listens: the default. */
  ref(): this {
    return this.#setReferenced(true);
  }

  /** Does not keep the process alive by listening. */
  unref(): this {
    return this.#setReferenced(false);
  }

  /** {@link close} */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ---- for its kinds

  /**
   * Receives by `sockets`, which are taken over: by all of them or, when one cannot be watched, by none.
   *
   * @returns Where the first of them is.
   * @throws `ERR_IOLOOP_CLOSED`: closed meanwhile; {@link SystemError} of addHandler().
   */
  protected listenOn(sockets: readonly Socket[]): Socket['local'] {
    try {
      this.checkListening();
      const endpoints = sockets.map((socket) => this.#receiveBy(socket));
      if (diagnostics.serverListening.hasSubscribers)
        for (const { address } of endpoints) diagnostics.serverListening.publish({ server: this, address });
      const [first] = endpoints;
      if (first !== undefined) return first.address;
    } catch (error) {
      for (const socket of sockets) void socket.close();
      throw error;
    }
    throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'there is no address to listen at');
  }

  /** @throws `ERR_IOLOOP_CLOSED`. */
  protected checkListening(): void {
    if (this.#closed !== null) throw new IOLoopError('ERR_IOLOOP_CLOSED', 'the server is closed');
  }

  /** Tells what a socket has to tell. By default that is the socket's own line. */
  protected get socketReport(): ((error: SystemError) => void) | undefined {
    return this.#settings.onError && ((error) => this.#report(error, null));
  }

  // ---- SocketOwner

  /** @internal */
  socketFailed(_socket: Socket, error: unknown): void {
    this.#loop.scheduler.caught(error);
  }

  /** @internal */
  socketRests(): void {}

  /** @internal */
  socketClosed(socket: Socket): void {
    if (!this.#endpoints.delete(socket)) return;
    this.#droppedBelow += socket.dropped;
    this.#finishIfEmpty();
  }

  // ---- LoopPart

  /** @internal */
  settle(): void {}

  /** @internal */
  abort(): void {
    this.stop();
    this.#abortAll();
    this.#loop.detach(this);
  }

  /** @internal What its sockets have dropped the loop counts with them. */
  measure(metrics: { datagramsDropped: number }): void {
    metrics.datagramsDropped += this.#dropped;
  }

  #report(error: unknown, request: Request | null): void {
    const { onError = printFailure } = this.#settings;
    if (diagnostics.error.hasSubscribers)
      diagnostics.error.publish({ error, server: this, connection: null });
    try {
      onError(error, request);
    } catch (thrown) {
      this.#loop.scheduler.caught(thrown);
    }
  }

  #receiveBy(socket: Socket): DatagramEndpoint<Socket> {
    const endpoint = new DatagramEndpoint(socket);
    if (!this.#attached) this.#loop.attach(this);
    this.#attached = true;
    this.#endpoints.set(socket, endpoint);
    socket.owner = this;
    if (!this.#referenced) socket.unref();
    socket.onMessages((batch) => this.#receive(endpoint, batch));
    return endpoint;
  }

  #receive(endpoint: DatagramEndpoint<Socket>, batch: Batch): void {
    for (let i = 0; i < batch.length && !endpoint.isStopped; i++) {
      if (!this.#hasRoom(batch.fdCount(i))) {
        this.#drop('concurrent', this.sourceOf(batch, i));
      } else {
        const request = this.makeRequest(endpoint.socket, batch, i);
        // In a context of its own: what one handler enters reaches no other's.
        new AsyncResource('IOLoopDatagram', MANUAL_DESTROY).runInAsyncScope(
          this.#begin,
          this,
          endpoint,
          request,
        );
      }
    }
  }

  #hasRoom(fds: number): boolean {
    return this.#requests < this.#settings.maxConcurrent && (fds === 0 || this.#fds + fds <= MAX_FDS_HELD);
  }

  #begin(endpoint: DatagramEndpoint<Socket>, request: Request): void {
    this.#requests++;
    this.#fds += request.fdCount;
    endpoint.begin();
    const verdict = this.#verify(request);
    if (verdict === true) this.#serve(endpoint, request);
    else if (verdict === false) this.#refuse(endpoint, request);
    else void this.#serveIf(verdict, endpoint, request);
  }

  /** A throw is a rejection: that is reported with the request. */
  #verify(request: Request): boolean | Promise<boolean> {
    try {
      const verdict = this.#settings.verifyRequest(request.address, request);
      return isPromise(verdict) ? verdict : verdict === true;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #serveIf(
    verdict: Promise<boolean>,
    endpoint: DatagramEndpoint<Socket>,
    request: Request,
  ): Promise<void> {
    let verified = false;
    try {
      verified = (await verdict) === true;
    } catch (error) {
      this.#report(error, request);
    }
    // Nobody could answer any more.
    if (verified && !endpoint.socket.closed) this.#serve(endpoint, request);
    else this.#refuse(endpoint, request);
  }

  #serve(endpoint: DatagramEndpoint<Socket>, request: Request): void {
    try {
      const result = this.#handler(request);
      if (!isPromise(result)) {
        this.#finish(endpoint, request);
        return;
      }
      Promise.resolve(result).then(
        () => this.#finish(endpoint, request),
        (error: unknown) => this.#fail(endpoint, request, error),
      );
    } catch (error) {
      this.#fail(endpoint, request, error);
    }
  }

  #fail(endpoint: DatagramEndpoint<Socket>, request: Request, error: unknown): void {
    this.#report(error, request);
    this.#finish(endpoint, request);
  }

  #refuse(endpoint: DatagramEndpoint<Socket>, request: Request): void {
    this.#drop('refused', request.address);
    this.#finish(endpoint, request);
  }

  #finish(endpoint: DatagramEndpoint<Socket>, request: Request): void {
    request.finish();
    this.#requests--;
    this.#fds -= request.fdCount;
    endpoint.finish();
  }

  #drop(reason: DatagramDropReason, address: Request['address']): void {
    this.#dropped++;
    if (diagnostics.datagramDropped.hasSubscribers)
      diagnostics.datagramDropped.publish({ server: this, reason, address });
    try {
      this.#settings.onDrop(reason, address);
    } catch (error) {
      this.#loop.scheduler.caught(error);
    }
  }

  #abortAll(): void {
    for (const endpoint of [...this.#endpoints.values()]) endpoint.abort();
  }

  #finishIfEmpty(): void {
    if (this.#closed === null || this.#endpoints.size > 0) return;
    this.#closed.resolve();
    this.#loop.detach(this);
    this.#attached = false;
  }

  #setReferenced(referenced: boolean): this {
    this.#referenced = referenced;
    for (const { socket } of this.#endpoints.values()) {
      if (referenced) socket.ref();
      else socket.unref();
    }
    return this;
  }
}

/** One line, which names the client. */
function printFailure(error: unknown, request: DatagramRequest | null): void {
  printError(error, request?.address.toString() || 'a local client');
}
