import { AsyncResource } from 'node:async_hooks';
import { checkMilliseconds } from './arguments.ts';
import { IOLoopError } from './errors.ts';
import type { NativePoller, TurnTables } from './native.ts';
import type { Scheduler } from './scheduler.ts';

/** A call that a loop makes later; from {@link IOLoop.callLater} and {@link IOLoop.callAt}. */
export interface TimerHandle {
  /** Does not call, if it has not yet. */
  cancel(): void;
  /**
   * Calls `delayMs` from now instead; also arms one again that has fired (Node's `refresh`).
   *
   * @param delayMs Milliseconds; fractions count, negatives mean now.
   */
  reschedule(delayMs: number): void;
  /** Whether it waits for its time. */
  readonly active: boolean;
  /** Keeps the process alive while it waits: the default. */
  ref(): this;
  /** Does not keep the process alive. */
  unref(): this;
  /** Cancels. */
  [Symbol.dispose](): void;
}

const MANUAL_DESTROY = { requireManualDestroy: true };
const INACTIVE = -1;

/** A timer; the async context of its making is that of its call. */
export class Timer extends AsyncResource implements TimerHandle {
  /** @internal */
  readonly queue: TimerQueue;
  /** @internal */
  readonly callback: () => unknown;
  /** @internal */
  id: number = INACTIVE;
  /** @internal */
  referenced = true;

  /** @internal */
  constructor(queue: TimerQueue, callback: () => unknown) {
    super('IOLoopTimer', MANUAL_DESTROY);
    this.queue = queue;
    this.callback = callback;
  }

  get active(): boolean {
    return this.id !== INACTIVE;
  }

  cancel(): void {
    this.queue.cancel(this);
  }

  reschedule(delayMs: number): void {
    checkMilliseconds(delayMs, 'delayMs');
    this.queue.reschedule(this, delayMs);
  }

  ref(): this {
    this.queue.setReferenced(this, true);
    return this;
  }

  unref(): this {
    this.queue.setReferenced(this, false);
    return this;
  }

  [Symbol.dispose](): void {
    this.cancel();
  }
}

/**
 * The timers of one loop. The heap in C++ orders them by deadline and knows them by the ids that are
 * given out here; what happens to them crosses as a log, carried out before the heap is looked at.
 */
export class TimerQueue {
  readonly #poller: NativePoller;
  readonly #tables: TurnTables;
  readonly #scheduler: Scheduler;
  readonly #clock: () => number;
  readonly #byId: (Timer | undefined)[] = [];
  readonly #freeIds: number[] = [];
  /** Ids that came free while due timers fire: a new timer must not be taken for a due one. */
  #heldIds: number[] = [];
  #firing = false;
  #size = 0;

  /** @param clock Now, in milliseconds on the scale of the heap. */
  constructor(scheduler: Scheduler, clock: () => number) {
    this.#poller = scheduler.poller;
    this.#tables = scheduler.tables;
    this.#scheduler = scheduler;
    this.#clock = clock;
  }

  /** How many wait for their time. */
  get size(): number {
    return this.#size;
  }

  /** A timer due `delayMs` from now. */
  later(delayMs: number, callback: () => unknown): Timer {
    return this.at(this.#deadline(delayMs), callback);
  }

  /** A timer due at `whenMs`. */
  at(whenMs: number, callback: () => unknown): Timer {
    const timer = new Timer(this, callback);
    this.#activate(timer, whenMs);
    return timer;
  }

  cancel(timer: Timer): void {
    const id = timer.id;
    if (id === INACTIVE) return;
    this.#deactivate(timer);
    this.#note(id, Number.NaN);
  }

  reschedule(timer: Timer, delayMs: number): void {
    if (this.#scheduler.closed)
      throw new IOLoopError('ERR_IOLOOP_CLOSED', 'reschedule() of a timer whose loop is closed');
    // Among those that are due in this turn only a new id keeps it from firing with them.
    if (this.#firing) this.cancel(timer);
    const whenMs = this.#deadline(delayMs);
    if (timer.id === INACTIVE) {
      this.#activate(timer, whenMs);
      return;
    }
    this.#note(timer.id, whenMs);
    this.#scheduler.ask();
  }

  setReferenced(timer: Timer, referenced: boolean): void {
    if (timer.referenced === referenced) return;
    timer.referenced = referenced;
    if (timer.id === INACTIVE) return;
    if (referenced) this.#scheduler.reference();
    else this.#scheduler.unreference();
  }

  /** Calls `run` for each timer that this turn found due and that nobody cancelled meanwhile. */
  fire(run: (timer: Timer) => void): void {
    this.#firing = true;
    const count = this.#tables.dueCount;
    for (let row = 0; row < count && !this.#scheduler.closed; row++) {
      const timer = this.#byId[this.#tables.dueTimer(row)];
      if (timer === undefined) continue;
      this.#deactivate(timer);
      run(timer);
    }
    this.#firing = false;
    for (const id of this.#heldIds) this.#freeIds.push(id);
    this.#heldIds = [];
  }

  /** Ends all of them. */
  clear(): void {
    for (const timer of this.#byId) if (timer !== undefined) timer.id = INACTIVE;
    this.#byId.length = 0;
    this.#size = 0;
  }

  /** Those that wait for their time. */
  *pending(): Iterable<Timer> {
    for (const timer of this.#byId) if (timer !== undefined) yield timer;
  }

  #deadline(delayMs: number): number {
    return this.#clock() + Math.max(delayMs, 0);
  }

  #activate(timer: Timer, whenMs: number): void {
    const id = this.#freeIds.pop() ?? this.#byId.length;
    timer.id = id;
    this.#byId[id] = timer;
    this.#size++;
    this.#note(id, whenMs);
    if (timer.referenced) this.#scheduler.reference();
    else this.#scheduler.ask();
  }

  #deactivate(timer: Timer): void {
    this.#byId[timer.id] = undefined;
    (this.#firing ? this.#heldIds : this.#freeIds).push(timer.id);
    timer.id = INACTIVE;
    this.#size--;
    if (timer.referenced) this.#scheduler.unreference();
  }

  #note(id: number, whenMs: number): void {
    if (this.#tables.timerLogFull) this.#poller.applyTimerOps();
    this.#tables.noteTimer(id, whenMs);
  }
}
