import type { StreamSettings } from './stream-options.ts';
import { NEVER, TICK_MS } from './timeout-wheel.ts';

/** Milliseconds that a closing stream drains what the peer goes on sending. */
export const LINGER_MS = 2_000;
const OFF = -1;

/** Which deadline of a stream has passed. */
export type Overdue = 'idle' | 'write' | 'soft' | 'readRate' | 'writeRate' | 'close' | 'linger';

const OVERDUE: readonly Overdue[] = ['linger', 'close', 'idle', 'write', 'soft', 'readRate', 'writeRate'];

/** Bytes that moved since a time. */
interface Flow {
  sinceMs: number;
  bytes: number;
}

/**
 * When a stream was last seen doing what its timeouts are about. Only a stream that has timeouts, or
 * that closes, has one.
 */
export class StreamDeadlines {
  readonly #settings: StreamSettings;
  #activeMs: number;
  #progressMs = OFF;
  #softSinceMs = OFF;
  #closingSinceMs = OFF;
  #lingeringSinceMs = OFF;
  readonly #reading: Flow = { sinceMs: OFF, bytes: 0 };
  readonly #writing: Flow = { sinceMs: OFF, bytes: 0 };

  constructor(settings: StreamSettings, nowMs: number) {
    this.#settings = settings;
    this.#activeMs = nowMs;
  }

  /** `bytes` came; `begun` says whether the peer owes the rest of a framed message. */
  received(bytes: number, begun: boolean, nowMs: number): void {
    this.#activeMs = nowMs;
    follow(this.#reading, begun, bytes, nowMs);
  }

  /** A message was complete, or is waited for no longer. */
  readDone(): void {
    this.#reading.sinceMs = OFF;
  }

  /** `bytes` left, and `queued` still wait in memory; `waiting` says whether anything does, files included. */
  sent(bytes: number, queued: number, waiting: boolean, nowMs: number): void {
    if (bytes > 0) this.#activeMs = nowMs;
    if (!waiting) this.#progressMs = OFF;
    else if (bytes > 0 || this.#progressMs === OFF) this.#progressMs = nowMs;
    if (bytes > 0 && this.#closingSinceMs !== OFF) this.#closingSinceMs = nowMs;
    // What the kernel took before it was full says nothing of the peer.
    follow(this.#writing, waiting, this.#writing.sinceMs === OFF ? 0 : bytes, nowMs);
    if (queued <= this.#settings.softWriteBufferSize) this.#softSinceMs = OFF;
    else if (this.#softSinceMs === OFF) this.#softSinceMs = nowMs;
  }

  /** The stream closes as soon as everything has left. */
  closing(nowMs: number): void {
    this.#closingSinceMs = nowMs;
  }

  /** Everything has left, and what still comes is drained. */
  lingering(nowMs: number): void {
    this.#closingSinceMs = OFF;
    this.#lingeringSinceMs = nowMs;
  }

  /** The first deadline that has passed by `nowMs`. */
  overdue(nowMs: number): Overdue | null {
    for (const what of OVERDUE) {
      if (this.#dueMs(what) > nowMs) continue;
      const flow = what === 'readRate' ? this.#reading : what === 'writeRate' ? this.#writing : null;
      if (flow === null || this.#isTooSlow(flow, what, nowMs)) return what;
      // Fast enough: the next stretch of time is judged by itself.
      flow.sinceMs = nowMs;
      flow.bytes = 0;
    }
    return null;
  }

  /** The tick at which the earliest deadline has passed. */
  nextTick(): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const what of OVERDUE) earliest = Math.min(earliest, this.#dueMs(what));
    return earliest === Number.POSITIVE_INFINITY ? NEVER : Math.ceil(earliest / TICK_MS);
  }

  #dueMs(what: Overdue): number {
    const settings = this.#settings;
    switch (what) {
      case 'linger':
        return after(this.#lingeringSinceMs, LINGER_MS);
      case 'close':
        return after(this.#closingSinceMs, settings.closeTimeoutMs);
      case 'idle':
        return this.#isEnding ? Number.POSITIVE_INFINITY : after(this.#activeMs, settings.idleTimeoutMs);
      case 'write':
        return after(this.#progressMs, settings.writeTimeoutMs);
      case 'soft':
        return after(this.#softSinceMs, settings.softWriteTimeoutMs);
      case 'readRate':
        return settings.minReadRate > 0
          ? after(this.#reading.sinceMs, settings.rateGraceMs)
          : Number.POSITIVE_INFINITY;
      case 'writeRate':
        return settings.minWriteRate > 0
          ? after(this.#writing.sinceMs, settings.rateGraceMs)
          : Number.POSITIVE_INFINITY;
    }
  }

  get #isEnding(): boolean {
    return this.#closingSinceMs !== OFF || this.#lingeringSinceMs !== OFF;
  }

  #isTooSlow({ sinceMs, bytes }: Flow, what: Overdue, nowMs: number): boolean {
    const { minReadRate, minWriteRate } = this.#settings;
    const least = what === 'readRate' ? minReadRate : minWriteRate;
    return (bytes * 1000) / Math.max(nowMs - sinceMs, 1) < least;
  }
}

/** `delayMs` after a time; never, if either is off. */
function after(sinceMs: number, delayMs: number): number {
  return sinceMs === OFF || delayMs === 0 ? Number.POSITIVE_INFINITY : sinceMs + delayMs;
}

/** Counts `bytes` of a flow that goes on or not. */
function follow(flow: Flow, goesOn: boolean, bytes: number, nowMs: number): void {
  if (!goesOn) {
    flow.sinceMs = OFF;
  } else if (flow.sinceMs === OFF) {
    flow.sinceMs = nowMs;
    flow.bytes = bytes;
  } else {
    flow.bytes += bytes;
  }
}
