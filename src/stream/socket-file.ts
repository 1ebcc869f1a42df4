import { lstatSync } from 'node:fs';
import { constants } from 'node:os';
import { invalidArgument } from '../arguments.ts';
import { SystemError } from '../errors.ts';
import { addon, closeStream } from '../native.ts';

/** The longest path: sun_path of unix(7), without the NUL at its end. */
const MAX_PATH = process.platform === 'linux' ? 107 : 103;
/** An abstract name needs none at its end, and counts the one in front. */
const MAX_ABSTRACT = MAX_PATH + 1;
/** In place of a mode: what umask(2) leaves of it. */
export const NO_MODE = -1;

/** A file that a socket was bound to: it is removed when the socket ends, if it is still the one. */
export class SocketFile {
  readonly #path: string;
  readonly #identity: string;

  private constructor(path: string) {
    this.#path = path;
    this.#identity = addon().fileIdentity(path);
  }

  /**
   * Runs `bind` for a path that has passed {@link checkSocketPath}; again, after a socket file is removed
   * that nobody is bound to any more. What it answers, and the file that it has made; null of an
   * abstract name.
   *
   * @throws SystemError EADDRINUSE: somebody is there, or it is no socket; what `bind` throws.
   */
  static bind<T>(path: string, bind: () => T): [bound: T, file: SocketFile | null] {
    if (isAbstract(path)) return [bind(), null];
    try {
      return [bind(), new SocketFile(path)];
    } catch (error) {
      if (!(error instanceof SystemError) || error.code !== 'EADDRINUSE') throw error;
      const identity = addon().fileIdentity(path);
      if (!isStale(path)) throw error;
      addon().unlinkPath(path, identity);
      return [bind(), new SocketFile(path)];
    }
  }

  /** Removes it, unless the path names another file by now. */
  unlink(): void {
    addon().unlinkPath(this.#path, this.#identity);
  }
}

/** Whether `path` is a name after a NUL, which no file stands for (Linux, unix(7)). */
export function isAbstract(path: string): boolean {
  return path.startsWith('\0');
}

/** @throws `ERR_IOLOOP_INVALID_ARGUMENT`: no path, or one that is too long for a socket. */
export function checkSocketPath(path: unknown, name = 'path'): asserts path is string {
  // A path ends at a NUL; an abstract name ends where its length says.
  if (typeof path !== 'string' || path === '' || (path.includes('\0') && !isAbstract(path)))
    throw invalidArgument(name, 'a path, or NUL and an abstract name', path);
  const longest = isAbstract(path) ? MAX_ABSTRACT : MAX_PATH;
  if (Buffer.byteLength(path) > longest) throw invalidArgument(name, `at most ${longest} bytes long`, path);
}

/** Whether `path` is a socket that refuses to be connected to: nobody is bound there (unix(7)). */
function isStale(path: string): boolean {
  // A regular file refuses as well, and is somebody's.
  if (!lstatSync(path).isSocket()) return false;
  try {
    closeStream(addon().connectStream(path, '', 0, '', 0));
    return false;
  } catch (error) {
    // A socket of another type says EPROTOTYPE, and lives.
    return error instanceof Error && 'errno' in error && error.errno === -constants.errno.ECONNREFUSED;
  }
}
