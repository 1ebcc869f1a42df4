import type { IOLoop } from '../../src/index.ts';
import { within } from './within.ts';

/** Calls `body` where the stack is empty but for Node itself: not from within a microtask. */
export function onEmptyStack<T>(body: () => T): Promise<T> {
  return new Promise((resolve, reject) => {
    setImmediate(() => {
      try {
        resolve(body());
      } catch (error) {
        reject(error);
      }
    });
  });
}

/** Awaits `promise` within the limit; gives `loop` turns meanwhile if it is driven by hand. */
export async function driven<T>(
  loop: IOLoop,
  promise: Promise<T>,
  what: string,
  limitMs = 10_000,
): Promise<T> {
  let done = false;
  const turn = (): void => {
    if (done || loop.fd < 0) return;
    loop.runOnce(5);
    setImmediate(turn);
  };
  if (loop.drive === 'manual') setImmediate(turn);
  try {
    return await within(limitMs, promise, what);
  } finally {
    done = true;
  }
}

/** A promise with the function that fulfils it: the end of a wait for callbacks. */
export function signal<T = void>(): { readonly promise: Promise<T>; readonly fire: (value: T) => void } {
  let fire: (value: T) => void = () => {};
  const promise = new Promise<T>((resolve) => {
    fire = resolve;
  });
  return { promise, fire };
}
