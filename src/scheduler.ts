import { AsyncResource } from 'node:async_hooks';
import { diagnostics } from './diagnostics.ts';
import type { NativePoller, TurnTables } from './native.ts';

const RESOLVED = Promise.resolve();
const MANUAL_DESTROY = { requireManualDestroy: true };

/** Throws `error` where nobody can catch it: an uncaughtException of its own. */
function throwUncaught(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}

/**
 * When things happen around a turn: what it left over is settled after its microtasks; what changes
 * outside of one is settled once, when the current callback and its continuations are done.
 *
 * Handlers, timers and callbacks share it; it is the one place that counts what keeps the process
 * alive and that reports what user code threw.
 */
export class Scheduler {
  readonly poller: NativePoller;
  readonly tables: TurnTables;
  /** Called when a turn settles; more work may be noted while it runs. */
  readonly #onSettle: () => void;
  readonly #onError: ((error: unknown) => void) | undefined;
  #errors: unknown[] = [];
  #asked = false;
  closed = false;

  constructor(
    poller: NativePoller,
    tables: TurnTables,
    onSettle: () => void,
    onError: ((error: unknown) => void) | undefined,
  ) {
    this.poller = poller;
    this.tables = tables;
    this.#onSettle = onSettle;
    this.#onError = onError;
  }

  /** One thing more that keeps the process alive. */
  reference(): void {
    this.tables.references++;
    this.ask();
  }

  /** One thing less. */
  unreference(): void {
    this.tables.references--;
    this.ask();
  }

  /** What user code threw: reported when the turn's microtasks have run, each error on its own. */
  caught(error: unknown): void {
    this.#errors.push(error);
    // Nothing settles a closed loop any more.
    if (this.closed) this.reportErrors();
    else this.wantWork();
  }

  /** Settling will have something to do in JavaScript. */
  wantWork(): void {
    this.tables.work = true;
    this.ask();
  }

  /**
   * Sees to it that what changed reaches the kernel and the driver: at the end of the turn, or,
   * outside of one, by a tick that comes after the current callback's continuations.
   */
  ask(): void {
    if (this.#asked || this.tables.inTurn || this.closed) return;
    this.#asked = true;
    void RESOLVED.then(this.#askTick);
  }

  /** All that JavaScript has to do when a turn settles. */
  readonly settle = (): void => {
    this.tables.work = false;
    this.#onSettle();
    this.reportErrors();
  };

  /** Reports what was caught so far. */
  reportErrors(): void {
    if (this.#errors.length === 0) return;
    const errors = this.#errors;
    this.#errors = [];
    for (const error of errors) {
      if (diagnostics.error.hasSubscribers)
        diagnostics.error.publish({ error, server: null, connection: null });
      if (this.#onError === undefined) {
        throwUncaught(error);
        continue;
      }
      try {
        // A context of its own, so that what it enters reaches nobody else.
        new AsyncResource('IOLoopError', MANUAL_DESTROY).runInAsyncScope(this.#onError, undefined, error);
      } catch (thrown) {
        throwUncaught(thrown);
      }
    }
  }

  // A tick asked for from a microtask runs after the microtasks of the callback under way.
  readonly #askTick = (): void => {
    process.nextTick(this.#settleOutside);
  };

  readonly #settleOutside = (): void => {
    this.#asked = false;
    if (this.closed) return;
    if (this.tables.work) this.settle();
    if (!this.closed) this.poller.settled();
  };
}
