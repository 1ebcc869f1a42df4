import { totalmem } from 'node:os';
import { addon } from '../native.ts';

const GiB = 2 ** 30;
/** What has changed here is told to the process in steps of so many bytes. */
const STEP = 64 * 1024;
/** The share of the budget at which the largest holders stop reading, and to which evictions lead back. */
const HIGH_SHARE = 7 / 8;

/** A buffer of somebody else that streams here hold, and how many bytes of it they are to send. */
interface Held {
  readonly size: number;
  views: number;
  bytes: number;
}

/**
 * The bytes that streams may hold in memory, for the whole process: its threads share one sum.
 *
 * Each thread counts for itself and tells the others when that has changed by 64 KiB, so that what is
 * read costs no call; the sum may be off by that much a thread.
 */
class MemoryBudget {
  /** What streams of this thread hold. */
  #here = 0;
  /** Of that, what the process knows of. */
  #told = 0;
  /** What other threads hold, as of the last telling. */
  #elsewhere = 0;
  #limit = 0;
  readonly #held = new Map<ArrayBufferLike, Held>();

  /** The limit in bytes: what a loop was made with, else {@link defaultMemoryBudget}. */
  get limit(): number {
    if (this.#limit === 0) this.refresh();
    return this.#limit;
  }

  /** What streams of the process hold, in bytes. */
  get used(): number {
    return this.#here + this.#elsewhere;
  }

  /** Whether nothing more can be taken in. */
  get isReached(): boolean {
    return this.used >= this.limit;
  }

  /** Whether so little is left that the largest holders should take in no more. */
  get isHigh(): boolean {
    return this.used >= this.limit * HIGH_SHARE;
  }

  /** Learns what other threads hold, and whether the limit has changed. */
  refresh(): void {
    const { memoryAdd, memoryBudget } = addon();
    this.#limit = memoryBudget();
    if (this.#limit === 0) this.#limit = memoryBudget(defaultMemoryBudget());
    const delta = this.#here - this.#told;
    this.#told = this.#here;
    this.#elsewhere = memoryAdd(delta) - this.#here;
  }

  /** Counts `bytes` more, or fewer. */
  add(bytes: number): void {
    this.#here += bytes;
    if (Math.abs(this.#here - this.#told) >= STEP) this.refresh();
  }

  /** Counts `view`, which is held by reference: its buffer counts once, however many streams hold it. */
  hold(view: Uint8Array): void {
    let held = this.#held.get(view.buffer);
    if (held === undefined) {
      held = { size: view.buffer.byteLength, views: 0, bytes: 0 };
      this.#held.set(view.buffer, held);
    }
    this.#recount(held, 1, view.byteLength);
  }

  /** The end of {@link hold} for a view of `bytes`, of a buffer that may have been transferred since. */
  release(buffer: ArrayBufferLike, bytes: number): void {
    const held = this.#held.get(buffer);
    if (held === undefined) return;
    if (held.views === 1) this.#held.delete(buffer);
    this.#recount(held, -1, -bytes);
  }

  #recount(held: Held, views: number, bytes: number): void {
    const before = Math.min(held.bytes, held.size);
    held.views += views;
    held.bytes += bytes;
    this.add(Math.min(held.bytes, held.size) - before);
  }
}

/** This thread's part of it. */
export const memoryBudget: MemoryBudget = new MemoryBudget();

/** The least of 1 GiB, a quarter of the machine's memory, and half the limit of its cgroup (cgroups(7)). */
export function defaultMemoryBudget(): number {
  const constrained = process.constrainedMemory?.() ?? 0;
  const cgroup = constrained > 0 && constrained < totalmem() ? constrained / 2 : Number.POSITIVE_INFINITY;
  return Math.floor(Math.min(GiB, totalmem() / 4, cgroup));
}
