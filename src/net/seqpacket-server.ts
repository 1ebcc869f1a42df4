import type { Address, UnixAddress } from '../address.ts';
import { checkFunction } from '../arguments.ts';
import { type SeqpacketOptions, SeqpacketSocket, seqpacketSettings } from '../datagram/seqpacket-socket.ts';
import { IOLoopError, SystemError } from '../errors.ts';
import { addon } from '../native.ts';
import { explain } from '../native-error.ts';
import { type ConnectionHandler, ConnectionServer } from './connection-server.ts';
import type { RequestHandlerClass } from './request-handler.ts';
import type { OwnedConnection } from './served-connection.ts';
import { type ConnectionServerOptions, connectionServerSettings } from './server-options.ts';
import { UnixListeners, type UnixListenOptions } from './unix-listeners.ts';

/** What a seqpacket server allows its clients, and whom it tells. */
export interface SeqpacketServerOptions
  extends Omit<SeqpacketOptions, 'onError'>,
    ConnectionServerOptions<SeqpacketSocket> {}

/**
 * Serves one connection. While its promise is pending the socket is its; then the socket is closed,
 * unless somebody reads it.
 */
export type SeqpacketHandler = ConnectionHandler<SeqpacketSocket>;

/** What sending over a connection that is no more, and receiving from it, is answered with. */
const ENDS: ReadonlySet<string> = new Set(['EPIPE', 'ECONNRESET', 'ENOTCONN', 'EBADF', 'ECANCELED']);

/** A server of connections in the Unix domain that keep the borders of messages (SOCK_SEQPACKET, unix(7)). */
// A SocketOwner, too, which only the published declarations must not say.
export class SeqpacketServer extends ConnectionServer<SeqpacketSocket> {
  readonly #options: SeqpacketServerOptions | undefined;
  readonly #listeners = new UnixListeners((fd, startServing) => this.listenOn([fd], startServing));
  /** With the addresses that they had. */
  readonly #sockets = new Map<SeqpacketSocket, Address>();

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
  constructor(
    handler: SeqpacketHandler | RequestHandlerClass<SeqpacketSocket>,
    options?: SeqpacketServerOptions,
  ) {
    checkFunction(handler, 'handler');
    const settings = connectionServerSettings(options);
    const { loop } = seqpacketSettings({ ...options, onError: undefined });
    super(handler, loop, settings);
    this.#options = options;
  }

  /**
   * Listens at a path, or at an abstract name after a NUL (Linux, unix(7)). A socket file that nobody
   * listens at any more is replaced; stop() removes what this made.
   *
   * @throws SystemError EADDRINUSE, EACCES, ENOENT ...; `ERR_IOLOOP_INVALID_ARGUMENT`.
   */
  async listen(path: string, options?: UnixListenOptions): Promise<UnixAddress> {
    this.checkListening();
    return this.#listeners.listen(path, options, this.requestQueueSize, (backlog, mode) =>
      explain({ path }, () => addon().listenSeqpacket(path, backlog, mode)),
    );
  }

  // ---- ConnectionServer

  protected override adoptListener(fd: number): void {
    addon().adoptSeqpacketListener(fd);
  }

  protected override open(fd: number, remote: Address): SeqpacketSocket {
    const socket: SeqpacketSocket = new SeqpacketSocket(fd, {
      ...this.#options,
      onError: (error) => this.report(socket, error),
    });
    socket.owner = this;
    this.#sockets.set(socket, remote);
    return socket;
  }

  protected override owned(): Iterable<OwnedConnection> {
    return this.#sockets.keys();
  }

  protected override isOwnEnd(socket: SeqpacketSocket, error: unknown): boolean {
    if (!socket.isOver) return false;
    return error instanceof SystemError ? ENDS.has(error.code) : IOLoopError.is(error, 'ERR_IOLOOP_CLOSED');
  }

  protected override stopped(address: Address): void {
    this.#listeners.stopped(address);
  }

  // ---- SocketOwner

  /** @internal */
  socketFailed(socket: SeqpacketSocket, error: unknown): void {
    this.report(socket, error);
    void socket.close();
  }

  /** @internal */
  socketRests(): void {
    if (this.isClosing) this.loop.scheduler.wantWork();
  }

  /** @internal */
  socketClosed(socket: SeqpacketSocket): void {
    const remote = this.#sockets.get(socket);
    this.#sockets.delete(socket);
    if (remote !== undefined) this.left(socket, remote);
  }
}
