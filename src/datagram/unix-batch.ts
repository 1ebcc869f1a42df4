import { toUnixAddress, type UnixAddress } from '../address.ts';
import { closeStream } from '../native.ts';
import { FLAG, NAME_SIZE, ROW } from '../native-datagrams.ts';
import { OwnedFd } from '../owned-fd.ts';
import type { PeerCredentials } from '../peer-credentials.ts';
import { MessageBatch } from './message-batch.ts';

const NO_FDS: readonly OwnedFd[] = [];

/** Messages of the Unix domain: descriptors and credentials may come with them. */
export class UnixMessageBatch extends MessageBatch {
  /** For each row what {@link fds} has given out. */
  #taken: (readonly OwnedFd[] | undefined)[] | null = null;

  /**
   * The descriptors that came with message `i`, which are the caller's from now on. Those that nobody
   * asks for are closed when the call is over.
   */
  fds(i: number): readonly OwnedFd[] {
    const { rows } = this;
    const row = this.rowOf(i);
    const count = this.fdCount(i);
    if (count === 0) return NO_FDS;
    this.#taken ??= [];
    const first = rows.get(row, ROW.FIRST_FD);
    const { fds } = this.owner.datagrams;
    const taken = this.#taken[row] ?? Array.from(fds.subarray(first, first + count), (fd) => new OwnedFd(fd));
    this.#taken[row] = taken;
    return taken;
  }

  /** Whether descriptors came with message `i` that did not fit, here or in our table: they are closed. */
  fdsTruncated(i: number): boolean {
    return this.rows.has(this.rowOf(i), FLAG.CONTROL_TRUNCATED);
  }

  /** Who sent message `i`; null: the socket has not asked (`credentials`). */
  credentials(i: number): PeerCredentials | null {
    const { rows } = this;
    const row = this.rowOf(i);
    if (!rows.has(row, FLAG.CREDENTIALS)) return null;
    return {
      pid: rows.get(row, ROW.PID),
      uid: rows.get(row, ROW.UID) >>> 0,
      gid: rows.get(row, ROW.GID) >>> 0,
    };
  }

  /** @internal */
  override end(): void {
    const { rows } = this;
    const { fds } = this.owner.datagrams;
    for (let row = 0; row < this.length; row++) {
      const count = rows.get(row, ROW.FD_COUNT);
      if (count === 0 || this.#taken?.[row] !== undefined) continue;
      const first = rows.get(row, ROW.FIRST_FD);
      for (const fd of fds.subarray(first, first + count)) closeStream(fd);
    }
    super.end();
  }
}

/** Unix datagrams, as {@link UnixDatagramSocket.onMessages} hands them out. */
export class UnixDatagramBatch extends UnixMessageBatch {
  /** The path that message `i` came from; '': its sender has none, NUL first: an abstract name. */
  path(i: number): string {
    const row = this.rowOf(i);
    const start = row * NAME_SIZE;
    const { names } = this.owner.datagrams;
    return Buffer.from(names.buffer, start, this.rows.get(row, ROW.PORT)).toString();
  }

  /** Where message `i` came from. */
  source(i: number): UnixAddress {
    return toUnixAddress(this.path(i));
  }
}
