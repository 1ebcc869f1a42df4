import type { Address } from '../address.ts';
import { checkFunction } from '../arguments.ts';
import { isPromise } from '../entry-runner.ts';
import type { IOLoop } from '../ioloop.ts';
import { BaseServer } from './base-server.ts';
import { type RequestFunction, type RequestHandlerClass, requestFunction } from './request-handler.ts';

/**
 * A server by the steps that a request takes: it is verified, processed, finished, and shut down. Each is
 * a method that may be overridden (the hooks of Python's socketserver); a throw in one ends that request only.
 */
export abstract class RequestServer<Request, Client extends Address> extends BaseServer {
  readonly #finish: RequestFunction<Request, Client>;

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
  protected constructor(
    handler: RequestFunction<Request, Client> | RequestHandlerClass<Request, Client>,
    loop: IOLoop,
  ) {
    checkFunction(handler, 'handler');
    super(loop);
    this.#finish = requestFunction(handler, this);
  }

  // ---- hooks

  /**
   * Processes a request that was verified; by default calls {@link finishRequest}. The place to have others
   * wait, or another thread do it: what it returns stands for the handler's promise.
   */
  protected processRequest(request: Request, clientAddress: Client): void | Promise<void> {
    return this.finishRequest(request, clientAddress);
  }

  /** Serves a request: calls the handler, or makes a handler of its class. */
  protected finishRequest(request: Request, clientAddress: Client): void | Promise<void> {
    return this.#finish(request, clientAddress);
  }

  /** Tells what went wrong with a request; by default calls the option `onError`. */
  protected abstract handleError(error: unknown, request: Request): void | Promise<void>;

  /** Ends a request that was processed, or has failed with `cause`. */
  protected abstract shutdownRequest(request: Request, cause?: Error): void | Promise<void>;

  // ---- what its kinds say

  /** processRequest() has returned, and no promise. */
  protected abstract returned(request: Request): void | Promise<void>;

  /** The promise of processRequest() is fulfilled. */
  protected abstract fulfilled(request: Request): void | Promise<void>;

  /** shutdownRequest() is through, or has failed with `error`. */
  protected abstract shut(request: Request, error?: unknown): void;

  /** Whether `error` says only that `request` is over: a client that left is no error. */
  protected isOwnEnd(_request: Request, _error: unknown): boolean {
    return false;
  }

  // ---- for its kinds

  /** Has a request processed. Never throws; what it returns, if it is a promise, settles when it is shut down. */
  protected serve(request: Request, clientAddress: Client): void | Promise<void> {
    try {
      const result = this.processRequest(request, clientAddress);
      if (!isPromise(result)) return this.returned(request);
      return Promise.resolve(result).then(
        () => this.fulfilled(request),
        (error: unknown) => this.failed(request, error),
      );
    } catch (error) {
      return this.failed(request, error);
    }
  }

  /** A request has failed: tells so, and shuts it down. */
  protected failed(request: Request, error: unknown): void | Promise<void> {
    this.report(request, error);
    const isCause = error instanceof Error && !this.isOwnEnd(request, error);
    return this.shutDown(request, isCause ? error : undefined);
  }

  /** Calls {@link shutdownRequest}. Never throws. */
  protected shutDown(request: Request, cause?: Error): void | Promise<void> {
    try {
      const result = this.shutdownRequest(request, cause);
      if (!isPromise(result)) return this.shut(request);
      return Promise.resolve(result).then(
        () => this.shut(request),
        (error: unknown) => this.#shutAll(request, error),
      );
    } catch (error) {
      return this.#shutAll(request, error);
    }
  }

  /** Tells what went wrong with a request. */
  protected report(request: Request, error: unknown): void {
    if (!this.isOwnEnd(request, error)) this.tell(() => this.handleError(error, request));
  }

  /** Calls `tell`; what that throws, or rejects with, there is only the loop to tell. */
  protected tell(tell: () => void | Promise<void>): void {
    try {
      const result = tell();
      if (isPromise(result)) Promise.resolve(result).then(undefined, (error) => this.onError(error));
    } catch (error) {
      this.onError(error);
    }
  }

  /** @internal What has no request to be said of. */
  onError(error: unknown): void {
    this.loop.scheduler.caught(error);
  }

  #shutAll(request: Request, error: unknown): void {
    this.report(request, error);
    this.shut(request, error);
  }
}

/** A throw is a rejection: that is reported with the request. */
export function verdictOf(verify: () => boolean | Promise<boolean>): boolean | Promise<boolean> {
  try {
    const verdict = verify();
    return isPromise(verdict) ? verdict : verdict === true;
  } catch (error) {
    return Promise.reject(error);
  }
}
