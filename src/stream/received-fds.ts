import { constants } from 'node:os';
import { checkInteger } from '../arguments.ts';
import { LimitError, SystemError } from '../errors.ts';
import { recvWithFds } from '../native.ts';
import { MAX_FDS } from '../native-datagrams.ts';
import { OwnedFd } from '../owned-fd.ts';

/** Where the addon leaves those of one receive: how many, whether some were lost, and their numbers. */
const came = new Int32Array(2 + MAX_FDS);
/** No errno: {@link ReceivedFds.error} knows. */
const REFUSED = -1;

/** Descriptors that came with a stream's bytes and wait to be taken, in the order they were sent. */
export class ReceivedFds {
  /** What ended the receiving: too many came, or there was no room for them in this process. */
  error: Error | null = null;
  readonly #limit: number;
  #waiting: OwnedFd[] = [];
  #isOver = false;

  /** @param limit How many may wait. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** recv(2) into `target` from `start` on, and what comes along: bytes, 0 at the end, or -errno. */
  recv(fd: number, target: Uint8Array, start: number): number {
    if (this.error !== null) return REFUSED;
    const count = recvWithFds(fd, target, start, target.length - start, came);
    const [fds = 0, lost = 0] = came;
    if (count < 0 || (fds === 0 && lost === 0)) return count;
    const received = Array.from(came.subarray(2, 2 + fds), (number) => new OwnedFd(number));
    if (!this.#isOver) this.error = this.#refusal(fds, lost !== 0);
    if (this.error === null && !this.#isOver) this.#waiting.push(...received);
    else for (const one of received) one.close();
    return this.error === null ? count : REFUSED;
  }

  /** The oldest, `count` at most. */
  take(count: number = Number.MAX_SAFE_INTEGER): OwnedFd[] {
    checkInteger(count, 'count', 0, Number.MAX_SAFE_INTEGER);
    return this.#waiting.splice(0, count);
  }

  /** Closes those that wait, and those that are still to come. */
  close(): void {
    this.#isOver = true;
    for (const fd of this.#waiting.splice(0)) fd.close();
  }

  #refusal(count: number, lost: boolean): Error | null {
    if (lost) return new SystemError(-constants.errno.EMFILE, 'recvmsg', { detail: 'descriptors were lost' });
    const waiting = this.#waiting.length + count;
    if (waiting <= this.#limit) return null;
    const message = `${waiting} received descriptors wait, more than receiveFds`;
    return new LimitError('ERR_IOLOOP_READ_LIMIT', message, this.#limit);
  }
}
