import type { HandlerTable } from '../handler.ts';
import { closeStream } from '../native.ts';
import { duplicateFds, type PassedFd } from '../passed-fds.ts';

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

  /** {@link duplicateFds} */
  static duplicate(fds: readonly PassedFd[], handlers: HandlerTable): OutgoingFds {
    return new OutgoingFds(duplicateFds(fds, handlers));
  }

  /** Once: the numbers may be somebody else's afterwards. */
  close(): void {
    for (const fd of this.numbers) closeStream(fd);
  }
}
