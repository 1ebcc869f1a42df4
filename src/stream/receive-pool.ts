import { Buffer } from 'node:buffer';
import * as threads from 'node:worker_threads';
import type { Chunk } from './read-buffer.ts';

/** As large as Node's own pool for small buffers: who keeps a line keeps no more than that. */
const SIZE = 8 * 1024;
/** With less room than this a receive would often be cut short. */
const LEAST_ROOM = 2 * 1024;

/**
 * Where small receives go. What came is handed out where it lies: no byte is copied, and no memory made
 * for it.
 *
 * Chunks share this memory, so that it cannot be transferred to another thread (structuredClone and
 * postMessage say so): the one would take the others with it.
 */
export class ReceivePool {
  #memory: Chunk = makeMemory();
  #start = 0;

  /** Memory with room from {@link start} on. */
  get memory(): Chunk {
    if (SIZE - this.#start < LEAST_ROOM) {
      this.#memory = makeMemory();
      this.#start = 0;
    }
    return this.#memory;
  }

  /** Where the room begins. */
  get start(): number {
    return this.#start;
  }

  /** The first `count` bytes of the room, now the caller's. */
  take(count: number): Chunk {
    const end = this.#start + count;
    const chunk = this.#memory.subarray(this.#start, end);
    // Chunks begin at multiples of eight bytes, as those of Node's pool do.
    this.#start = (end + 7) & ~7;
    return chunk;
  }
}

function makeMemory(): Chunk {
  const memory = Buffer.allocUnsafeSlow(SIZE);
  threads.markAsUntransferable?.(memory.buffer);
  return memory;
}
