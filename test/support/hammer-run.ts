import type { IOLoop } from '../../src/index.ts';

/** What the sides of one run share. */
export class HammerRun {
  /** Its onError is told what `thrown` has, each once, and nothing else. */
  readonly loop: IOLoop;
  /** How long most connections live before somebody ends them. */
  readonly lifetimeMs = 12;
  /** Errors that were thrown, each its own, until onError has heard of them. */
  readonly thrown: Set<Error> = new Set();
  /** What else onError has heard: checks that failed, errors that it heard before. */
  readonly failures: unknown[] = [];
  /** Clients that connect or are connected, and sides that are connected. */
  open = 0;
  /** Sides that ever were. */
  connected = 0;
  #wake: () => void = () => {};

  constructor(makeLoop: (onError: (error: unknown) => void) => IOLoop) {
    this.loop = makeLoop(this.onError);
  }

  /** Is told what protocols throw. */
  readonly onError = (error: unknown): void => {
    if (!(error instanceof Error && this.thrown.delete(error))) this.failures.push(error);
  };

  /** One of the open is so no more. */
  closed(): void {
    this.open--;
    this.#wake();
  }

  /** Waits, without a turn of the loop, until no more than `most` are open. */
  async untilOpen(most: number): Promise<void> {
    while (this.open > most) await new Promise<void>((resolve) => (this.#wake = resolve));
  }
}
