import { lstatSync } from 'node:fs';
import { constants } from 'node:os';
import type { Address, UnixAddress } from '../address.ts';
import { checkInteger, checkOptions, invalidArgument } from '../arguments.ts';
import { IOLoopError, SystemError } from '../errors.ts';
import { addon, closeStream } from '../native.ts';
import { explain } from '../native-error.ts';
import type { ServerOptions } from './server-options.ts';
import { type StreamHandler, StreamServer } from './stream-server.ts';

/** How a Unix server listens. */
export interface UnixListenOptions {
  /** Who may connect, as chmod(2) says it; 0o600. An abstract name has no mode. */
  mode?: number | undefined;
  /** Connections that wait to be accepted; 4096, clipped by the kernel (listen(2)). */
  backlog?: number | undefined;
}

/** The longest path: sun_path of unix(7), without the NUL at its end. */
const MAX_PATH = process.platform === 'linux' ? 107 : 103;
const DEFAULT_MODE = 0o600;
const DEFAULT_BACKLOG = 4096;
const NO_MODE = -1;

/** A server of connections in the Unix domain. */
export class UnixServer extends StreamServer {
  /** The files that were made, by path: which they are, so that nobody else's is removed. */
  readonly #files = new Map<string, string>();

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
    checkPath(path);
    checkOptions(options);
    const { mode = DEFAULT_MODE, backlog = DEFAULT_BACKLOG } = options ?? {};
    checkInteger(mode, 'options.mode', 0, 0o777);
    checkInteger(backlog, 'options.backlog', 0, 0x7fffffff);
    const isFile = !path.startsWith('\0');
    const listen = (): number =>
      explain({ path }, () =>
        addon().listenStream(path, '', 0, backlog, false, false, isFile ? mode : NO_MODE),
      );
    const fd = isFile ? replacingStale(path, listen) : listen();
    if (isFile) this.#files.set(path, addon().fileIdentity(path));
    const address = this.#listenOrUnlink(fd, path);
    if (address.family === 'Unix') return address;
    throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', `${path} is no Unix address`);
  }

  #listenOrUnlink(fd: number, path: string): Address {
    try {
      return this.listenOn(fd);
    } catch (error) {
      this.#unlink(path);
      throw error;
    }
  }

  #unlink(path: string): void {
    const file = this.#files.get(path);
    if (file !== undefined) addon().unlinkPath(path, file);
    this.#files.delete(path);
  }

  protected override stopped(address: Address): void {
    if (address.family === 'Unix') this.#unlink(address.path);
  }
}

function checkPath(path: unknown): void {
  if (typeof path !== 'string' || path === '' || path.indexOf('\0', 1) > 0)
    throw invalidArgument('path', 'a path, or NUL and an abstract name', path);
  if (Buffer.byteLength(path) > MAX_PATH)
    throw invalidArgument('path', `at most ${MAX_PATH} bytes long`, path);
}

/** What `listen` makes at `path`, in place of a socket file whose server has gone. */
function replacingStale(path: string, listen: () => number): number {
  try {
    return listen();
  } catch (error) {
    if (!(error instanceof SystemError) || error.code !== 'EADDRINUSE') throw error;
    const file = addon().fileIdentity(path);
    if (!isStale(path)) throw error;
    addon().unlinkPath(path, file);
    return listen();
  }
}

/** Whether `path` is a socket that refuses to be connected to: nobody listens there (unix(7)). */
function isStale(path: string): boolean {
  // A regular file refuses as well, and is somebody's.
  if (!lstatSync(path).isSocket()) return false;
  try {
    closeStream(addon().connectStream(path, '', 0, '', 0));
    return false;
  } catch (error) {
    return error instanceof Error && 'errno' in error && error.errno === -constants.errno.ECONNREFUSED;
  }
}
