/** How a runtime makes and cancels timers. */
export interface Timers<Handle> {
  /** By how much a timer may be early: what its runtime rounds away, 0 where it promises not to. */
  readonly earlyMs: number;
  schedule(delayMs: number, callback: () => void): Handle;
  cancel(handle: Handle): void;
}

const nothing = (): void => {};

/** A pseudo-random sequence, the same in every run: whole numbers from 1 to `most` (xorshift32). */
function createRandom(most: number): () => number {
  let state = 0x9e3779b9;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return ((state >>> 0) % most) + 1;
  };
}

/** The numbers from 0 to `count` - 1. */
function ascending(count: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, index) => index);
}

/** The same in random order (Fisher and Yates). */
function shuffled(count: number): Uint32Array {
  const order = ascending(count);
  const random = createRandom(2 ** 32);
  for (let last = count - 1; last > 0; last--) {
    const other = random() % (last + 1);
    const moved = order[last] ?? 0;
    order[last] = order[other] ?? 0;
    order[other] = moved;
  }
  return order;
}

/** CPU nanoseconds of making one of `count` timers, minutes away, and of cancelling it; they are cancelled in `order`. */
function scheduleAndCancel<Handle>(
  timers: Timers<Handle>,
  order: Uint32Array,
): { schedule: number; cancel: number } {
  const count = order.length;
  const random = createRandom(1_000_000);
  // Far enough that none comes due before it is cancelled.
  const delays = Float64Array.from({ length: count }, () => 60_000 + random());
  const handles: Handle[] = [];
  const start = process.cpuUsage();
  for (const delayMs of delays) handles.push(timers.schedule(delayMs, nothing));
  const schedule = cpuMsSince(start);
  const made = process.cpuUsage();
  for (const index of order) {
    const handle = handles[index];
    if (handle !== undefined) timers.cancel(handle);
  }
  const cancel = cpuMsSince(made);
  return { schedule: (schedule * 1e6) / count, cancel: (cancel * 1e6) / count };
}

/** User and system time of all threads of this process, garbage collection included. */
function cpuMsSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e3;
}

/**
 * Makes `count` timers with delays up to `spanMs` and waits for them all.
 *
 * @returns CPU milliseconds of the process.
 * @throws Error when one fires early.
 */
async function fire<Handle>(timers: Timers<Handle>, count: number, spanMs: number): Promise<number> {
  const random = createRandom(spanMs);
  const before = process.cpuUsage();
  await new Promise<void>((resolve, reject) => {
    let left = count;
    for (let i = 0; i < count; i++) {
      const delayMs = random();
      const dueAt = performance.now() + delayMs - timers.earlyMs;
      timers.schedule(delayMs, () => {
        if (performance.now() < dueAt) reject(new Error(`a timer of ${delayMs} ms fired early`));
        left--;
        if (left === 0) resolve();
      });
    }
  });
  return cpuMsSince(before);
}

/** Does the work of bench/timers.ts and prints its figures. Arguments: timers to cancel, to fire, their span in ms. */
export async function measureTimers<Handle>(timers: Timers<Handle>): Promise<void> {
  const [cancelled = 0, fired = 0, spanMs = 0] = process.argv.slice(2).map(Number);
  scheduleAndCancel(timers, ascending(Math.min(cancelled, 100_000))); // warm-up: compiled once
  const inOrder = scheduleAndCancel(timers, ascending(cancelled));
  const inDisorder = scheduleAndCancel(timers, shuffled(cancelled));
  const firedCpuMs = await fire(timers, fired, spanMs);
  const figures = {
    scheduleNs: inOrder.schedule,
    cancelNs: inOrder.cancel,
    cancelShuffledNs: inDisorder.cancel,
    firedCpuMs,
  };
  console.log(JSON.stringify(figures));
}
