import { checkFd, invalidArgument } from './arguments.ts';
import type { HandlerTable } from './handler.ts';
import { addon, closeStream } from './native.ts';
import { MAX_FDS } from './native-datagrams.ts';
import { explain } from './native-error.ts';
import { OwnedFd } from './owned-fd.ts';

/** A descriptor to be sent: a number that the caller owns, or one that was received. */
export type PassedFd = number | OwnedFd;

/**
 * Duplicates of `fds`, which wait in place of them until they are sent: all of them, or none.
 *
 * @param handlers Who may watch them: the kernel goes on, once the duplicates alone are left.
 * @throws `ERR_IOLOOP_INVALID_ARGUMENT`; SystemError EBADF, EMFILE.
 */
export function duplicateFds(fds: readonly PassedFd[], handlers: HandlerTable): number[] {
  if (!Array.isArray(fds) || fds.length === 0 || fds.length > MAX_FDS)
    throw invalidArgument('fds', `an array of 1 to ${MAX_FDS} descriptors`, fds);
  const numbers = fds.map((fd: PassedFd, place) => {
    const number = fd instanceof OwnedFd ? fd.fd : fd;
    checkFd(number, `fds[${place}]`);
    return number;
  });
  const duplicates: number[] = [];
  try {
    for (const fd of numbers) duplicates.push(explain({ detail: `fd ${fd}` }, () => addon().duplicate(fd)));
    for (const fd of numbers) handlers.noteDuplicate(fd);
    return duplicates;
  } catch (error) {
    for (const fd of duplicates) closeStream(fd);
    throw error;
  }
}
