import { getSystemErrorName } from 'node:util';
import { sendDatagrams } from '../native.ts';
import { DatagramRows, ROW } from '../native-datagrams.ts';
import { MAX_BATCH } from './message-options.ts';
import type { SendQueue } from './send-queue.ts';

/** UDP_MAX_SEGMENTS of udp(7), as old kernels have it. */
const MAX_SEGMENTS = 64;
/** What one send may hold: a datagram's length field less its header and that of IPv6. */
const MAX_BYTES = 65_535 - 8 - 40;
/** Answers of a kernel, or of a device, that does not cut: the message itself may be well. */
const REFUSALS = new Set(['EIO', 'EINVAL', 'EMSGSIZE', 'ENOPROTOOPT', 'EOPNOTSUPP']);

/**
 * Sends a queue's messages with fewer of them: those in a row that have one size and one destination,
 * the last of them perhaps shorter, go as one that the kernel cuts (UDP_SEGMENT, udp(7)).
 */
export class SegmentedSends {
  readonly #rows = new DatagramRows(MAX_BATCH);
  /** How many of the queue's rows each of ours stands for. */
  readonly #covered = new Int32Array(MAX_BATCH);
  #isRefused = false;

  /** Sends from the queue's first row on: how many of its rows were taken, or -errno. */
  send(fd: number, queue: SendQueue): number {
    const count = this.#isRefused ? 0 : this.#join(queue);
    if (count === 0 || count === queue.length)
      return sendDatagrams(fd, queue.data, queue.rows.words, queue.first, queue.length, undefined);
    const taken = sendDatagrams(fd, queue.data, this.#rows.words, 0, count, undefined);
    if (taken >= 0) return this.#covered.subarray(0, taken).reduce((sum, covered) => sum + covered, 0);
    if (this.#covered[0] === 1 || !REFUSALS.has(getSystemErrorName(taken))) return taken;
    const alone = sendDatagrams(fd, queue.data, queue.rows.words, queue.first, queue.length, undefined);
    // An MTU that is too small, or a device that cannot: from now on one by one. Else the message is to blame.
    this.#isRefused = alone > 0;
    return alone;
  }

  /** Fills our rows from the queue's; how many there are. */
  #join({ rows, first, length }: SendQueue): number {
    let count = 0;
    for (let row = first; row < first + length; ) {
      if (count === MAX_BATCH) return count;
      const covered = this.#run(rows, row, first + length);
      this.#rows.copy(rows, row, 1, count);
      if (covered > 1) {
        const last = row + covered - 1;
        const end = rows.get(last, ROW.OFFSET) + rows.get(last, ROW.SIZE);
        this.#rows.set(count, ROW.SEGMENT, rows.get(row, ROW.SIZE));
        this.#rows.set(count, ROW.SIZE, end - rows.get(row, ROW.OFFSET));
      }
      this.#covered[count++] = covered;
      row += covered;
    }
    return count;
  }

  /** How many rows from `row` on go as one. */
  #run(rows: DatagramRows, row: number, end: number): number {
    const size = rows.get(row, ROW.SIZE);
    if (size === 0) return 1;
    let bytes = size;
    let count = 1;
    for (let next = row + 1; next < end && count < MAX_SEGMENTS; next++) {
      const more = rows.get(next, ROW.SIZE);
      bytes += more;
      if (more === 0 || more > size || bytes > MAX_BYTES || !hasSameDestination(rows, row, next)) break;
      count++;
      if (more < size) break;
    }
    return count;
  }
}

function hasSameDestination(rows: DatagramRows, row: number, other: number): boolean {
  if (rows.get(row, ROW.FLAGS) !== rows.get(other, ROW.FLAGS)) return false;
  for (let word: number = ROW.FAMILY; word < ROW.SEGMENT; word++)
    if (rows.get(row, word) !== rows.get(other, word)) return false;
  return true;
}
