import { AsyncResource } from 'node:async_hooks';
import { checkFd } from '../arguments.ts';
import type { MessageBatch } from '../datagram/message-batch.ts';
import { diagnostics } from '../diagnostics.ts';
import { isPromise } from '../entry-runner.ts';
import { IOLoopError, type SystemError } from '../errors.ts';
import type { IOLoop } from '../ioloop.ts';
import { type ServingOptions, startsServing } from './base-server.ts';
import { DatagramEndpoint, type ServerSocket } from './datagram-endpoint.ts';
import type { DatagramDropReason, DatagramServerSettings } from './datagram-options.ts';
import type { DatagramRequest } from './datagram-request.ts';
import type { RequestHandlerClass } from './request-handler.ts';
import { RequestServer, verdictOf } from './request-server.ts';
import { printError } from './server-options.ts';

/** Serves one datagram. */
export type DatagramHandler<Request> = (request: Request) => void | Promise<void>;

const MANUAL_DESTROY = { requireManualDestroy: true };
/** Descriptors that the requests at work may hold: a client may send 253 with each, and the table of a process is small. */
const MAX_FDS_HELD = 512;

/** What {@link UDPServer} and {@link UnixDatagramServer} have in common: all but where they listen. */
// A SocketOwner, which only the published declarations must not say.
export abstract class DatagramServer<
  Batch extends MessageBatch,
  Socket extends ServerSocket<Batch>,
  Request extends DatagramRequest<Socket>,
> extends RequestServer<Request, Request['address']> {
  readonly #settings: DatagramServerSettings<Request>;
  readonly #endpoints = new Map<Socket, DatagramEndpoint<Batch, Socket>>();
  #requests = 0;
  /** Descriptors that came with those. */
  #fds = 0;
  #dropped = 0;
  /** What sockets that are gone have dropped. */
  #droppedBelow = 0;

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
  protected constructor(
    handler: DatagramHandler<Request> | RequestHandlerClass<Request, Request['address']>,
    loop: IOLoop,
    settings: DatagramServerSettings<Request>,
  ) {
    super(handler, loop);
    this.#settings = settings;
  }

  // ---- what its kinds say

  /** A socket of theirs over a bound descriptor. Throws SystemError. */
  protected abstract adopt(fd: number): Socket;

  /** Message `i` of a batch that `socket` has received. */
  protected abstract makeRequest(socket: Socket, batch: Batch, i: number): Request;

  /** Where message `i` of a batch came from. */
  protected abstract sourceOf(batch: Batch, i: number): Request['address'];

  // ---- hooks

  /**
   * Whether to serve a datagram; false, a promise of it, a throw: it is dropped. By default what the option
   * of this name says.
   */
  protected verifyRequest(clientAddress: Request['address'], request: Request): boolean | Promise<boolean> {
    return this.#settings.verifyRequest(clientAddress, request);
  }

  /** Tells what went wrong with a request; with null what a socket has to tell. By default calls the option `onError`. */
  protected override handleError(error: unknown, request: Request | null): void | Promise<void> {
    const { onError = printFailure } = this.#settings;
    onError(error, request);
  }

  /** Ends a request that was processed, or has failed, or was refused. To be overridden: does nothing. */
  protected override shutdownRequest(_request: Request, _cause?: Error): void | Promise<void> {}

  // ---- the server

  /** Where it listens. */
  get addresses(): readonly Socket['local'][] {
    return this.places.map(({ address }) => address);
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
  async listenFd(fd: number, options?: ServingOptions): Promise<Socket['local']> {
    checkFd(fd);
    const startServing = startsServing(options);
    this.checkListening();
    return this.listenOn([this.adopt(fd)], startServing);
  }

  // ---- for its kinds

  /**
   * Receives by `sockets`, which are taken over: by all of them or, when one cannot be watched, by none.
   *
   * @returns Where the first of them is.
   * @throws `ERR_IOLOOP_CLOSED`: closed meanwhile; {@link SystemError} of addHandler().
   */
  protected listenOn(sockets: readonly Socket[], startServing: boolean): Socket['local'] {
    try {
      this.checkListening();
      const endpoints = sockets.map((socket) => this.#addEndpoint(socket));
      this.opened(endpoints, startServing);
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

  /** Tells what a socket has to tell. By default that is the socket's own line. */
  protected get socketReport(): ((error: SystemError) => void) | undefined {
    const isTold =
      this.#settings.onError !== undefined || this.handleError !== DatagramServer.prototype.handleError;
    return isTold ? (error) => this.#report(error, null) : undefined;
  }

  // ---- BaseServer

  protected override get places(): DatagramEndpoint<Batch, Socket>[] {
    return [...this.#endpoints.values()].filter(({ isStopped }) => !isStopped);
  }

  protected override get isEmpty(): boolean {
    return this.#endpoints.size === 0;
  }

  protected override stopListening(): void {
    for (const endpoint of this.places) {
      endpoint.stop();
      if (diagnostics.serverStopped.hasSubscribers)
        diagnostics.serverStopped.publish({ server: this, address: endpoint.address });
    }
  }

  protected override abortAll(): void {
    for (const endpoint of [...this.#endpoints.values()]) endpoint.abort();
  }

  // ---- RequestServer

  protected override returned(request: Request): void | Promise<void> {
    return this.shutDown(request);
  }

  protected override fulfilled(request: Request): void | Promise<void> {
    return this.shutDown(request);
  }

  protected override shut(request: Request): void {
    request.finish();
    this.#requests--;
    this.#fds -= request.fdCount;
    this.#endpoints.get(request.socket)?.finish();
  }

  protected override report(request: Request, error: unknown): void {
    this.#report(error, request);
  }

  // ---- SocketOwner

  /** @internal */
  socketFailed(_socket: Socket, error: unknown): void {
    this.onError(error);
  }

  /** @internal */
  socketRests(): void {}

  /** @internal */
  socketClosed(socket: Socket): void {
    if (!this.#endpoints.delete(socket)) return;
    this.#droppedBelow += socket.dropped;
    this.finishIfEmpty();
  }

  // ---- LoopPart

  /** @internal What its sockets have dropped the loop counts with them. */
  override measure(metrics: { datagramsDropped: number }): void {
    metrics.datagramsDropped += this.#dropped;
  }

  #report(error: unknown, request: Request | null): void {
    if (diagnostics.error.hasSubscribers)
      diagnostics.error.publish({ error, server: this, connection: null });
    this.tell(() => this.handleError(error, request));
  }

  #addEndpoint(socket: Socket): DatagramEndpoint<Batch, Socket> {
    const endpoint: DatagramEndpoint<Batch, Socket> = new DatagramEndpoint(socket, (batch) =>
      this.admit(() => this.#receive(endpoint, batch)),
    );
    this.#endpoints.set(socket, endpoint);
    socket.owner = this;
    return endpoint;
  }

  /** Of what it returns, if it is a promise, handleRequest() waits for the end. */
  #receive(endpoint: DatagramEndpoint<Batch, Socket>, batch: Batch): void | Promise<void> {
    let served: Promise<void> | undefined;
    for (let i = 0; i < batch.length && !endpoint.isStopped; i++) {
      if (!this.#hasRoom(batch.fdCount(i))) {
        this.#drop('concurrent', this.sourceOf(batch, i));
      } else {
        const request = this.makeRequest(endpoint.socket, batch, i);
        // In a context of its own: what one handler enters reaches no other's.
        const result = new AsyncResource('IOLoopDatagram', MANUAL_DESTROY).runInAsyncScope(
          this.#begin,
          this,
          endpoint,
          request,
        );
        if (isPromise(result)) served = result;
      }
    }
    return served;
  }

  #hasRoom(fds: number): boolean {
    return this.#requests < this.#settings.maxConcurrent && (fds === 0 || this.#fds + fds <= MAX_FDS_HELD);
  }

  #begin(endpoint: DatagramEndpoint<Batch, Socket>, request: Request): void | Promise<void> {
    this.#requests++;
    this.#fds += request.fdCount;
    endpoint.begin();
    const verdict = verdictOf(() => this.verifyRequest(request.address, request));
    if (verdict === true) return this.serve(request, request.address);
    if (verdict === false) return this.#refuse(request);
    return this.#serveIf(verdict, request);
  }

  async #serveIf(verdict: Promise<boolean>, request: Request): Promise<void> {
    let verified = false;
    try {
      verified = (await verdict) === true;
    } catch (error) {
      this.#report(error, request);
    }
    // Nobody could answer any more.
    if (verified && !request.socket.closed) return this.serve(request, request.address);
    return this.#refuse(request);
  }

  #refuse(request: Request): void | Promise<void> {
    this.#drop('refused', request.address);
    return this.shutDown(request);
  }

  #drop(reason: DatagramDropReason, address: Request['address']): void {
    this.#dropped++;
    if (diagnostics.datagramDropped.hasSubscribers)
      diagnostics.datagramDropped.publish({ server: this, reason, address });
    this.tell(() => this.#settings.onDrop(reason, address));
  }
}

/** One line, which names the client. */
function printFailure(error: unknown, request: DatagramRequest | null): void {
  printError(error, request?.address.toString() || 'a local client');
}
