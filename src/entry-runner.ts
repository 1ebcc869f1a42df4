import type { AsyncResource } from 'node:async_hooks';
import type { HandlerRecord, HandlerTable } from './handler.ts';
import type { Scheduler } from './scheduler.ts';
import type { SlowCallbackMonitor } from './slow-callback.ts';

/** Something with a callback: a timer, or a callback in the queue. */
export interface Callable extends AsyncResource {
  readonly callback: () => unknown;
}

/**
 * Runs the entries of a turn, each in the async context of its making and under a catch of its own,
 * so that one that throws keeps none of the others from running.
 */
export class EntryRunner {
  readonly #scheduler: Scheduler;
  readonly #handlers: HandlerTable;
  readonly #monitor: SlowCallbackMonitor | undefined;
  /** How many it has run. */
  count = 0;

  constructor(scheduler: Scheduler, handlers: HandlerTable, monitor: SlowCallbackMonitor | undefined) {
    this.#scheduler = scheduler;
    this.#handlers = handlers;
    this.#monitor = monitor;
  }

  readonly runHandler = (record: HandlerRecord, events: number): void => {
    this.count++;
    this.#monitor?.begin();
    try {
      const { target } = record;
      const result =
        typeof target === 'function'
          ? record.runInAsyncScope(target, undefined, record.fd, events)
          : record.runInAsyncScope(target.ready, target, record.fd, events);
      if (isPromise(result)) this.#handlers.await(record, result);
    } catch (error) {
      this.#scheduler.caught(error);
    }
    this.#monitor?.end(record, `${record.kind} of fd ${record.fd}`, record.callback);
  };

  readonly runTimer = (timer: Callable): void => this.#run(timer, 'timer');

  readonly runCallback = (queued: Callable): void => this.#run(queued, 'callback');

  #run(callable: Callable, kind: string): void {
    this.count++;
    this.#monitor?.begin();
    try {
      const result = callable.runInAsyncScope(callable.callback);
      if (isPromise(result)) Promise.resolve(result).then(undefined, this.#caught);
    } catch (error) {
      this.#scheduler.caught(error);
    }
    this.#monitor?.end(callable, kind, callable.callback);
  }

  readonly #caught = (error: unknown): void => this.#scheduler.caught(error);
}

/** Whether `value` has a `then`. */
export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
