import type { Address, UnixAddress } from '../address.ts';
import { checkInteger, checkOptions } from '../arguments.ts';
import { IOLoopError } from '../errors.ts';
import { addon } from '../native.ts';
import { checkSocketPath, isAbstract, NO_MODE, SocketFile } from '../stream/socket-file.ts';
import type { SocketOptions } from '../stream/socket-option-table.ts';
import { explainPresets, presetOptions } from '../stream/socket-options.ts';
import type { ServerOptions } from './server-options.ts';
import { type StreamHandler, StreamServer } from './stream-server.ts';

/** How a Unix server listens. */
export interface UnixListenOptions {
  /** Who may connect, as chmod(2) says it; 0o600. An abstract name has no mode. */
  mode?: number | undefined;
  /** Connections that wait to be accepted; 4096, clipped by the kernel (listen(2)). */
  backlog?: number | undefined;
  /** Set before bind(2) and listen(2); connections inherit them (Linux). */
  socketOptions?: SocketOptions | undefined;
}

const DEFAULT_MODE = 0o600;
const DEFAULT_BACKLOG = 4096;

/** A server of connections in the Unix domain. */
export class UnixServer extends StreamServer {
  /** The files that were made, by path. */
  readonly #files = new Map<string, SocketFile>();

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`; what node:tls says of bad keys and certificates. */
  constructor(handler: StreamHandler, options?: ServerOptions) {
    super(handler, options);
  }

  /**
   * Listens at a path, or at an abstract name after a NUL (Linux, unix(7)). A socket file that nobody
   * listens at any more is replaced; stop() removes what this made.
   *
   * @throws SystemError EADDRINUSE, EACCES, ENOENT ...; `ERR_IOLOOP_INVALID_ARGUMENT`.
   */
  async listen(path: string, options?: UnixListenOptions): Promise<UnixAddress> {
    this.checkListening();
    checkSocketPath(path);
    checkOptions(options);
    const { mode = DEFAULT_MODE, backlog = DEFAULT_BACKLOG } = options ?? {};
    checkInteger(mode, 'options.mode', 0, 0o777);
    checkInteger(backlog, 'options.backlog', 0, 0x7fffffff);
    const presets = presetOptions(options?.socketOptions);
    const [fd, file] = SocketFile.bind(path, () =>
      explainPresets(presets, { path }, () =>
        addon().listenStream(path, '', 0, backlog, false, false, isAbstract(path) ? NO_MODE : mode, presets),
      ),
    );
    const address = this.#listenOrUnlink(fd, file);
    if (file !== null) this.#files.set(path, file);
    if (address.family === 'Unix') return address;
    throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', `${path} is no Unix address`);
  }

  #listenOrUnlink(fd: number, file: SocketFile | null): Address {
    try {
      return this.listenOn(fd);
    } catch (error) {
      file?.unlink();
      throw error;
    }
  }

  protected override stopped(address: Address): void {
    if (address.family !== 'Unix') return;
    this.#files.get(address.path)?.unlink();
    this.#files.delete(address.path);
  }
}
