import type { Address, UnixAddress } from '../address.ts';
import { checkInteger } from '../arguments.ts';
import { IOLoopError } from '../errors.ts';
import { checkSocketPath, isAbstract, NO_MODE, SocketFile } from '../stream/socket-file.ts';
import { type ServingOptions, startsServing } from './base-server.ts';

/** How a server of connections listens in the Unix domain. */
export interface UnixListenOptions extends ServingOptions {
  /** Who may connect, as chmod(2) says it; 0o600. An abstract name has no mode. */
  mode?: number | undefined;
  /** Connections that wait to be accepted; by default the server's `requestQueueSize`. */
  backlog?: number | undefined;
}

const DEFAULT_MODE = 0o600;

/** Where a server listens in the Unix domain, and the files that it has made for that. */
export class UnixListeners {
  readonly #listenOn: (fd: number, startServing: boolean) => Address;
  /** By path. */
  readonly #files = new Map<string, SocketFile>();

  /** @param listenOn Takes over a descriptor that listens, and has its server accept from it. */
  constructor(listenOn: (fd: number, startServing: boolean) => Address) {
    this.#listenOn = listenOn;
  }

  /**
   * Listens at `path`, on a descriptor that `open` makes there.
   *
   * @param requestQueueSize The backlog, if `options` say nothing of it.
   * @throws SystemError EADDRINUSE, EACCES, ENOENT ...; `ERR_IOLOOP_INVALID_ARGUMENT`.
   */
  listen(
    path: string,
    options: UnixListenOptions | undefined,
    requestQueueSize: number,
    open: (backlog: number, mode: number) => number,
  ): UnixAddress {
    checkSocketPath(path);
    const startServing = startsServing(options);
    const { mode = DEFAULT_MODE, backlog = requestQueueSize } = options ?? {};
    checkInteger(mode, 'options.mode', 0, 0o777);
    checkInteger(backlog, 'options.backlog', 0, 0x7fffffff);
    const [fd, file] = SocketFile.bind(path, () => open(backlog, isAbstract(path) ? NO_MODE : mode));
    const address = this.#listenOrUnlink(fd, file, startServing);
    if (file !== null) this.#files.set(path, file);
    if (address.family === 'Unix') return address;
    throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', `${path} is no Unix address`);
  }

  /** Nobody listens at `address` any more: its file goes. */
  stopped(address: Address): void {
    if (address.family !== 'Unix') return;
    this.#files.get(address.path)?.unlink();
    this.#files.delete(address.path);
  }

  #listenOrUnlink(fd: number, file: SocketFile | null, startServing: boolean): Address {
    try {
      return this.#listenOn(fd, startServing);
    } catch (error) {
      file?.unlink();
      throw error;
    }
  }
}
