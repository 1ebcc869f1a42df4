import { Buffer } from 'node:buffer';
import { invalidArgument } from '../arguments.ts';
import { IOLoopError } from '../errors.ts';
import { DatagramRows, FLAG, NAME_SIZE, ROW } from '../native-datagrams.ts';
import type { Chunk } from '../stream/read-buffer.ts';
import { type LoopDatagrams, slotSize } from './loop-datagrams.ts';
import type { MessageSettings } from './message-options.ts';

/** The socket that has received a batch. */
export interface BatchOwner {
  readonly datagrams: LoopDatagrams;
  readonly settings: MessageSettings;
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
  /** Where each message is; null: each is a row. */
  readonly #places: readonly Place[] | null = null;

  /** @internal */
  constructor(owner: BatchOwner, count: number) {
    const { datagrams, settings } = owner;
    this.#owner = owner;
    this.#rows = datagrams.rows;
    if (settings.isJoining) this.#places = placesIn(datagrams.rows, count, settings.maxPacketSize);
    this.length = this.#places?.length ?? count;
  }

  /** The bytes of message `i`: a view, valid during the call. */
  data(i: number): Buffer {
    const row = this.rowOf(i);
    const { datagrams, settings } = this.#owner;
    const { maxPacketSize, receiveSize } = settings;
    const place = this.#places?.[i];
    const size = Math.min(place?.size ?? this.rows.get(row, ROW.SIZE), maxPacketSize);
    if (place === undefined) return datagrams.view(row, receiveSize, size);
    return datagrams.part(row * slotSize(receiveSize) + place.start, size);
  }

  /** Whether message `i` was longer than `maxPacketSize`, and its end is lost. */
  truncated(i: number): boolean {
    const place = this.#places?.[i];
    const isLong = place !== undefined && place.size > this.#owner.settings.maxPacketSize;
    return this.rows.has(this.rowOf(i), FLAG.TRUNCATED) || isLong;
  }

  /**
   * Sends `data` to where message `i` came from, from the address that it was sent to. It is copied,
   * and leaves with the other replies of the turn; what goes wrong is told to `onError`.
   */
  reply(i: number, data: string | Uint8Array): void {
    this.#owner.reply(this.rowOf(i), data);
  }

  /** @internal How many descriptors came with message `i`. */
  fdCount(i: number): number {
    return this.rows.get(this.rowOf(i), ROW.FD_COUNT);
  }

  /** @internal What message `i` counts for while it waits for its taker. */
  weight(i: number): number {
    return this.data(i).length + this.fdCount(i) * FD_WEIGHT;
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

  /** @internal The rows of the batch as they were received; `null`: some of them are no single message, or too long. */
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
    return this.#places?.[i]?.row ?? i;
  }
}

const NO_NAMES = new Uint8Array(0);
/** What a descriptor counts for while it waits: a peer may send 253 with a byte, and the table of a process is small. */
const FD_WEIGHT = 2 * 1024;

/** Where a message is that came with others in one row. */
interface Place {
  readonly row: number;
  /** From the beginning of the row's slot. */
  readonly start: number;
  readonly size: number;
}

/** The messages in `count` rows, of which each may hold several of one size, the last of them shorter; null: none is special. */
function placesIn(rows: DatagramRows, count: number, maxPacketSize: number): readonly Place[] | null {
  const places: Place[] = [];
  let isPlain = true;
  for (let row = 0; row < count; row++) {
    const end = rows.get(row, ROW.SIZE);
    const segment = rows.get(row, ROW.SEGMENT) || end;
    isPlain &&= segment === end && end <= maxPacketSize;
    let start = 0;
    // One of no bytes is a message, too.
    do {
      places.push({ row, start, size: Math.min(segment, end - start) });
      start += segment;
    } while (start < end);
  }
  return isPlain ? null : places;
}
