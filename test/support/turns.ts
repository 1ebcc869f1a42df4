import type { IOLoop } from '../../src/index.ts';

/**
 * Resolves in the callbacks of the next turn, when its due timers and ready handlers have been called.
 * What awaits it goes on inside that turn: in its microtasks, before it settles.
 */
export function nextTurn(loop: IOLoop): Promise<void> {
  return new Promise((resolve) => loop.addCallback(resolve));
}

/** Lets Node's own loop go round `count` times. What awaits it goes on outside of any turn. */
export async function passes(count: number): Promise<void> {
  for (let pass = 0; pass < count; pass++) await new Promise((resolve) => setImmediate(resolve));
}

/** How many turns `loop` makes while Node's own loop goes round `count` times. */
export async function turnsIn(count: number, loop: IOLoop): Promise<number> {
  const before = loop.metrics().turns;
  await passes(count);
  return loop.metrics().turns - before;
}

/** A handler, timer or callback that nothing may call: throws, which ends the run unless a test listens. */
export function neverCalled(): never {
  throw new Error('called, although nothing may call it');
}
