import { Buffer } from 'node:buffer';
import { closeStream } from '../native.ts';
import { DatagramRows, MAX_FDS, ROW } from '../native-datagrams.ts';
import { memoryBudget } from '../stream/memory-budget.ts';
import type { Sending } from './sending.ts';

const FIRST_ROWS = 64;
const FIRST_BYTES = 8 * 1024;
/** A queue that has grown beyond this, in bytes or in messages, gives its memory up when it is empty. */
const KEPT_BYTES = 128 * 1024;
const KEPT_ROWS = 1_024;

/**
 * Messages that wait to be sent: their bytes in one buffer, one behind the other, and a row for each,
 * as sendDatagrams() takes them. A name in the Unix domain stands right before its message.
 */
export class SendQueue {
  rows: DatagramRows = new DatagramRows(FIRST_ROWS);
  data: Buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
  /** The row that leaves next. */
  first = 0;
  /** Messages that wait. */
  length = 0;
  /** Bytes of them, their names left out. */
  bytes = 0;
  /** Descriptors that go with messages: duplicates, closed when these have left. */
  fds: Int32Array | undefined;
  #fdsEnd = 0;
  /** Where the next message goes. */
  #end = 0;
  /** For each row who waits for it; holes: nobody. */
  #waiting: (Sending | null)[] = [];

  /** The row of the message that was added last. */
  get last(): number {
    return this.first + this.length - 1;
  }

  /**
   * Adds a copy of `data`, and room for a name before it; its row goes to whom the socket is connected to.
   * Throws, and adds nothing, when the memory of `data` was transferred away.
   */
  add(data: string | Uint8Array, nameSize: number): number {
    const size = typeof data === 'string' ? Buffer.byteLength(data) : data.length;
    this.#makeRoom(nameSize + size);
    const offset = this.#end + nameSize;
    if (typeof data === 'string') this.data.write(data, offset);
    else this.data.set(data, offset);
    const row = this.first + this.length++;
    this.rows.clear(row, offset, size);
    this.#end = offset + size;
    this.bytes += size;
    memoryBudget.add(size);
    return row;
  }

  /** Writes the name of `row`, which has room for it. */
  setName(row: number, name: Uint8Array): void {
    this.rows.set(row, ROW.FAMILY, 1);
    this.rows.set(row, ROW.PORT, name.length);
    this.data.set(name, this.rows.get(row, ROW.OFFSET) - name.length);
  }

  /** Has `fds`, which are ours from now on, go with `row`. */
  addFds(row: number, fds: readonly number[]): void {
    if (this.fds === undefined || this.#fdsEnd + fds.length > this.fds.length) this.#moveFds(fds.length);
    this.fds?.set(fds, this.#fdsEnd);
    this.rows.set(row, ROW.FIRST_FD, this.#fdsEnd);
    this.rows.set(row, ROW.FD_COUNT, fds.length);
    this.#fdsEnd += fds.length;
  }

  /** Has `sending` told what becomes of `row`. */
  wait(row: number, sending: Sending): void {
    this.#waiting[row] = sending;
  }

  /** The first `count` messages have left. */
  advance(count: number): void {
    for (let i = 0; i < count; i++) this.#shift()?.sent();
  }

  /** The first message was refused; false: nobody waits for it. */
  refuse(error: Error): boolean {
    const waiting = this.#shift();
    waiting?.failed(error);
    return waiting !== null;
  }

  #shift(): Sending | null {
    const row = this.first++;
    const size = this.rows.get(row, ROW.SIZE);
    this.bytes -= size;
    memoryBudget.add(-size);
    this.length--;
    if (this.fds !== undefined) this.#closeFds(this.fds, row);
    const waiting = this.#waiting[row] ?? null;
    if (waiting !== null) this.#waiting[row] = null;
    if (this.length === 0) this.#empty();
    return waiting;
  }

  #closeFds(fds: Int32Array, row: number): void {
    const first = this.rows.get(row, ROW.FIRST_FD);
    for (const fd of fds.subarray(first, first + this.rows.get(row, ROW.FD_COUNT))) closeStream(fd);
  }

  #empty(): void {
    this.first = 0;
    this.#end = 0;
    this.fds = undefined;
    this.#fdsEnd = 0;
    if (this.data.length <= KEPT_BYTES && this.rows.capacity <= KEPT_ROWS) return;
    this.data = Buffer.allocUnsafeSlow(FIRST_BYTES);
    this.rows = new DatagramRows(FIRST_ROWS);
    this.#waiting = [];
  }

  /** Sees to it that a row and `size` bytes fit behind the last one. */
  #makeRoom(size: number): void {
    if (this.first + this.length === this.rows.capacity) this.#moveRows();
    if (this.#end + size > this.data.length) this.#moveData(size);
  }

  /** Moves the rows to the front; to twice as many, when few of them have left. */
  #moveRows(): void {
    const { rows, first, length } = this;
    const { capacity } = rows;
    this.rows = new DatagramRows(length > capacity / 2 ? capacity * 2 : capacity);
    this.rows.copy(rows, first, length, 0);
    this.#waiting = this.#waiting.slice(first, first + length);
    this.first = 0;
  }

  #moveData(size: number): void {
    const start = this.length === 0 ? this.#end : this.#startOf(this.first);
    const used = this.#end - start;
    const { data } = this;
    if (used + size > data.length / 2)
      this.data = Buffer.allocUnsafeSlow(Math.max(data.length * 2, used + size));
    data.copy(this.data, 0, start, this.#end);
    for (let row = this.first; row < this.first + this.length; row++)
      this.rows.set(row, ROW.OFFSET, this.rows.get(row, ROW.OFFSET) - start);
    this.#end = used;
  }

  /** Moves the descriptors that wait to the front of an array with room for `count` more. */
  #moveFds(count: number): void {
    const { rows, first, length } = this;
    let start = this.#fdsEnd;
    for (let row = first + length - 1; row >= first; row--)
      if (rows.get(row, ROW.FD_COUNT) > 0) start = rows.get(row, ROW.FIRST_FD);
    const waiting = this.fds?.slice(start, this.#fdsEnd) ?? [];
    this.fds = new Int32Array(Math.max(MAX_FDS, 2 * (waiting.length + count)));
    this.fds.set(waiting);
    for (let row = first; row < first + length; row++)
      if (rows.get(row, ROW.FD_COUNT) > 0) rows.set(row, ROW.FIRST_FD, rows.get(row, ROW.FIRST_FD) - start);
    this.#fdsEnd = waiting.length;
  }

  /** Where the name of `row` begins, or else its data. */
  #startOf(row: number): number {
    const offset = this.rows.get(row, ROW.OFFSET);
    return this.rows.get(row, ROW.FAMILY) === 1 ? offset - this.rows.get(row, ROW.PORT) : offset;
  }
}
