/** The native half of a loop: native/binding/poller_wrap.h. */
export interface NativePoller {
  /** The registration's generation, more than 0, or -errno. */
  add(fd: number, interest: number): number;
  modify(fd: number, interest: number): number;
  remove(fd: number): boolean;
  /**
   * remove() of a descriptor that is closed right afterwards and has no duplicate: epoll(7) and
   * kqueue(2) drop it by themselves then, so no system call is spent on it.
   */
  forget(fd: number): boolean;
  /** Carries out the timer log; see {@link TurnTables.noteTimer}. */
  applyTimerOps(): void;
  /** Monotonic milliseconds. */
  time(): number;
  /** Until the next deadline; Infinity: none. */
  timeoutMs(): number;
  pollableFd(): number;
  /** The wait of a manual turn: fills the tables. */
  runOnce(timeoutMs: number): number;
  /** Arms the earliest deadline and tells the driver what the loop wants. */
  settled(): void;
  counters(target: Float64Array): void;
  close(): void;
}

/** What {@link NativePoller.counters} fills in, in this order. */
export interface PollerCounters {
  readonly polls: number;
  readonly wakeUps: number;
  readonly events: number;
  readonly orphanEvents: number;
  readonly timersFired: number;
  readonly systemCalls: number;
  readonly busyMs: number;
}

/** Reads `poller`'s counters. */
export function readCounters(poller: NativePoller): PollerCounters {
  const values = new Float64Array(7);
  poller.counters(values);
  const [polls, wakeUps, events, orphanEvents, timersFired, systemCalls, busyMs] = [...values] as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  return { polls, wakeUps, events, orphanEvents, timersFired, systemCalls, busyMs };
}

// native/binding/turn_runner.h has the same list.
const READY_COUNT = 0;
const DUE_COUNT = 1;
const WAIT_ERROR = 2;
const IN_TURN = 3;
const CALLBACKS = 4;
const REFERENCES = 5;
const WORK = 6;
const DETACHED = 7;
const TIMER_OPS = 8;
const HEADER = 16;
const MAX_DUE = 1024;
const MAX_TIMER_OPS = 1024;

/**
 * The memory that both sides share: what a turn found, and what the loop wants next.
 *
 * It is a SharedArrayBuffer because that cannot be detached under the addon's hands.
 */
export class TurnTables {
  /** For the addon's constructor alone. */
  readonly words: Int32Array;
  readonly #due: number;
  readonly #timerLog: Float64Array;

  constructor(maxEvents: number) {
    this.#due = HEADER + maxEvents * 3;
    const timerLogAt = Math.ceil((this.#due + MAX_DUE) / 2) * 2;
    const memory = new SharedArrayBuffer((timerLogAt + MAX_TIMER_OPS * 4) * Int32Array.BYTES_PER_ELEMENT);
    this.words = new Int32Array(memory);
    this.#timerLog = new Float64Array(memory, timerLogAt * Int32Array.BYTES_PER_ELEMENT);
  }

  get readyCount(): number {
    return this.words[READY_COUNT] as number;
  }
  readyFd(row: number): number {
    return this.words[HEADER + row * 3] as number;
  }
  readyBits(row: number): number {
    return this.words[HEADER + row * 3 + 1] as number;
  }
  readyGeneration(row: number): number {
    return this.words[HEADER + row * 3 + 2] as number;
  }
  get dueCount(): number {
    return this.words[DUE_COUNT] as number;
  }
  dueTimer(row: number): number {
    return this.words[this.#due + row] as number;
  }

  /** 0, or -errno of a wait that failed and found nothing. */
  get waitError(): number {
    return this.words[WAIT_ERROR] as number;
  }

  get #timerOps(): number {
    return this.words[TIMER_OPS] as number;
  }
  /** Whether the timer log takes no more: time for {@link NativePoller.applyTimerOps}. */
  get timerLogFull(): boolean {
    return this.#timerOps >= MAX_TIMER_OPS;
  }
  /**
   * Notes that timer `id` is due at `whenMs`, NaN: is cancelled. Carried out in order before the
   * timers are looked at next, so that a timer costs no call of its own.
   */
  noteTimer(id: number, whenMs: number): void {
    const place = this.#timerOps;
    this.#timerLog[place * 2] = whenMs;
    this.#timerLog[place * 2 + 1] = id;
    this.words[TIMER_OPS] = place + 1;
  }
  /** From dispatch until the turn has settled. */
  get inTurn(): boolean {
    return this.words[IN_TURN] !== 0;
  }
  set inTurn(value: boolean) {
    this.words[IN_TURN] = value ? 1 : 0;
  }
  /** Callbacks that wait for the next turn. */
  get callbacks(): number {
    return this.words[CALLBACKS] as number;
  }
  set callbacks(value: number) {
    this.words[CALLBACKS] = value;
  }
  /** What keeps the process alive. */
  get references(): number {
    return this.words[REFERENCES] as number;
  }
  set references(value: number) {
    this.words[REFERENCES] = value;
  }
  /** Whether settling has something to do in JavaScript. */
  get work(): boolean {
    return this.words[WORK] !== 0;
  }
  set work(value: boolean) {
    this.words[WORK] = value ? 1 : 0;
  }
  /** Whether the references count for nothing: loop.unref(). */
  get detached(): boolean {
    return this.words[DETACHED] !== 0;
  }
  set detached(value: boolean) {
    this.words[DETACHED] = value ? 1 : 0;
  }
}
