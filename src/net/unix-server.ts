import type { Address, UnixAddress } from '../address.ts';
import { addon } from '../native.ts';
import type { IOStream } from '../stream/io-stream.ts';
import type { SocketOptions } from '../stream/socket-option-table.ts';
import { explainPresets, presetOptions } from '../stream/socket-options.ts';
import type { RequestHandlerClass } from './request-handler.ts';
import type { ServerOptions } from './server-options.ts';
import { type StreamHandler, StreamServer } from './stream-server.ts';
import { UnixListeners, type UnixListenOptions } from './unix-listeners.ts';

/** A server of connections in the Unix domain. */
export class UnixServer extends StreamServer {
  readonly #listeners = new UnixListeners((fd, startServing) => this.listenOn([fd], startServing));

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`; what node:tls says of bad keys and certificates. */
  constructor(handler: StreamHandler | RequestHandlerClass<IOStream>, options?: ServerOptions) {
    super(handler, options);
  }

  /**
   * Listens at a path, or at an abstract name after a NUL (Linux, unix(7)). A socket file that nobody
   * listens at any more is replaced; stop() removes what this made.
   *
   * @param options `socketOptions`: set before bind(2) and listen(2); connections inherit them (Linux).
   * @throws SystemError EADDRINUSE, EACCES, ENOENT ...; `ERR_IOLOOP_INVALID_ARGUMENT`.
   */
  async listen(
    path: string,
    options?: UnixListenOptions & { socketOptions?: SocketOptions | undefined },
  ): Promise<UnixAddress> {
    this.checkListening();
    return this.#listeners.listen(path, options, this.requestQueueSize, (backlog, mode) => {
      const presets = presetOptions(options?.socketOptions);
      return explainPresets(presets, { path }, () =>
        addon().listenStream(path, '', 0, backlog, false, false, mode, presets),
      );
    });
  }

  protected override stopped(address: Address): void {
    this.#listeners.stopped(address);
  }
}
