import { constants } from 'node:os';
import { checkFd } from '../arguments.ts';
import { Interest } from '../interest.ts';
import { addon, closeStream, openDirections, readPipe, shutdownStream, writePipe } from '../native.ts';
import { explain } from '../native-error.ts';
import { IOStream } from './io-stream.ts';
import { type OutgoingFile, sendThroughMemory } from './outgoing-file.ts';
import { type StreamOptions, streamSettings } from './stream-options.ts';

/**
 * One direction of a pipe, a FIFO, a terminal or a character device; both, where the descriptor has
 * both, as a child's stdio has that is a socket.
 *
 * O_NONBLOCK belongs to the open file, which other processes may share: it is put back to what it was
 * when the stream closes, or the shell that started us would find its terminal non-blocking.
 */
export class PipeIOStream extends IOStream {
  readonly #flags: number;
  readonly #directions: { readonly readable: boolean; readonly writable: boolean };

  /**
   * @param fd The stream's, once this returns.
   * @throws SystemError EPERM: a regular file, which is never not ready; EBADF.
   */
  constructor(fd: number, options?: StreamOptions) {
    checkFd(fd);
    const settings = streamSettings(options);
    const flags = explain({ detail: `fd ${fd}` }, () => addon().adoptPipe(fd));
    const directions = openDirections(flags);
    super(fd, settings, null, directions.readable ? Interest.READ : 0);
    this.#flags = flags;
    this.#directions = directions;
  }

  protected override get passesFds(): boolean {
    return false;
  }
  protected override readFromFd(target: Uint8Array, start: number): number {
    // Nothing comes from one that is for writing, but that its reader has left.
    return this.#directions.readable ? readPipe(this.fd, target, start, target.length - start) : 0;
  }
  protected override writeToFd(source: Uint8Array, start: number, end: number): number {
    return this.#directions.writable ? writePipe(this.fd, source, start, end - start) : NOT_WRITABLE;
  }
  protected override writeViewsToFd(views: readonly Uint8Array[], skip: number): number {
    const [first] = views;
    return first === undefined ? 0 : this.writeToFd(first, skip, first.length);
  }
  protected override sendFileToFd(file: OutgoingFile, most: number): number {
    return sendThroughMemory(file, most, (bytes) => this.writeToFd(bytes, 0, bytes.length));
  }
  /** A pipe has no halves: its end is its close. */
  protected override shutdownFd(): void {
    if (!this.#directions.readable) void this.close();
    else shutdownStream(this.fd);
  }
  protected override closeFd(): void {
    addon().restoreFlags(this.fd, this.#flags);
    closeStream(this.fd);
  }
  protected override mustLinger(): boolean {
    return false;
  }
  protected override errorOf(result: number, call: string): Error {
    return super.errorOf(result, call === 'recv' ? 'read' : 'write');
  }
}

/** EBADF, as write(2) says of what is open for reading only. */
const NOT_WRITABLE = -constants.errno.EBADF;
