import type { UnixAddress } from '../address.ts';
import { checkFunction, checkOptions } from '../arguments.ts';
import type { UnixDatagramBatch } from '../datagram/unix-batch.ts';
import {
  type UnixDatagramOptions,
  UnixDatagramSocket,
  unixSettings,
} from '../datagram/unix-datagram-socket.ts';
import { checkSocketPath } from '../stream/socket-file.ts';
import { type ServingOptions, startsServing } from './base-server.ts';
import { type DatagramServerOptions, datagramServerSettings } from './datagram-options.ts';
import { UnixDatagramRequest } from './datagram-request.ts';
import { type DatagramHandler, DatagramServer } from './datagram-server.ts';
import type { RequestHandlerClass } from './request-handler.ts';

/** What a server of Unix datagrams allows its clients, and whom it tells. */
export interface UnixDatagramServerOptions
  extends Omit<UnixDatagramOptions, 'onError'>,
    DatagramServerOptions<UnixDatagramRequest> {}

/** Serves one Unix datagram. A rejection or a throw ends that request only, and goes to `onError`. */
export type UnixDatagramHandler = DatagramHandler<UnixDatagramRequest>;

/** A server of datagrams in the Unix domain. */
export class UnixDatagramServer extends DatagramServer<
  UnixDatagramBatch,
  UnixDatagramSocket,
  UnixDatagramRequest
> {
  readonly #options: UnixDatagramOptions;

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
  constructor(
    handler: UnixDatagramHandler | RequestHandlerClass<UnixDatagramRequest, UnixAddress>,
    options?: UnixDatagramServerOptions,
  ) {
    checkFunction(handler, 'handler');
    checkOptions(options);
    const settings = datagramServerSettings(options);
    super(handler, unixSettings({ ...options, onError: undefined }).loop, settings);
    this.#options = { ...options, onError: this.socketReport };
  }

  /**
   * Listens at a path, or at an abstract name after a NUL (Linux, unix(7)). A socket file that nobody is
   * bound to any more is replaced; what this made is removed with the socket.
   *
   * @param options `mode`: who may send to it, as chmod(2) says it; 0o600. An abstract name has no mode.
   * @throws SystemError EADDRINUSE, EACCES, ENOENT ...; `ERR_IOLOOP_INVALID_ARGUMENT`.
   */
  async listen(path: string, options?: ServingOptions & { mode?: number | undefined }): Promise<UnixAddress> {
    this.checkListening();
    checkSocketPath(path);
    const startServing = startsServing(options);
    const socket = new UnixDatagramSocket(this.#options);
    try {
      await socket.bind(path, options);
    } catch (error) {
      void socket.close();
      throw error;
    }
    return this.listenOn([socket], startServing);
  }

  protected override adopt(fd: number): UnixDatagramSocket {
    return UnixDatagramSocket.fromFd(fd, this.#options);
  }

  protected override makeRequest(
    socket: UnixDatagramSocket,
    batch: UnixDatagramBatch,
    i: number,
  ): UnixDatagramRequest {
    return new UnixDatagramRequest(socket, batch, i);
  }

  protected override sourceOf(batch: UnixDatagramBatch, i: number): UnixAddress {
    return batch.source(i);
  }
}
