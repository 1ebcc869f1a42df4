import { type Deferred, deferred } from '../deferred.ts';
import { memoryBudget } from '../stream/memory-budget.ts';

interface Waiting<M> {
  readonly message: M;
  readonly size: number;
}

/** Messages that were received for an iteration and wait to be taken: bounded by bytes and by count. */
export class Inbox<M> {
  /** Bytes that wait. */
  bytes = 0;
  readonly #maxBytes: number;
  readonly #maxLength: number;
  #messages: Waiting<M>[] = [];
  #first = 0;
  /** Those who wait for a message, the first to come first. */
  readonly #takers: Deferred<IteratorResult<M>>[] = [];
  /** The message handed out last, until it has arrived. */
  #handed: (Waiting<M> & { readonly promise: Promise<IteratorResult<M>> }) | null = null;
  /** How it ended: without an error, or with one that has yet to be told. */
  #end: { error: Error | null } | null = null;
  /** Whether the budget counts what waits. */
  #isOwned = true;

  constructor(maxBytes: number, maxLength: number) {
    this.#maxBytes = maxBytes;
    this.#maxLength = maxLength;
  }

  /** Messages that wait. */
  get length(): number {
    return this.#messages.length - this.#first;
  }

  /** Whether somebody waits for a message that has not come. */
  get isAwaited(): boolean {
    return this.#takers.length > 0;
  }

  /** Whether a message of `size` bytes has room: at once with its taker, or beside those that wait. */
  hasRoom(size: number): boolean {
    if (this.#takers.length > 0) return true;
    return this.bytes + size <= this.#maxBytes && this.length < this.#maxLength && !memoryBudget.isReached;
  }

  /** Adds a message, which {@link hasRoom}. */
  push(message: M, size: number): void {
    const taker = this.#takers.shift();
    if (taker !== undefined) {
      this.#handed = { promise: taker.promise, message, size };
      taker.resolve({ done: false, value: message });
      return;
    }
    this.#messages.push({ message, size });
    this.#count(size);
  }

  /** The next message, as soon as there is one; done when there will be none. */
  next(): Promise<IteratorResult<M>> {
    const waiting = this.#shift();
    if (waiting !== undefined) {
      const promise = Promise.resolve<IteratorResult<M>>({ done: false, value: waiting.message });
      this.#handed = { promise, ...waiting };
      return promise;
    }
    if (this.#end !== null) return this.#ended(this.#end);
    const taker = deferred<IteratorResult<M>>();
    this.#takers.push(taker);
    return taker.promise;
  }

  /** Those who wait for a message get none: their iteration is over. */
  dismiss(): void {
    for (const taker of this.#takers.splice(0)) taker.resolve({ done: true, value: undefined });
  }

  /** Whoever waited on the `promise` of {@link next} no longer does: its message is the next one again. */
  withdraw(promise: Promise<IteratorResult<M>>): void {
    const place = this.#takers.findIndex((taker) => taker.promise === promise);
    if (place >= 0) this.#takers.splice(place, 1);
    const handed = this.#handed;
    this.#handed = null;
    if (handed?.promise !== promise) return;
    this.#messages.splice(this.#first, 0, handed);
    this.#count(handed.size);
  }

  /** The message handed out last has arrived. */
  taken(): void {
    this.#handed = null;
  }

  /** No more messages will come; those that wait may still be taken. */
  end(error: Error | null): void {
    if (this.#end !== null) return;
    this.#end = { error };
    for (const taker of this.#takers.splice(0)) {
      if (this.#end.error === null) taker.resolve({ done: true, value: undefined });
      else taker.reject(this.#end.error);
      this.#end.error = null;
    }
  }

  /** The socket is gone: what waits may still be taken, or never is, and is no longer part of the budget. */
  disown(): void {
    if (!this.#isOwned) return;
    this.#isOwned = false;
    memoryBudget.add(-this.bytes);
  }

  /** Drops what waits; the messages, for whoever has to release what they hold. */
  clear(): M[] {
    const dropped = this.#messages.slice(this.#first).map(({ message }) => message);
    this.#messages = [];
    this.#first = 0;
    this.#count(-this.bytes);
    return dropped;
  }

  /** The failure is told once. */
  #ended(end: { error: Error | null }): Promise<IteratorResult<M>> {
    const { error } = end;
    end.error = null;
    return error === null ? Promise.resolve({ done: true, value: undefined }) : Promise.reject(error);
  }

  #shift(): Waiting<M> | undefined {
    const waiting = this.#messages[this.#first];
    if (waiting === undefined) return undefined;
    this.#first++;
    if (this.#first === this.#messages.length || this.#first === 1024) {
      this.#messages.splice(0, this.#first);
      this.#first = 0;
    }
    this.#count(-waiting.size);
    return waiting;
  }

  #count(bytes: number): void {
    this.bytes += bytes;
    if (this.#isOwned) memoryBudget.add(bytes);
  }
}
