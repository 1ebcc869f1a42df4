import type { AsyncResource } from 'node:async_hooks';

/** A function's name, for people. */
export function callbackName(callback: { readonly name: unknown }): string {
  // Whoever redefines it may make it anything.
  return typeof callback.name === 'string' && callback.name !== '' ? callback.name : 'anonymous';
}

/**
 * Warns of callbacks that hold up the loop: a process warning `IOLOOP_SLOW_CALLBACK` that names the
 * kind, the descriptor, the function and how long it took.
 *
 * With `IOLOOP_STACKS=1` in the environment the warning's detail is the stack of the registration;
 * taking those costs microseconds each.
 */
export class SlowCallbackMonitor {
  readonly #limitMs: number;
  readonly #stacks: WeakMap<AsyncResource, string> | undefined;
  readonly #callbacks = new WeakMap<AsyncResource, { readonly name: string }>();
  #begunMs = 0;

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
    this.#stacks = process.env.IOLOOP_STACKS === '1' ? new WeakMap() : undefined;
  }

  /** Remembers where `resource` was registered, and on whose behalf if that is not its own callback. */
  register(resource: AsyncResource, callback?: { readonly name: string }): void {
    if (callback !== undefined) this.#callbacks.set(resource, callback);
    this.#stacks?.set(resource, new Error('registered').stack?.split('\n').slice(3).join('\n') ?? '');
  }

  begin(): void {
    this.#begunMs = performance.now();
  }

  end(resource: AsyncResource, what: string, callback: { readonly name: string }): void {
    const tookMs = performance.now() - this.#begunMs;
    if (tookMs < this.#limitMs) return;
    const name = callbackName(this.#callbacks.get(resource) ?? callback);
    const detail = this.#stacks?.get(resource);
    process.emitWarning(`${what}: ${name} took ${tookMs.toFixed(1)} ms`, {
      type: 'IOLoopWarning',
      code: 'IOLOOP_SLOW_CALLBACK',
      ...(detail === undefined ? {} : { detail: `registered at\n${detail}` }),
    });
  }
}
