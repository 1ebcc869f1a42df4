import { Buffer } from 'node:buffer';
import { type Deferred, deferred } from '../deferred.ts';
import { memoryBudget } from './memory-budget.ts';
import type { OutgoingFds } from './outgoing-fds.ts';
import type { OutgoingFile } from './outgoing-file.ts';
import type { Chunk } from './read-buffer.ts';
import { SETTLED } from './wait.ts';

/** A write of so many bytes or more is kept by reference, of fewer by copy. */
export const BORROWED_FROM: number = 16 * 1024;
/** Short strings are taken over faster by a loop than by a call. */
const SHORT_TEXT = 24;
const SMALL = 2 * 1024;
const LARGE = 16 * 1024;

/** Bytes on their way: copied into a buffer of ours, the caller's own, or those of a file. */
export class Outgoing {
  /** Where they are; those of a file are not in memory. */
  readonly bytes: Uint8Array;
  /** `bytes`, when it is a buffer of ours. */
  readonly own: Chunk | null;
  readonly file: OutgoingFile | null;
  /** Descriptors that go with the first byte, until that has left. */
  fds: OutgoingFds | null = null;
  start = 0;
  end: number;
  /** What leaves after it. */
  next: Outgoing | null = null;
  /** Settles when they have left. */
  sent: Deferred | null = null;

  constructor(bytes: Uint8Array, own: Chunk | null, file: OutgoingFile | null = null) {
    this.bytes = bytes;
    this.own = own;
    this.file = file;
    this.end = own === null ? bytes.byteLength : 0;
  }

  get isBorrowed(): boolean {
    return this.own === null && this.file === null;
  }

  /** Whether all of it has left; a file says so itself. */
  get hasLeft(): boolean {
    return this.file === null && this.start === this.end;
  }

  /** Settles when all of it has left. */
  whenSent(): Promise<void> {
    this.sent ??= quietly(deferred());
    return this.sent.promise;
  }

  /** The first byte has left, or never will. */
  closeFds(): void {
    this.fds?.close();
    this.fds = null;
  }

  /** Whether the caller has shrunk or transferred what was to be sent. */
  get isGone(): boolean {
    return this.isBorrowed && this.bytes.byteLength !== this.end;
  }
}

const NOTHING = new Uint8Array(0);

/**
 * What a stream has been given to write and the kernel has not taken yet.
 *
 * Small writes are coalesced into buffers of the queue's own; big ones are kept by reference. A queue
 * that has been emptied keeps one buffer, so that the next write allocates nothing.
 */
export class WriteQueue {
  /** Bytes in memory that wait, those of others included; a file's are not in memory. */
  bytes = 0;
  /** Of them, those that were copied. */
  copied = 0;
  /** Settles when no more than the high water mark wait; {@link drained} says that it is so. */
  #drain: Deferred | null = null;
  #first: Outgoing | null = null;
  #last: Outgoing | null = null;
  /** The last chunk, if it still takes bytes. */
  #open: Outgoing | null = null;
  #kept: Outgoing | null = null;

  /** Whether everything has left. */
  get isEmpty(): boolean {
    return this.#first === null;
  }

  /** What leaves next. */
  get front(): Outgoing | null {
    return this.#first;
  }

  /** Adds a copy of `data`. */
  copy(data: Uint8Array): void {
    const { length } = data;
    const chunk = this.#room(length);
    chunk.bytes.set(data, chunk.end);
    this.#added(chunk, length);
  }

  /** Adds `text` as UTF-8; `most` bytes are enough for it. */
  copyText(text: string, most: number): void {
    const chunk = this.#room(most);
    if (chunk.own !== null) this.#added(chunk, writeText(chunk.own, text, chunk.end));
  }

  /** Adds `data` itself. */
  borrow(data: Uint8Array): Outgoing {
    const chunk = new Outgoing(data, null);
    this.#push(chunk);
    this.bytes += data.length;
    memoryBudget.hold(data);
    return chunk;
  }

  /** Adds `data` itself, with descriptors on its first byte; the promise settles when all of it has left. */
  addWithFds(data: Uint8Array, fds: OutgoingFds): Promise<void> {
    const chunk = this.borrow(data);
    chunk.fds = fds;
    return chunk.whenSent();
  }

  /** Adds a file; the promise settles when it has left. */
  addFile(file: OutgoingFile): Promise<void> {
    const chunk = new Outgoing(NOTHING, null, file);
    this.#push(chunk);
    return chunk.whenSent();
  }

  /** Settles when all that is in the queue now has left. */
  flushed(): Promise<void> {
    // What is written from now on is not waited for.
    this.#open = null;
    return this.#last?.whenSent() ?? SETTLED;
  }

  /** Settles when the queue has fallen to the high water mark; one promise for all who wait. */
  whenDrained(): Promise<void> {
    this.#drain ??= quietly(deferred());
    return this.#drain.promise;
  }

  /** The queue has fallen to the high water mark. */
  drained(): void {
    this.#drain?.resolve();
    this.#drain = null;
  }

  /** The views at the front, at most `most` of them, up to the first file or descriptor; the first is not whole: `front.start`. */
  views(most: number): Uint8Array[] {
    const views: Uint8Array[] = [];
    for (let chunk = this.#first; chunk !== null && views.length < most; chunk = chunk.next) {
      if (chunk.file !== null || chunk.fds !== null || chunk.isGone) break;
      views.push(chunk.isBorrowed ? chunk.bytes : chunk.bytes.subarray(0, chunk.end));
    }
    return views;
  }

  /** Whether more than one chunk is there. */
  get isMany(): boolean {
    return this.#first !== this.#last;
  }

  /** `count` bytes at the front have left. */
  advance(count: number): void {
    let left = count;
    for (let chunk = this.#first; chunk !== null; chunk = this.#first) {
      const size = Math.min(left, chunk.end - chunk.start);
      chunk.start += size;
      left -= size;
      this.bytes -= size;
      if (chunk.own !== null) this.#countCopied(-size);
      if (!chunk.hasLeft) return;
      this.shift();
    }
  }

  /** The first chunk has left as a whole. */
  shift(): void {
    const chunk = this.#first;
    if (chunk === null) return;
    this.#first = chunk.next;
    if (this.#first === null) this.#forgetAll();
    chunk.next = null;
    if (chunk.own !== null && chunk.own.length <= LARGE) this.#kept = chunk;
    if (chunk.isBorrowed) memoryBudget.release(chunk.bytes.buffer, chunk.end);
    chunk.sent?.resolve();
    chunk.sent = null;
  }

  /** All that waits is dropped; who waits for it is told why. */
  fail(error: Error): void {
    const dropped = this.#first;
    this.#forgetAll();
    this.bytes = 0;
    this.#countCopied(-this.copied);
    for (let chunk = dropped; chunk !== null; chunk = chunk.next) {
      if (chunk.isBorrowed) memoryBudget.release(chunk.bytes.buffer, chunk.end);
      chunk.closeFds();
      chunk.sent?.reject(error);
    }
    this.#drain?.reject(error);
    this.#drain = null;
  }

  #push(chunk: Outgoing): void {
    this.#open = null;
    if (this.#last === null) this.#first = chunk;
    else this.#last.next = chunk;
    this.#last = chunk;
  }

  #countCopied(bytes: number): void {
    this.copied += bytes;
    memoryBudget.add(bytes);
  }

  #added(chunk: Outgoing, length: number): void {
    chunk.end += length;
    this.bytes += length;
    this.#countCopied(length);
  }

  /** The chunk at the end, with room for `size` bytes more. */
  #room(size: number): Outgoing {
    const open = this.#open;
    if (open !== null && open.bytes.length - open.end >= size) return open;
    const chunk = this.#make(size);
    this.#push(chunk);
    this.#open = chunk;
    return chunk;
  }

  /** A chunk of our own with that much room: the one that was kept, or a new one. */
  #make(size: number): Outgoing {
    const kept = this.#kept;
    if (kept !== null && kept.bytes.length >= size) {
      this.#kept = null;
      kept.start = 0;
      kept.end = 0;
      return kept;
    }
    const room = size <= SMALL && this.isEmpty ? SMALL : Math.max(size, LARGE);
    return makeOwn(room);
  }

  #forgetAll(): void {
    this.#first = null;
    this.#last = null;
    this.#open = null;
  }
}

function makeOwn(room: number): Outgoing {
  const own = Buffer.allocUnsafeSlow(room);
  return new Outgoing(own, own);
}

/** Nobody has to wait for a write: its failure is the stream's. */
function quietly(waiter: Deferred): Deferred {
  waiter.promise.catch(() => {});
  return waiter;
}

/** Writes `text` as UTF-8 to `target` at `offset`; the bytes it took. */
function writeText(target: Chunk, text: string, offset: number): number {
  const { length } = text;
  if (length > SHORT_TEXT) return target.write(text, offset);
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return target.write(text, offset);
    target[offset + i] = code;
  }
  return length;
}
