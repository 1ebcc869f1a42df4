import { closeSync, fstatSync, openSync } from 'node:fs';
import { SystemError } from '../errors.ts';
import { addon, closeStream } from '../native.ts';
import { explain } from '../native-error.ts';
import type { LoopStreams } from './loop-streams.ts';

/** The numbers from here on are anybody's. */
const FIRST_OF_OTHERS = 3;

/** One of the two descriptors of a {@link StandardIOStream}, and how that hears of it. */
export class PipeEnd {
  readonly fd: number;
  /** Status flags as they were; null: a regular file, whose flags nobody minds. */
  readonly #flags: number | null;
  #isAlwaysReady: boolean;
  #isWatched = false;
  /** Its stream is about to be told. */
  #isDue = false;
  #isOpen = true;

  private constructor(fd: number, flags: number | null) {
    this.fd = fd;
    this.#flags = flags;
    this.#isAlwaysReady = flags === null;
  }

  /**
   * Takes `fd` over.
   *
   * @throws SystemError EPERM: a directory, or another thing that is no stream of bytes; EBADF.
   */
  static open(fd: number): PipeEnd {
    try {
      return new PipeEnd(
        fd,
        explain({ detail: `fd ${fd}` }, () => addon().adoptPipe(fd)),
      );
    } catch (error) {
      if (!isRefusal(error) || !fstatSync(fd).isFile()) throw error;
      return new PipeEnd(fd, null);
    }
  }

  /** Whether no poller watches it, since it never waits: a regular file, /dev/null. */
  get isAlwaysReady(): boolean {
    return this.#isAlwaysReady;
  }

  /** Whether it is a socket, which can end one half and keep the other. */
  get isSocket(): boolean {
    return this.#isOpen && fstatSync(this.fd).isSocket();
  }

  /**
   * Has `ready` called when it is ready for `bit`: each time, or once if it always is; null: no more.
   *
   * It keeps nothing alive by that: its stream does.
   */
  watch(
    { handlers, loop }: LoopStreams,
    bit: number,
    ready: ((fd: number, events: number) => void) | null,
  ): void {
    if (ready === null || !this.#isOpen) {
      // Told to the kernel: what it watches is the open file, which the shell has as well (epoll(7)).
      if (this.#isWatched) handlers.remove(this.fd);
      this.#isWatched = false;
      return;
    }
    if (this.#isWatched) return;
    if (!this.#isAlwaysReady) {
      try {
        handlers.add(this.fd, ready, bit, 'stream');
        handlers.setReferenced(this.fd, false);
        this.#isWatched = true;
        return;
      } catch (error) {
        // As epoll(7) says it of what has no poll: /dev/null.
        if (!isRefusal(error)) throw error;
        this.#isAlwaysReady = true;
      }
    }
    if (this.#isDue) return;
    this.#isDue = true;
    loop.addCallback(() => {
      this.#isDue = false;
      ready(this.fd, bit);
    });
  }

  /** Leaves it to whose it was, as it was found: O_NONBLOCK belongs to the open file, which the shell has as well. */
  giveBack(): void {
    this.#isOpen = false;
    if (this.#flags === null) return;
    addon().restoreFlags(this.fd, this.#flags);
    addon().releaseStream(this.fd);
  }

  /** Closes it, as it was found. Idempotent. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    if (this.#flags === null) {
      closeSync(this.fd);
    } else {
      addon().restoreFlags(this.fd, this.#flags);
      closeStream(this.fd);
    }
    if (this.fd < FIRST_OF_OTHERS) occupy(this.fd);
  }
}

/** EPERM: nothing that can be watched. */
function isRefusal(error: unknown): boolean {
  return error instanceof SystemError && error.code === 'EPERM';
}

/** Gives the number of a standard stream to /dev/null: what is printed must not go to somebody's socket. */
function occupy(fd: number): void {
  // The lowest number that is free (open(2)), unless another thread was faster: then it has found its use.
  const opened = openSync('/dev/null', 'r+');
  if (opened !== fd) closeSync(opened);
}
