import { AsyncResource } from 'node:async_hooks';
import {
  checkBoolean,
  checkFd,
  checkFunction,
  checkInteger,
  checkMilliseconds,
  checkOneOf,
  checkOptions,
  checkSignal,
  invalidArgument,
} from './arguments.ts';
import { type BackendName, chooseBackend, findSimNetwork, hasNodeDriver, systemCall } from './backend.ts';
import { type Deferred, deferred } from './deferred.ts';
import { diagnostics } from './diagnostics.ts';
import { EntryRunner } from './entry-runner.ts';
import { IOLoopError, SystemError } from './errors.ts';
import { type Handler, HandlerTable } from './handler.ts';
import { ALL_INTERESTS, Interest } from './interest.ts';
import { Lifecycle } from './lifecycle.ts';
import type { LoopPart, PartMetrics } from './loop-part.ts';
import { addon, drainTicks, monotonicClock, type NativePoller, readCounters, TurnTables } from './native.ts';
import { Scheduler } from './scheduler.ts';
import { SlowCallbackMonitor } from './slow-callback.ts';
import { type TimerHandle, TimerQueue } from './timer.ts';
import { Waker } from './waker.ts';

/** How long to wait: ends the waiting with an AbortError or a {@link TimeoutError}. */
export interface WaitOptions {
  signal?: AbortSignal | undefined;
  timeoutMs?: number | undefined;
}

/** What a loop is made of. */
export interface LoopOptions {
  /** `'auto'`, the default: `IOLOOP_BACKEND` if that is set, else the best of {@link IOLoop.backends}. */
  backend?: BackendName | 'auto' | undefined;
  /** Who gives it its turns: Node's own loop (the default), or your calls of runOnce(). */
  drive?: 'node' | 'manual' | undefined;
  /** Whether IOLoop.current() returns it: by default the first loop made in a thread. */
  current?: boolean | undefined;
  /** Descriptors that one turn serves at most; 256. The rest are served by the next. */
  maxEvents?: number | undefined;
  /** Warn of callbacks that take longer; 0, the default: do not measure. */
  slowCallbackMs?: number | undefined;
  /** Where errors of handlers, timers and callbacks go; by default each is an uncaughtException. */
  onError?: ((error: unknown) => void) | undefined;
  /** Bytes that all streams of the process may hold together. */
  memoryBudget?: number | undefined;
}

/** What a loop has done and holds. Counts, but for the two times. */
export type LoopMetrics = Readonly<
  Record<
    | 'turns'
    | 'polls'
    | 'wakeUps'
    | 'events'
    | 'staleEvents'
    | 'spuriousEvents'
    | 'systemCalls'
    | 'timersFired'
    | 'busyMs'
    | 'idleMs'
    | 'handlers'
    | 'timers'
    | 'streams'
    | 'bytesBuffered'
    | 'bytesQueued'
    | 'acceptsShed'
    | 'datagramsDropped',
    number
  >
>;

const CURRENT = Symbol.for('ioloop.current');
const MAX_SETTLE_ROUNDS = 16;
const DEFAULT_GRACE_MS = 30_000;
const MANUAL_DESTROY = { requireManualDestroy: true };

/** A callback in the queue; the async context of its making is that of its call. */
class QueuedCallback extends AsyncResource {
  readonly callback: () => unknown;

  constructor(callback: () => unknown) {
    super('IOLoopCallback', MANUAL_DESTROY);
    this.callback = callback;
  }
}

const NO_CALLBACKS: readonly QueuedCallback[] = [];

/**
 * An event loop on one of the kernel's pollers.
 *
 * One turn: due timers, ready handlers, the callbacks queued before it, then ticks and microtasks.
 * Callbacks and timers made during a turn wait for the next. With `drive: 'node'` the turns come from
 * Node's own loop and nothing in Node stops working; with `drive: 'manual'` they are your calls of
 * {@link IOLoop.runOnce}.
 */
export class IOLoop {
  /** The poller behind it. */
  readonly backend: BackendName;
  /** Who gives it its turns. */
  readonly drive: 'node' | 'manual';
  readonly #poller: NativePoller;
  readonly #tables: TurnTables;
  /** @internal */
  readonly scheduler: Scheduler;
  readonly #timers: TimerQueue;
  /** @internal */
  readonly handlers: HandlerTable;
  readonly #lifecycle: Lifecycle;
  readonly #runner: EntryRunner;
  readonly #monitor: SlowCallbackMonitor | undefined;
  /** Each with the descriptor that is watched for it. */
  readonly #wakers = new Map<Waker, number>();
  readonly #parts: LoopPart[] = [];
  readonly #callsSettle: boolean;
  readonly #clock: () => number;
  readonly #born: number;
  readonly #fd: number;
  #callbacks: QueuedCallback[] = [];
  // The addon times the turns that it runs itself.
  #manualBusyMs = 0;
  #closed: Deferred | undefined;

  /** The backends of this build on this system, best first. */
  static get backends(): readonly BackendName[] {
    return addon().backends;
  }

  /** This thread's loop: the first one made here (Tornado's rule; `current` says otherwise), else one made now. */
  static current(): IOLoop {
    return currentLoop() ?? new IOLoop();
  }

  /**
   * @throws {@link IOLoopError} `ERR_IOLOOP_UNKNOWN_BACKEND` with the names that exist,
   *   `ERR_IOLOOP_INVALID_ARGUMENT`; {@link SystemError} when there are no descriptors left (EMFILE).
   */
  constructor(options?: LoopOptions) {
    checkOptions(options);
    const {
      drive = 'node',
      current,
      maxEvents = 256,
      slowCallbackMs = 0,
      onError,
      memoryBudget,
    } = options ?? {};
    checkOneOf(drive, 'options.drive', ['node', 'manual']);
    checkBoolean(current, 'options.current');
    checkInteger(maxEvents, 'options.maxEvents', 1, 1024);
    checkMilliseconds(slowCallbackMs, 'options.slowCallbackMs');
    if (onError !== undefined) checkFunction(onError, 'options.onError');
    if (memoryBudget !== undefined)
      checkInteger(memoryBudget, 'options.memoryBudget', 1, Number.MAX_SAFE_INTEGER);
    if (memoryBudget !== undefined) addon().memoryBudget(memoryBudget);
    this.drive = drive;
    this.backend = chooseBackend(options?.backend);
    this.#monitor = slowCallbackMs > 0 ? new SlowCallbackMonitor(slowCallbackMs) : undefined;
    this.#tables = new TurnTables(maxEvents);
    this.#callsSettle = drive === 'node' && !hasNodeDriver();
    const network = findSimNetwork(this.backend);
    this.#poller = new (addon().Poller)(
      network ?? this.backend,
      this.#callsSettle ? 'thread' : drive,
      this.#tables.words,
      maxEvents,
      this.#dispatch,
      () => this.scheduler.settle(),
      () => this.#closed?.resolve(),
    );
    this.scheduler = new Scheduler(this.#poller, this.#tables, this.#settle, onError);
    this.#clock = network === undefined ? monotonicClock(this.#poller) : () => this.#poller.time();
    this.#timers = new TimerQueue(this.scheduler, this.#clock);
    this.#lifecycle = new Lifecycle(this.scheduler, this.#timers);
    this.handlers = new HandlerTable(this.scheduler, systemCall(this.backend));
    this.#runner = new EntryRunner(this.scheduler, this.handlers, this.#monitor);
    this.#born = this.#clock();
    this.#fd = this.#poller.pollableFd();
    if (current ?? currentLoop() === undefined) Reflect.set(globalThis, CURRENT, this);
    if (diagnostics.loopCreated.hasSubscribers) diagnostics.loopCreated.publish({ loop: this });
  }

  /**
   * A descriptor that is readable when a turn has work, deadlines included: for another loop to
   * watch. A borrow, on every backend; -1 once closed.
   */
  get fd(): number {
    return this.scheduler.closed ? -1 : this.#fd;
  }

  /**
   * Calls `handler` whenever `fd` is ready for `interest`, as long as it is.
   *
   * Borrows `fd`: remove it before you close it. A returned promise pauses this descriptor until it
   * settles, since a level-triggered one would be told again at once; its rejection goes where a throw
   * goes. Interest 0 watches nothing until updateHandler().
   *
   * @throws {@link SystemError} EEXIST: watched already; EBADF; EPERM: epoll(7) does not take regular
   *   files; EINVAL: select(2) takes numbers below FD_SETSIZE; ENOTSUP: a mode this backend has not.
   */
  addHandler(fd: number, handler: Handler, interest: number): void {
    checkFd(fd);
    checkFunction(handler, 'handler');
    checkInterest(interest);
    this.#checkOpen('addHandler');
    const record = this.handlers.add(fd, handler, interest, 'handler');
    this.#monitor?.register(record);
  }

  /**
   * Changes what `fd` is watched for.
   *
   * @throws {@link SystemError} ENOENT: not watched; EBADF: closed.
   */
  updateHandler(fd: number, interest: number): void {
    checkFd(fd);
    checkInterest(interest);
    this.#checkOpen('updateHandler');
    this.handlers.update(fd, interest);
  }

  /** Watches `fd` no more, at once: not even for what this turn has found. False: it was unknown. */
  removeHandler(fd: number): boolean {
    checkFd(fd);
    return !this.scheduler.closed && this.handlers.remove(fd);
  }

  /**
   * Whether `fd`'s handler keeps the process alive; it does by default.
   *
   * @throws {@link SystemError} ENOENT: not watched.
   */
  setHandlerRef(fd: number, referenced: boolean): void {
    checkFd(fd);
    if (typeof referenced !== 'boolean') throw invalidArgument('referenced', 'a boolean', referenced);
    this.#checkOpen('setHandlerRef');
    this.handlers.setReferenced(fd, referenced);
  }

  /** Calls `callback` in the next turn, which then comes without sleeping. */
  addCallback<A extends readonly unknown[]>(
    callback: (...args: A) => void | Promise<void>,
    ...args: A
  ): void {
    checkFunction(callback, 'callback');
    this.#checkOpen('addCallback');
    const queued = new QueuedCallback(bind(callback, args));
    this.#monitor?.register(queued, callback);
    this.#callbacks.push(queued);
    this.#tables.callbacks++;
    this.scheduler.reference();
  }

  /**
   * Calls `callback` once, no sooner than `delayMs` from now.
   *
   * Calls due together run in the order they were made.
   *
   * @param delayMs Milliseconds; fractions count, negatives mean now, Infinity means never.
   */
  callLater<A extends readonly unknown[]>(
    delayMs: number,
    callback: (...args: A) => void | Promise<void>,
    ...args: A
  ): TimerHandle {
    checkMilliseconds(delayMs, 'delayMs');
    checkFunction(callback, 'callback');
    this.#checkOpen('callLater');
    const timer = this.#timers.later(delayMs, bind(callback, args));
    this.#monitor?.register(timer, callback);
    return timer;
  }

  /**
   * Calls `callback` once, no sooner than `whenMs`.
   *
   * @param whenMs Milliseconds on the scale of {@link IOLoop.time}.
   */
  callAt<A extends readonly unknown[]>(
    whenMs: number,
    callback: (...args: A) => void | Promise<void>,
    ...args: A
  ): TimerHandle {
    checkMilliseconds(whenMs, 'whenMs');
    checkFunction(callback, 'callback');
    this.#checkOpen('callAt');
    const timer = this.#timers.at(whenMs, bind(callback, args));
    this.#monitor?.register(timer, callback);
    return timer;
  }

  /** Now, in monotonic milliseconds with their fraction: never set back, no matter what the wall clock does. */
  time(): number {
    return this.#clock();
  }

  /** A waker of this loop: `callback` is called in a turn after one or more wakes, from any thread. */
  createWaker(callback: () => void): Waker {
    checkFunction(callback, 'callback');
    this.#checkOpen('createWaker');
    const wakerId = addon().createWaker();
    const waker = new Waker({ wakerId }, this.#wakerOwner);
    const handler = (): void => {
      addon().drainWaker(wakerId);
      callback();
    };
    try {
      const record = this.handlers.add(addon().wakerFd(wakerId), handler, Interest.READ, 'waker');
      this.#monitor?.register(record, callback);
      this.#wakers.set(waker, record.fd);
    } catch (error) {
      addon().closeWaker(wakerId);
      throw error;
    }
    return waker;
  }

  /**
   * Keeps the process alive until stop(); a loop with `drive: 'node'` turns with or without it.
   *
   * Settles when the hooks of {@link IOLoop.onStop} have.
   */
  start(): Promise<void> {
    this.#checkOpen('start');
    return this.#lifecycle.start();
  }

  /**
   * start() and run() settle after this turn and the onStop hooks; handlers stay. Before start(): the
   * next one settles at once.
   */
  stop(): void {
    if (!this.scheduler.closed) this.#lifecycle.stop();
  }

  /** Calls `hook` when the loop stops: each once, awaited, the last added first (Twisted's shutdown triggers). */
  onStop(hook: () => void | Promise<void>): void {
    checkFunction(hook, 'hook');
    this.#checkOpen('onStop');
    this.#lifecycle.onStop(hook);
  }

  /**
   * Calls `main` and returns what it returns, keeping the process alive meanwhile (Tornado's run_sync).
   *
   * The end of the waiting (timeout, signal, stop()) does not end `main`.
   *
   * @throws AbortError, {@link TimeoutError}; `ERR_IOLOOP_CLOSED` when the loop stops or closes first.
   */
  async run<T>(main: () => T | Promise<T>, options?: WaitOptions): Promise<T> {
    checkFunction(main, 'main');
    checkOptions(options);
    const { signal, timeoutMs = Number.POSITIVE_INFINITY } = options ?? {};
    checkSignal(signal, 'options.signal');
    checkMilliseconds(timeoutMs, 'options.timeoutMs');
    this.#checkOpen('run');
    return this.#lifecycle.run(main, timeoutMs, signal);
  }

  /**
   * One turn, for `drive: 'manual'`: waits at most `timeoutMs` for something to do, does it, and runs
   * the ticks and microtasks that follow (unless it was called from within a microtask: an async
   * function after its first await, the top level of an ES module; then they run when the stack empties).
   *
   * May return 0 early: a signal came, or something happened in Node's own loop. Loop on time, not on
   * one call.
   *
   * @param timeoutMs Milliseconds; 0, the default, does not sleep; Infinity sleeps until something comes.
   * @returns How many handlers, timers and callbacks it called.
   * @throws {@link IOLoopError} `ERR_IOLOOP_REENTRANT` inside a turn, `ERR_IOLOOP_INVALID_STATE` with
   *   `drive: 'node'`.
   */
  runOnce(timeoutMs = 0): number {
    checkMilliseconds(timeoutMs, 'timeoutMs');
    this.#checkOpen('runOnce');
    if (this.#tables.inTurn) throw new IOLoopError('ERR_IOLOOP_REENTRANT', 'runOnce() inside a turn');
    if (this.drive !== 'manual')
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', "runOnce() of a loop with drive: 'node'");
    const mayWait = this.#tables.callbacks === 0 && !this.#tables.work;
    const result = this.#poller.runOnce(mayWait ? timeoutMs : 0);
    if (result < 0) throw new SystemError(result, systemCall(this.backend));
    const begunMs = this.#poller.time();
    const before = this.#runner.count;
    this.#tables.inTurn = true;
    this.#dispatch();
    drainTicks();
    for (let round = 0; round < MAX_SETTLE_ROUNDS && this.#tables.work; round++) {
      this.scheduler.settle();
      drainTicks();
    }
    this.#tables.inTurn = false;
    if (!this.scheduler.closed) this.#poller.settled();
    this.#manualBusyMs += this.#poller.time() - begunMs;
    return this.#runner.count - before;
  }

  /** How long runOnce() would have nothing to do: 0: work is waiting; Infinity: no deadline. */
  timeoutMs(): number {
    if (this.scheduler.closed) return Number.POSITIVE_INFINITY;
    return this.#tables.callbacks > 0 || this.#tables.work ? 0 : this.#poller.timeoutMs();
  }

  /** What is registered, and whether it keeps the process alive. `fd` is -1 for what has none. */
  resources(): readonly { kind: string; fd: number; referenced: boolean }[] {
    const all: { kind: string; fd: number; referenced: boolean }[] = [];
    for (const { kind, fd, referenced } of this.handlers) all.push({ kind, fd, referenced });
    for (const { referenced } of this.#timers.pending()) all.push({ kind: 'timer', fd: -1, referenced });
    for (const _ of this.#callbacks) all.push({ kind: 'callback', fd: -1, referenced: true });
    for (let i = 0; i < this.#lifecycle.size; i++) all.push({ kind: 'start', fd: -1, referenced: true });
    return all;
  }

  /** What it has done so far and holds now. */
  metrics(): LoopMetrics {
    const counters = readCounters(this.#poller);
    const busyMs = counters.busyMs + this.#manualBusyMs;
    return {
      turns: counters.polls,
      polls: counters.polls,
      wakeUps: counters.wakeUps,
      events: counters.events,
      staleEvents: this.handlers.staleEvents,
      spuriousEvents: counters.orphanEvents,
      systemCalls: counters.systemCalls,
      timersFired: counters.timersFired,
      busyMs,
      idleMs: Math.max(0, this.#clock() - this.#born - busyMs),
      handlers: this.handlers.size,
      timers: this.#timers.size,
      ...this.#measureParts(),
    };
  }

  /** Keeps the process alive while anything referenced is registered: the default. */
  ref(): this {
    this.#tables.detached = false;
    this.scheduler.ask();
    return this;
  }

  /** Keeps the process alive for nothing. */
  unref(): this {
    this.#tables.detached = true;
    this.scheduler.ask();
    return this;
  }

  /**
   * Ends it: servers and streams first, which deliver what they owe, then timers, wakers and callbacks,
   * which are dropped, and handlers with them, whose descriptors stay yours. Without servers and streams
   * all of that happens at once; inside a turn that then ends after the current entry. start() settles,
   * run() rejects.
   *
   * Idempotent. Settles when the loop's own descriptors are closed.
   *
   * @param options `graceMs`: how long servers and streams may take, 30,000 milliseconds by default;
   *   what is left then is aborted. With `drive: 'manual'`, where nobody would turn meanwhile, they get
   *   one last send.
   */
  close(options?: { graceMs?: number | undefined }): Promise<void> {
    checkOptions(options);
    const { graceMs = DEFAULT_GRACE_MS } = options ?? {};
    checkMilliseconds(graceMs, 'options.graceMs');
    if (this.#closed !== undefined) return this.#closed.promise;
    this.#closed = deferred();
    if (this.#parts.length === 0 || this.drive === 'manual') this.#end();
    else void Promise.all([...this.#parts].map((part) => part.close(graceMs))).then(() => this.#end());
    return this.#closed.promise;
  }

  /** {@link IOLoop.close} */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @internal What is settled, measured and closed with this loop. */
  attach(part: LoopPart): void {
    this.#parts.push(part);
  }

  /** @internal The end of {@link attach}. */
  detach(part: LoopPart): void {
    const place = this.#parts.indexOf(part);
    if (place >= 0) this.#parts.splice(place, 1);
  }

  #end(): void {
    for (const part of [...this.#parts]) part.abort();
    for (const waker of [...this.#wakers.keys()]) waker.close();
    this.scheduler.closed = true;
    this.#timers.clear();
    this.handlers.clear();
    this.#callbacks = [];
    this.scheduler.reportErrors();
    this.#lifecycle.clear();
    if (currentLoop() === this) Reflect.deleteProperty(globalThis, CURRENT);
    this.#poller.close();
    if (diagnostics.loopClosed.hasSubscribers) diagnostics.loopClosed.publish({ loop: this });
    if (this.drive === 'manual') this.#closed?.resolve();
  }

  #measureParts(): PartMetrics {
    const measured = { streams: 0, bytesBuffered: 0, bytesQueued: 0, acceptsShed: 0, datagramsDropped: 0 };
    for (const part of this.#parts) part.measure(measured);
    return measured;
  }

  readonly #wakerOwner = {
    setWakerReferenced: (waker: Waker, referenced: boolean): void => {
      const fd = this.#wakers.get(waker);
      if (fd !== undefined) this.handlers.setReferenced(fd, referenced);
    },
    forgetWaker: (waker: Waker): void => {
      const fd = this.#wakers.get(waker);
      if (fd !== undefined) this.handlers.remove(fd);
      this.#wakers.delete(waker);
      addon().closeWaker(waker.handle.wakerId);
    },
  };

  // The addon calls this once a turn, with the tables filled.
  readonly #dispatch = (): void => {
    // What this turn's timers and handlers ask for waits for the next.
    const callbacks = this.#callbacks.length > 0 ? this.#callbacks : NO_CALLBACKS;
    if (callbacks !== NO_CALLBACKS) this.#callbacks = [];
    const { waitError } = this.#tables;
    if (waitError !== 0) this.scheduler.caught(new SystemError(waitError, systemCall(this.backend)));
    if (this.#tables.dueCount > 0) this.#timers.fire(this.#runner.runTimer);
    if (this.#tables.readyCount > 0) this.handlers.dispatch(this.#runner.runHandler);
    for (const callback of callbacks) {
      if (this.scheduler.closed) return;
      this.#tables.callbacks--;
      this.scheduler.unreference();
      this.#runner.runCallback(callback);
    }
    // Where the runtime flushes by itself, settling is a tick of its own, and lets the next turn come.
    if (this.#callsSettle) this.scheduler.ask();
  };

  readonly #settle = (): void => {
    for (const part of this.#parts) part.settle();
    this.handlers.settle();
    this.#lifecycle.settle();
  };

  #checkOpen(what: string): void {
    if (this.scheduler.closed) throw new IOLoopError('ERR_IOLOOP_CLOSED', `${what}() of a closed loop`);
  }
}

function currentLoop(): IOLoop | undefined {
  return Reflect.get(globalThis, CURRENT) as IOLoop | undefined;
}

/** `callback` with its arguments; itself where there are none. */
function bind<A extends readonly unknown[]>(callback: (...args: A) => unknown, args: A): () => unknown {
  return args.length === 0 ? (callback as () => unknown) : () => callback(...args);
}

function checkInterest(value: unknown): void {
  // The range comes first: the operators take any number modulo 2^32.
  if (
    typeof value !== 'number' ||
    !Number.isInteger(value) ||
    value < 0 ||
    value > ALL_INTERESTS ||
    (value & ~ALL_INTERESTS) !== 0
  )
    throw invalidArgument('interest', 'bits of Interest', value);
}
