import { checkBoolean, checkOptions } from '../arguments.ts';
import { type Deferred, deferred } from '../deferred.ts';
import { IOLoopError, TimeoutError } from '../errors.ts';
import type { IOLoop, WaitOptions } from '../ioloop.ts';
import { checkWait, waitFor } from '../wait.ts';
import { graceOf } from './grace.ts';
import { ServiceTimer } from './service-timer.ts';

/** Whether a place where a server listens is served. */
export interface ServingOptions {
  /**
   * Serves what comes from the beginning; true. Else clients, or datagrams, wait in the kernel until
   * `handleRequest` takes one of them, or `serveForever` all.
   */
  startServing?: boolean | undefined;
}

/** One place where a server listens, as that sees it. */
export interface ListeningPlace {
  /** Whether what comes is taken in. */
  readonly isAccepting: boolean;
  /** Takes in what comes, up to `most` at a time; by default what its options say. Throws SystemError. */
  accept(most?: number): void;
  /** Takes in no more: what comes waits in the kernel. */
  rest(): void;
  ref(): void;
  unref(): void;
}

/** A request was taken in for handleRequest(). */
interface Arrival {
  readonly served: void | Promise<void>;
}

/**
 * What all servers have in common: how they begin and end to serve, and what they keep alive. They serve
 * all that comes, or one request at a time, as socketserver's do.
 */
// A LoopPart, which only the published declarations must not say.
export abstract class BaseServer {
  /** @internal */
  readonly loop: IOLoop;
  /** @internal Called when it stops, be it with its loop. */
  onStop: (() => void) | null = null;
  readonly #ended = deferred();
  readonly #services: ServiceTimer;
  #arrival: Deferred<Arrival> | null = null;
  #isReferenced = true;
  #isAttached = false;
  #isClosing = false;

  protected constructor(loop: IOLoop) {
    this.loop = loop;
    this.#services = new ServiceTimer(loop, () => this.serviceActions());
  }

  // ---- what its kinds say

  /** Where it listens. */
  protected abstract get places(): Iterable<ListeningPlace>;

  /** Whether nothing is left of it that has to end. */
  protected abstract get isEmpty(): boolean;

  /** Listens no more. */
  protected abstract stopListening(): void;

  /** Ends all that is under way at once. */
  protected abstract abortAll(): void;

  /** close() was called, and it listens no more. */
  protected closing(): void {}

  // ---- hooks

  /** No request came within the `timeoutMs` of {@link handleRequest}. To be overridden: does nothing. */
  protected handleTimeout(): void | Promise<void> {}

  /**
   * Called every 500 ms while it serves, if it is overridden: for what is to be done now and then. Calls
   * never overlap and keep no process alive; a throw goes where one in a timer of the loop goes.
   */
  protected serviceActions(): void | Promise<void> {}

  // ---- the server

  /**
   * Serves one request, the next that comes, at a server whose places all say `startServing: false`;
   * others wait in the kernel. One that verifyRequest refuses counts, one that is shed does not.
   *
   * When none comes within `timeoutMs`, calls handleTimeout(). What goes wrong with the request goes where
   * it always goes.
   *
   * @returns Settles when the request is shut down, or handleTimeout() is through, whose errors it has.
   * @throws `ERR_IOLOOP_INVALID_STATE`: the server listens nowhere, serves already, or waits for one;
   *   `ERR_IOLOOP_CLOSED`: it stops before one came; AbortError.
   */
  async handleRequest(options?: WaitOptions): Promise<void> {
    checkWait(options);
    const arrival = this.#acceptOne();
    try {
      await waitFor(this.loop, arrival.promise, options, 'a request');
    } catch (error) {
      // It may have come in the turn in which the time was over: then it is being served.
      if (this.#arrival === arrival) {
        this.#rest();
        if (!(error instanceof TimeoutError)) throw error;
        return this.handleTimeout();
      }
    }
    const { served } = await arrival.promise;
    return served;
  }

  /**
   * Serves all that comes, also where it listens without serving (`startServing`), until it is closed.
   *
   * @returns Settles when it is closed and all is gone.
   * @throws `ERR_IOLOOP_INVALID_STATE` while handleRequest() waits; `ERR_IOLOOP_CLOSED`; {@link SystemError}
   *   of addHandler().
   */
  async serveForever(): Promise<void> {
    this.checkListening();
    this.#checkAwaited();
    for (const place of this.places) place.accept();
    this.#startServices();
    return this.#ended.promise;
  }

  /** Takes in no more, and gives its addresses free. Idempotent; it may listen anew. */
  stop(): void {
    this.#services.stop();
    this.stopListening();
    this.#arrival?.reject(new IOLoopError('ERR_IOLOOP_CLOSED', 'the server has stopped'));
    this.#arrival = null;
    this.onStop?.();
  }

  /**
   * Takes in no more, ends what is idle, gives what is under way `graceMs` (30,000) to finish, then ends
   * it by force. Settles when all is gone. Idempotent.
   */
  close(options?: { graceMs?: number | undefined } | number): Promise<void> {
    const graceMs = graceOf(options);
    if (this.#isClosing) return this.#ended.promise;
    this.#isClosing = true;
    this.stop();
    this.closing();
    const timer = this.loop.callLater(graceMs, () => this.abortAll());
    void this.#ended.promise.then(() => timer.cancel());
    this.finishIfEmpty();
    return this.#ended.promise;
  }

  /** Keeps the process alive while it serves: the default. */
  ref(): this {
    return this.#setReferenced(true);
  }

  /** Does not keep the process alive by listening; what is under way does. */
  unref(): this {
    return this.#setReferenced(false);
  }

  /** {@link close} */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ---- for its kinds

  /** @throws `ERR_IOLOOP_CLOSED`. */
  protected checkListening(): void {
    if (this.#isClosing) throw new IOLoopError('ERR_IOLOOP_CLOSED', 'the server is closed');
  }

  /** Whether close() was called. */
  protected get isClosing(): boolean {
    return this.#isClosing;
  }

  /** It listens at `places`, too. Throws SystemError. */
  protected opened(places: readonly ListeningPlace[], startServing: boolean): void {
    for (const place of places) {
      if (!this.#isReferenced) place.unref();
      if (startServing) place.accept();
      else place.rest();
    }
    this.attach();
    if (startServing) this.#startServices();
  }

  /** Does what `begin` does for what has come; that is the request of handleRequest(), if that waits. */
  protected admit(begin: () => void | Promise<void>): void {
    const arrival = this.#arrival;
    if (arrival === null) {
      void begin();
      return;
    }
    this.#rest();
    let request: Arrival = { served: undefined };
    try {
      request = { served: begin() };
    } finally {
      arrival.resolve(request);
    }
  }

  /** Something is here that the loop has to wait for. */
  protected attach(): void {
    if (!this.#isAttached) this.loop.attach(this);
    this.#isAttached = true;
  }

  /** Something has ended. */
  protected finishIfEmpty(): void {
    if (!this.#isClosing || !this.isEmpty) return;
    this.#ended.resolve();
    this.loop.detach(this);
    this.#isAttached = false;
  }

  // ---- LoopPart

  /** @internal */
  settle(): void {}

  /** @internal */
  abort(): void {
    this.stop();
    this.abortAll();
    this.loop.detach(this);
  }

  /** @internal */
  abstract measure(metrics: { acceptsShed: number; datagramsDropped: number }): void;

  #acceptOne(): Deferred<Arrival> {
    this.checkListening();
    this.#checkAwaited();
    const places = [...this.places];
    if (places.length === 0) throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the server listens nowhere');
    if (places.some(({ isAccepting }) => isAccepting))
      throw new IOLoopError(
        'ERR_IOLOOP_INVALID_STATE',
        'the server serves already: listen with startServing: false',
      );
    const arrival = deferred<Arrival>();
    this.#arrival = arrival;
    try {
      for (const place of places) place.accept(1);
    } catch (error) {
      this.#rest();
      throw error;
    }
    return arrival;
  }

  #checkAwaited(): void {
    if (this.#arrival !== null)
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'handleRequest() waits for a request');
  }

  /** Nobody waits for a request any more. */
  #rest(): void {
    this.#arrival = null;
    for (const place of this.places) place.rest();
  }

  #startServices(): void {
    if (this.serviceActions !== BaseServer.prototype.serviceActions) this.#services.start();
  }

  #setReferenced(referenced: boolean): this {
    this.#isReferenced = referenced;
    for (const place of this.places) {
      if (referenced) place.ref();
      else place.unref();
    }
    return this;
  }
}

/** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
export function startsServing(options: ServingOptions | undefined): boolean {
  checkOptions(options);
  const { startServing = true } = options ?? {};
  checkBoolean(startServing, 'options.startServing');
  return startServing;
}
