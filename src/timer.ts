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

/** Runs one entry of a turn, times it and catches what it throws. */
export type RunEntry = (resource: AsyncResource, callback: () => unknown, kind: string) => void;

/** A timer; the async context of its making is that of its call. */
export class Timer extends AsyncResource implements TimerHandle {
  /** @internal */
  readonly queue: TimerQueue;
  /** @internal */
  readonly callback: (...args: never[]) => unknown;
  /** @internal */
  readonly args: readonly unknown[];
  /** @internal */
  id: number = INACTIVE;
  /** @internal */
  referenced = true;

  /** @internal */
  constructor(queue: TimerQueue, callback: (...args: never[]) => unknown, args: readonly unknown[]) {
    super('IOLoopTimer', MANUAL_DESTROY);
    this.queue = queue;
    this.callback = callback;
    this.args = args;
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

/** The timers of one loop, by the id that the heap in C++ knows them by. */
export class TimerQueue {
  readonly #poller: NativePoller;
  readonly #tables: TurnTables;
  readonly #scheduler: Scheduler;
  readonly #byId: (Timer | undefined)[] = [];
  #firing = false;

  constructor(scheduler: Scheduler) {
    this.#poller = scheduler.poller;
    this.#tables = scheduler.tables;
    this.#scheduler = scheduler;
  }

  /** A timer due `delayMs` from now. */
  later(delayMs: number, callback: (...args: never[]) => unknown, args: readonly unknown[]): Timer {
    const timer = new Timer(this, callback, args);
    this.#activate(timer, this.#poller.schedule(delayMs));
    return timer;
  }

  /** A timer due at `whenMs`. */
  at(whenMs: number, callback: (...args: never[]) => unknown, args: readonly unknown[]): Timer {
    const timer = new Timer(this, callback, args);
    this.#activate(timer, this.#poller.scheduleAt(whenMs));
    return timer;
  }

  cancel(timer: Timer): void {
    const id = timer.id;
    if (id === INACTIVE) return;
    this.#deactivate(timer);
    this.#poller.cancel(id);
  }

  reschedule(timer: Timer, delayMs: number): void {
    if (this.#scheduler.closed)
      throw new IOLoopError('ERR_IOLOOP_CLOSED', 'reschedule() of a timer whose loop is closed');
    // Among those that are due in this turn only a new id keeps it from firing with them.
    if (this.#firing) this.cancel(timer);
    if (timer.id === INACTIVE) this.#activate(timer, this.#poller.schedule(delayMs));
    else if (this.#poller.reschedule(timer.id, delayMs)) this.#scheduler.ask();
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
  }

  /** Ends all of them. */
  clear(): void {
    for (const timer of this.#byId) if (timer !== undefined) timer.id = INACTIVE;
    this.#byId.length = 0;
  }

  /** Those that wait for their time. */
  *pending(): Iterable<Timer> {
    for (const timer of this.#byId) if (timer !== undefined) yield timer;
  }

  #activate(timer: Timer, id: number): void {
    timer.id = id;
    this.#byId[id] = timer;
    if (timer.referenced) this.#scheduler.reference();
    else this.#scheduler.ask();
  }

  #deactivate(timer: Timer): void {
    this.#byId[timer.id] = undefined;
    timer.id = INACTIVE;
    if (timer.referenced) this.#scheduler.unreference();
  }
}
