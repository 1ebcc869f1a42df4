/**
 * A network in memory under a virtual clock: what runs on it is the same on every machine and in
 * every run, and waits for nothing.
 *
 * @module
 */
import {
  checkBoolean,
  checkInteger,
  checkMilliseconds,
  checkOptions,
  invalidArgument,
} from '../arguments.ts';
import { type BackendName, forgetSimNetwork, nameSimNetwork } from '../backend.ts';
import { type Deferred, deferred } from '../deferred.ts';
import { IOLoopError } from '../errors.ts';
import { IOLoop, type LoopOptions } from '../ioloop.ts';
import { addon, type NativeSimNetwork } from '../native.ts';

/** How a network treats what passes through it. The default delivers as it is, at once. */
export interface SimOptions {
  /** All that is left to chance follows from it; 1. */
  seed?: number | undefined;
  /** Bytes that one direction of a connection holds, under way and unread together; 65,536. */
  bufferSize?: number | undefined;
  /** What is sent arrives after at least this long; 0. Order is kept. */
  minDelayMs?: number | undefined;
  /** What is sent arrives after at most this long; `minDelayMs`. */
  maxDelayMs?: number | undefined;
  /** The chance, 0 to 1, that a read gets only some of the bytes that it could; 0. */
  shortRead?: number | undefined;
  /** The chance that a write gets rid of only some of the bytes that it could; 0. */
  shortWrite?: number | undefined;
  /** The chance that a call that could do something answers EAGAIN; 0. */
  spuriousAgain?: number | undefined;
  /** The chance that a call answers EINTR; 0. */
  interrupt?: number | undefined;
  /** Whether ready descriptors are told in random order; true. */
  shuffleReady?: boolean | undefined;
}

/** How long, in real time, a run waits for files and other threads when nothing can happen any more. */
const STALL_MS = 1_000;

/** Somebody who waits while the loops turn: until it is resolved, or until `limitMs`. */
interface Wait extends Deferred {
  readonly limitMs: number;
}

/** Whose the stream sockets are that this thread makes. */
let host: NativeSimNetwork | undefined;

/**
 * A simulated host with TCP and Unix stream sockets, whose only time is a virtual clock.
 *
 * Loops made by {@link SimNetwork.createLoop} run on it: their sockets, timers and timeouts are
 * simulated, and so is every stream socket that is made inside {@link SimNetwork.run}. Of an address
 * only the port, or the path, counts. Descriptors of the kernel work beside it but are no part of the
 * simulation: files, names and threads come when they come.
 *
 *     const network = new SimNetwork({ seed: 7, maxDelayMs: 20, shortRead: 0.5 });
 *     const loop = network.createLoop({ current: true });
 *     await network.run(() => test(loop)); // hours of timeouts in no time
 *     await network.close();
 */
export class SimNetwork {
  /** The name of its backend, for `new IOLoop({ backend, drive: 'manual' })`; no list has it. */
  readonly backend: BackendName;
  readonly #native: NativeSimNetwork;
  readonly #loops = new Set<IOLoop>();
  readonly #waits = new Set<Wait>();
  #passing = false;
  #stalledSince: number | undefined;
  #closed = false;

  /** @throws {@link IOLoopError} `ERR_IOLOOP_INVALID_ARGUMENT`. */
  constructor(options?: SimOptions) {
    checkOptions(options);
    const {
      seed = 1,
      bufferSize = 65_536,
      minDelayMs = 0,
      maxDelayMs = minDelayMs,
      shuffleReady = true,
    } = options ?? {};
    const { shortRead = 0, shortWrite = 0, spuriousAgain = 0, interrupt = 0 } = options ?? {};
    checkInteger(seed, 'options.seed', 0, Number.MAX_SAFE_INTEGER);
    checkInteger(bufferSize, 'options.bufferSize', 1, 0x7fffffff);
    checkMilliseconds(minDelayMs, 'options.minDelayMs');
    checkMilliseconds(maxDelayMs, 'options.maxDelayMs');
    checkBoolean(shuffleReady, 'options.shuffleReady');
    for (const [name, chance] of Object.entries({ shortRead, shortWrite, spuriousAgain, interrupt }))
      if (typeof chance !== 'number' || !(chance >= 0 && chance <= 1))
        throw invalidArgument(`options.${name}`, 'a number from 0 to 1', chance);
    this.#native = new (addon().SimNetwork)(
      seed,
      bufferSize,
      minDelayMs,
      maxDelayMs,
      shortRead,
      shortWrite,
      spuriousAgain,
      interrupt,
      shuffleReady,
    );
    this.backend = nameSimNetwork(this.#native);
  }

  /** The virtual clock, in milliseconds: the time() of its loops. It moves in {@link run} and {@link advance} alone. */
  get timeMs(): number {
    return this.#native.time();
  }

  /** All system calls and deliveries so far in one word: two runs that have the same were the same. */
  get traceHash(): string {
    return this.#native.traceHash();
  }

  /** Simulated descriptors that are open. */
  get openDescriptors(): number {
    return this.#native.openDescriptors();
  }

  /**
   * A loop on this network. It gets its turns from {@link run} and {@link advance}.
   *
   * @param options As of IOLoop, but for `backend` and `drive`.
   */
  createLoop(options?: Omit<LoopOptions, 'backend' | 'drive'>): IOLoop {
    this.#checkOpen('createLoop');
    const loop = new IOLoop({ ...options, backend: this.backend, drive: 'manual' });
    this.#loops.add(loop);
    return loop;
  }

  /** Two connected Unix stream sockets, as of socketpair(2). */
  connectPair(): readonly [near: number, far: number] {
    this.#checkOpen('connectPair');
    return this.#native.connectPair();
  }

  /** Calls `body`, and has the stream sockets that it makes belong to this network. */
  host<T>(body: () => T): T {
    this.#checkOpen('host');
    const outer = setHost(this.#native);
    try {
      return body();
    } finally {
      setHost(outer);
    }
  }

  /**
   * What `main` returns, or its promise comes to. The loops get turns, and once none has anything to
   * do the clock moves to what happens next; until then stream sockets made in this thread belong to
   * this network.
   *
   * @throws {@link IOLoopError} `ERR_IOLOOP_INVALID_STATE`: nothing can happen any more, and the
   *   promise has not settled.
   */
  async run<T>(main: () => T | Promise<T>): Promise<T> {
    const outer = setHost(this.#native);
    try {
      const result = this.host(main);
      const wait = this.#await(Number.POSITIVE_INFINITY);
      const end = (): void => wait.resolve();
      Promise.resolve(result).then(end, end);
      await wait.promise;
      return await result;
    } finally {
      setHost(outer);
    }
  }

  /** Lets `durationMs` pass, and all that falls into it happen at its own instant. */
  async advance(durationMs: number): Promise<void> {
    checkMilliseconds(durationMs, 'durationMs');
    this.#checkOpen('advance');
    const limitMs = this.timeMs + Math.max(durationMs, 0);
    // The clock counts nanoseconds, and would never come to a sum that lies between two of them.
    await this.#await(Math.round(limitMs * 1e6) / 1e6).promise;
  }

  /** Closes its loops. Descriptors that are still open are closed with the last of them. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    forgetSimNetwork(this.backend);
    if (host === this.#native) setHost(undefined);
    for (const wait of this.#waits)
      wait.reject(new IOLoopError('ERR_IOLOOP_CLOSED', 'the network was closed'));
    for (const loop of this.#loops) await loop.close({ graceMs: 0 });
    this.#native.close();
  }

  /** {@link SimNetwork.close} */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Gives turns until it is resolved, or nothing is left to do at `limitMs`. */
  #await(limitMs: number): Wait {
    this.#checkOpen('run');
    const wait: Wait = { ...deferred(), limitMs };
    this.#waits.add(wait);
    void wait.promise.catch(() => {}).then(() => this.#waits.delete(wait));
    if (!this.#passing) setImmediate(this.#pass);
    this.#passing = true;
    return wait;
  }

  // From an immediate, never from a promise: only on an empty stack does a turn run its microtasks.
  readonly #pass = (): void => {
    this.#passing = this.#waits.size > 0 && !this.#closed;
    if (!this.#passing) return;
    setImmediate(this.#pass);
    if (this.host(() => this.#turnLoops())) {
      this.#stalledSince = undefined;
      return;
    }
    const limitMs = Math.min(...[...this.#waits].map((wait) => wait.limitMs));
    if (this.timeMs >= limitMs) {
      for (const wait of this.#waits) if (this.timeMs >= wait.limitMs) wait.resolve();
    } else if (this.#native.advanceToNext(limitMs)) {
      this.#stalledSince = undefined;
    } else if (limitMs === Number.POSITIVE_INFINITY) {
      this.#noteStall();
    }
  };

  /** One turn of each loop; whether one had anything to do. */
  #turnLoops(): boolean {
    let busy = false;
    for (const loop of this.#loops) {
      if (loop.fd < 0) this.#loops.delete(loop);
      else busy = loop.runOnce() > 0 || busy;
    }
    return busy;
  }

  #noteStall(): void {
    this.#stalledSince ??= performance.now();
    if (performance.now() - this.#stalledSince < STALL_MS) return;
    this.#stalledSince = undefined;
    const error = new IOLoopError(
      'ERR_IOLOOP_INVALID_STATE',
      `nothing can happen any more in ${this.backend}, and what was waited for has not come`,
    );
    for (const wait of this.#waits) wait.reject(error);
  }

  #checkOpen(what: string): void {
    if (this.#closed) throw new IOLoopError('ERR_IOLOOP_CLOSED', `${what}() of a closed network`);
  }
}

/** Has `network` make this thread's stream sockets; nothing: the kernel. Returns who did before. */
function setHost(network: NativeSimNetwork | undefined): NativeSimNetwork | undefined {
  const outer = host;
  host = network;
  if (network === undefined) outer?.unhost();
  else network.host();
  return outer;
}
