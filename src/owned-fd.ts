import { IOLoopError } from './errors.ts';
import { closeStream, releaseStream } from './native.ts';

const GONE = -1;
/** Closes what nobody has taken, nor closed, and nobody can reach any more. */
const collected = new FinalizationRegistry((fd: number) => closeStream(fd));

/**
 * A descriptor that came over a Unix socket (SCM_RIGHTS, unix(7)): close-on-exec, and closed if nobody
 * takes it.
 *
 * That is when whom it came by is done with, and at the latest when it is collected as garbage. It shares
 * its open file with the sender's, and what belongs to that: the offset, O_NONBLOCK (open(2)).
 */
export class OwnedFd {
  #fd: number;

  /** @internal Owns `fd`, which belongs to this environment. */
  constructor(fd: number) {
    this.#fd = fd;
    collected.register(this, fd, this);
  }

  /** Its number, -1 once it was taken or closed. A borrow. */
  get fd(): number {
    return this.#fd;
  }

  /** Whether it was taken or closed. */
  get closed(): boolean {
    return this.#fd === GONE;
  }

  /**
   * Gives it away: it is the caller's to close, or to hand on, as to {@link IOStream.fromFd} or a server's
   * listenFd().
   *
   * @throws `ERR_IOLOOP_INVALID_STATE`: it was taken or closed.
   */
  take(): number {
    const fd = this.#fd;
    if (fd === GONE)
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the descriptor was taken or closed already');
    this.#forget();
    releaseStream(fd);
    return fd;
  }

  /** Closes it, unless it was taken. Idempotent. */
  close(): void {
    const fd = this.#fd;
    if (fd === GONE) return;
    this.#forget();
    closeStream(fd);
  }

  /** {@link close} */
  [Symbol.dispose](): void {
    this.close();
  }

  #forget(): void {
    this.#fd = GONE;
    collected.unregister(this);
  }
}
