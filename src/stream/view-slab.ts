import { Buffer } from 'node:buffer';
import * as threads from 'node:worker_threads';
import type { Chunk } from './read-buffer.ts';

/** Bytes that one receive takes at most. */
const SIZE = 64 * 1024;
/** Views up to this length are kept: messages of a program are of few lengths, and most are short. */
const MAX_KEPT = 1024;
const memories = new WeakSet<ArrayBufferLike>();

/** Where bytes are received that are seen during a call only: they cost no memory, and mostly no object. */
export class ViewSlab {
  readonly memory: Chunk = Buffer.allocUnsafeSlow(SIZE);
  /** By length. */
  readonly #views: Chunk[] = [];
  #last: Chunk = this.memory;

  constructor() {
    memories.add(this.memory.buffer);
    threads.markAsUntransferable?.(this.memory.buffer);
  }

  /** The first `count` bytes. */
  view(count: number): Chunk {
    if (this.#last.length === count) return this.#last;
    this.#last = count <= MAX_KEPT ? this.#kept(count) : this.memory.subarray(0, count);
    return this.#last;
  }

  #kept(count: number): Chunk {
    // Filled from the bottom, so that it stays an array without holes.
    for (let length = this.#views.length; length <= count; length++)
      this.#views.push(this.memory.subarray(0, length));
    return this.#views[count] ?? this.memory.subarray(0, count);
  }
}

/** Whether `bytes` are such a view, whose memory is used again as soon as its receiver returns. */
export function isView(bytes: Uint8Array): boolean {
  return memories.has(bytes.buffer);
}
