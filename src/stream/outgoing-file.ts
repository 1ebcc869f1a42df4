import { Buffer } from 'node:buffer';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { checkFd, invalidArgument } from '../arguments.ts';

/** A file on its way: `remaining` bytes from `offset` on. */
export interface OutgoingFile {
  readonly fd: number;
  offset: number;
  remaining: number;
}

const PIECE = 64 * 1024;

/**
 * Bytes `start` to `end` of a file, or to where it ends. A path is opened, and the descriptor then the
 * caller's to close.
 *
 * @throws What node:fs says; `ERR_IOLOOP_INVALID_ARGUMENT`: no regular file.
 */
export function openFile(source: string | number, start: number, end: number): OutgoingFile {
  if (typeof source === 'number') checkFd(source, 'source');
  else if (typeof source !== 'string') throw invalidArgument('source', 'a path or a descriptor', source);
  // Not to wait for the other end of a FIFO, which is refused.
  const fd =
    typeof source === 'number' ? source : openSync(source, constants.O_RDONLY | constants.O_NONBLOCK);
  const status = fstatSync(fd);
  if (status.isFile())
    return { fd, offset: start, remaining: Math.max(0, Math.min(end, status.size) - start) };
  if (typeof source === 'string') closeSync(fd);
  throw invalidArgument('source', 'a regular file', source);
}

/** Sends at most `most` bytes of `file` through memory, where sendfile(2) cannot: what `write` took of them, or -errno. */
export function sendThroughMemory(
  file: OutgoingFile,
  most: number,
  write: (bytes: Uint8Array) => number,
): number {
  const piece = Buffer.allocUnsafe(Math.min(most, PIECE));
  try {
    const count = readSync(file.fd, piece, 0, piece.length, file.offset);
    return count === 0 ? 0 : write(piece.subarray(0, count));
  } catch (error) {
    if (error instanceof Error && 'errno' in error && typeof error.errno === 'number') return error.errno;
    throw error;
  }
}
