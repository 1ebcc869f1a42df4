/**
 * What the two threads of bench/waker.ts share: when the worker woke the loop, and how many
 * wake-ups the loop has seen.
 */
export class WakeBoard {
  readonly memory: SharedArrayBuffer;
  readonly #sentAt: BigInt64Array;
  readonly #seen: Int32Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(16)) {
    this.memory = memory;
    this.#sentAt = new BigInt64Array(memory, 0, 1);
    this.#seen = new Int32Array(memory, 8, 1);
  }

  /** In the worker, just before the wake-up. */
  noteSend(): void {
    Atomics.store(this.#sentAt, 0, process.hrtime.bigint());
  }

  /** In the loop: microseconds since the worker sent. */
  noteArrival(): number {
    const elapsed = process.hrtime.bigint() - Atomics.load(this.#sentAt, 0);
    Atomics.add(this.#seen, 0, 1);
    Atomics.notify(this.#seen, 0);
    return Number(elapsed) / 1e3;
  }

  /** In the worker: sleeps until the loop has seen `count` wake-ups, then long enough for it to fall asleep. */
  awaitArrival(count: number): void {
    for (;;) {
      const seen = Atomics.load(this.#seen, 0);
      if (seen === count) break;
      if (seen > count) throw new Error(`${seen} wake-ups arrived of ${count} sent`);
      if (Atomics.wait(this.#seen, 0, seen, 5_000) === 'timed-out') throw new Error('a wake-up was lost');
    }
    Atomics.wait(this.#seen, 0, count, 0.2);
  }
}
