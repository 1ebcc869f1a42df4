import { Buffer } from 'node:buffer';
import { invalidArgument } from '../arguments.ts';
import { IOLoopError } from '../errors.ts';
import { DatagramRows, FLAG, NAME_SIZE, ROW } from '../native-datagrams.ts';
import type { Chunk } from '../stream/read-buffer.ts';
import { type LoopDatagrams, slotSize } from './loop-datagrams.ts';

/** The socket that has received a batch. */
export interface BatchOwner {
  readonly datagrams: LoopDatagrams;
  readonly maxPacketSize: number;
  /** Whether the kernel may have joined messages (UDP_GRO). */
  readonly isJoining: boolean;
  /** Sends `data` to where row `row` came from. */
  reply(row: number, data: string | Uint8Array): void;
}

/** Where a message came from, and where an answer leaves from. */
export interface Origin {
  readonly rows: DatagramRows;
  readonly row: number;
  /** Names of the Unix domain, NAME_SIZE bytes for each of the rows. */
  readonly names: Uint8Array;
}

/**
 * What one receive has brought: views on memory that the next one overwrites. It is over when the call
 * that it was handed to returns, and then throws.
 */
export abstract class MessageBatch {
  /** Messages in it. */
  readonly length: number;
  readonly #owner: BatchOwner;
  #rows: DatagramRows | null;
  /** For each message its row, and where in that it begins; null: each is a row. */
  readonly #places: readonly (readonly [row: number, start: number])[] | null = null;

  /** @internal */
  constructor(owner: BatchOwner, count: number) {
    const { rows } = owner.datagrams;
    this.#owner = owner;
    this.#rows = rows;
    if (owner.isJoining) this.#places = placesIn(rows, count);
    this.length = this.#places?.length ?? count;
  }

  /** The bytes of message `i`: a view, valid during the call. */
  data(i: number): Buffer {
    const row = this.rowOf(i);
    const { datagrams, maxPacketSize } = this.#owner;
    const size = Math.min(this.rows.get(row, ROW.SIZE), maxPacketSize);
    const place = this.#places?.[i];
    if (place === undefined) return datagrams.view(row, maxPacketSize, size);
    return datagrams.part(row * slotSize(maxPacketSize) + place[1], this.#sizeAt(place));
  }

  /** Whether message `i` was longer than `maxPacketSize`, and its end is lost. */
  truncated(i: number): boolean {
    return this.rows.has(this.rowOf(i), FLAG.TRUNCATED);
  }

  /**
   * Sends `data` to where message `i` came from, from the address that it was sent to. It is copied,
   * and leaves with the other replies of the turn; what goes wrong is told to `onError`.
   */
  reply(i: number, data: string | Uint8Array): void {
    this.#owner.reply(this.rowOf(i), data);
  }

  /** @internal The bytes of message `i` for as long as its taker likes. */
  copy(i: number): Chunk {
    return Buffer.from(this.data(i));
  }

  /** @internal Where message `i` came from, for as long as its taker likes. */
  origin(i: number): Origin {
    const row = this.rowOf(i);
    const rows = new DatagramRows(1);
    rows.copy(this.rows, row, 1, 0);
    const { names } = this.#owner.datagrams;
    const isNamed = rows.get(0, ROW.FAMILY) === 1;
    return { rows, row: 0, names: isNamed ? names.slice(row * NAME_SIZE, (row + 1) * NAME_SIZE) : NO_NAMES };
  }

  /** @internal The call is over. */
  end(): void {
    this.#rows = null;
  }

  /** @internal The rows of the batch as they were received; `null`: some of them are several messages. */
  get plainRows(): DatagramRows | null {
    return this.#places === null ? this.rows : null;
  }

  /** @internal */
  get owner(): BatchOwner {
    return this.#owner;
  }

  /** @throws `ERR_IOLOOP_INVALID_STATE` once the batch is over. */
  protected get rows(): DatagramRows {
    if (this.#rows === null)
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the batch is over: its memory has been used again');
    return this.#rows;
  }

  /** @internal The row of message `i`. */
  rowOf(i: number): number {
    if (this.#rows === null) return this.rows.capacity;
    if (!(i >= 0 && i < this.length) || !Number.isInteger(i))
      throw invalidArgument('i', `an integer from 0 to ${this.length - 1}`, i);
    return this.#places?.[i]?.[0] ?? i;
  }

  #sizeAt([row, start]: readonly [row: number, start: number]): number {
    return Math.min(
      this.rows.get(row, ROW.SEGMENT) || this.rows.get(row, ROW.SIZE),
      this.rows.get(row, ROW.SIZE) - start,
    );
  }
}

const NO_NAMES = new Uint8Array(0);

/** Each datagram in `count` rows, of which each may hold several of one size, the last of them shorter. */
function placesIn(rows: DatagramRows, count: number): (readonly [row: number, start: number])[] | null {
  const places: [row: number, start: number][] = [];
  for (let row = 0; row < count; row++) {
    const segment = rows.get(row, ROW.SEGMENT);
    places.push([row, 0]);
    if (segment === 0) continue;
    for (let start = segment; start < rows.get(row, ROW.SIZE); start += segment) places.push([row, start]);
  }
  return places.length === count ? null : places;
}
