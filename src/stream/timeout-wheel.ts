import type { IOLoop } from '../ioloop.ts';
import type { TimerHandle } from '../timer.ts';

/** Milliseconds of a tick: the most that an operation or idle timeout is late. */
export const TICK_MS = 100;
/** No check is due. */
export const NEVER = 0;

/** Something with deadlines. It waits in one place of the wheel at most, and costs that place alone. */
export interface WheelEntry {
  /** The tick at which it is looked at next, {@link NEVER}: at none. The wheel's to write. */
  wheelTick: number;
  /** Sees to the deadlines that have come by `tick`; the tick of the earliest that has not, or {@link NEVER}. */
  expire(tick: number): number;
}

/**
 * The deadlines of many streams by coarse ticks. Moving one later costs nothing: it is looked at when
 * its old time comes and put where it belongs then.
 */
export class TimeoutWheel {
  readonly #loop: IOLoop;
  readonly #slots = new Map<number, Set<WheelEntry>>();
  #timer: TimerHandle | null = null;
  /** The tick that the timer waits for. */
  #armed = Number.POSITIVE_INFINITY;

  constructor(loop: IOLoop) {
    this.#loop = loop;
  }

  /** The tick that has begun. */
  now(): number {
    return Math.floor(this.#loop.time() / TICK_MS);
  }

  /** The first tick that is no earlier than `delayMs` from now. */
  after(delayMs: number): number {
    return Math.ceil((this.#loop.time() + delayMs) / TICK_MS);
  }

  /** Sees to it that `entry` is looked at by `tick`, if it is not sooner already. */
  schedule(entry: WheelEntry, tick: number): void {
    if (entry.wheelTick !== NEVER && entry.wheelTick <= tick) return;
    this.forget(entry);
    entry.wheelTick = tick;
    const slot = this.#slots.get(tick);
    if (slot !== undefined) {
      slot.add(entry);
      return;
    }
    this.#slots.set(tick, new Set([entry]));
    if (tick < this.#armed) this.#arm(tick);
  }

  /** Looks at `entry` no more, and holds it no longer: a deadline may be far away. */
  forget(entry: WheelEntry): void {
    if (entry.wheelTick === NEVER) return;
    this.#slots.get(entry.wheelTick)?.delete(entry);
    entry.wheelTick = NEVER;
  }

  /** Forgets everybody: the timer does not outlive those it is for. */
  clear(): void {
    if (this.#slots.size === 0) return;
    for (const slot of this.#slots.values()) for (const entry of slot) this.forget(entry);
    this.#slots.clear();
    this.#timer?.cancel();
    this.#armed = Number.POSITIVE_INFINITY;
  }

  #arm(tick: number): void {
    this.#armed = tick;
    const delayMs = tick * TICK_MS - this.#loop.time();
    if (this.#timer === null) this.#timer = this.#loop.callLater(delayMs, this.#turn).unref();
    else this.#timer.reschedule(delayMs);
  }

  readonly #turn = (): void => {
    const now = this.now();
    this.#armed = Number.POSITIVE_INFINITY;
    for (const [tick, slot] of this.#slots) {
      if (tick > now) continue;
      for (const entry of slot) this.#look(entry, now);
      this.#slots.delete(tick);
    }
    let next = Number.POSITIVE_INFINITY;
    for (const tick of this.#slots.keys()) next = Math.min(next, tick);
    if (next < this.#armed) this.#arm(next);
  };

  #look(entry: WheelEntry, now: number): void {
    this.forget(entry);
    const next = entry.expire(now);
    if (next !== NEVER) this.schedule(entry, Math.max(next, now + 1));
  }
}

/** The earlier of two ticks. */
export function earlier(a: number, b: number): number {
  return a === NEVER ? b : b === NEVER ? a : Math.min(a, b);
}
