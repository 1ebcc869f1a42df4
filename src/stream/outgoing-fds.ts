import { checkFd, invalidArgument } from '../arguments.ts';
import { addon, closeStream } from '../native.ts';
import { MAX_FDS } from '../native-datagrams.ts';
import { explain } from '../native-error.ts';
import { OwnedFd } from '../owned-fd.ts';

/**
 * Descriptors on their way over a Unix socket: duplicates, so that the caller may close its own at once.
 * Who holds this closes them, when they have left or never will.
 */
export class OutgoingFds {
  /** Their numbers. */
  readonly numbers: Int32Array;

  private constructor(numbers: readonly number[]) {
    this.numbers = Int32Array.from(numbers);
  }

  /**
   * Duplicates `fds`: all of them or, when one is refused, none.
   *
   * @throws SystemError EBADF, EMFILE; `ERR_IOLOOP_INVALID_ARGUMENT`: not 1 to 253, or not descriptors.
   */
  static duplicate(fds: readonly (number | OwnedFd)[]): OutgoingFds {
    if (!Array.isArray(fds) || fds.length === 0 || fds.length > MAX_FDS)
      throw invalidArgument('fds', `an array of 1 to ${MAX_FDS} descriptors`, fds);
    const numbers = fds.map(toNumber);
    const duplicates: number[] = [];
    try {
      for (const fd of numbers) duplicates.push(explain({ detail: `fd ${fd}` }, () => addon().duplicate(fd)));
      return new OutgoingFds(duplicates);
    } catch (error) {
      for (const fd of duplicates) closeStream(fd);
      throw error;
    }
  }

  /** Once: the numbers may be somebody else's afterwards. */
  close(): void {
    for (const fd of this.numbers) closeStream(fd);
  }
}

function toNumber(fd: unknown, place: number): number {
  const number = fd instanceof OwnedFd ? fd.fd : fd;
  checkFd(number, `fds[${place}]`);
  return number;
}
