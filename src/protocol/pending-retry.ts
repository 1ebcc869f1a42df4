import type { IOLoop } from '../ioloop.ts';
import type { LoopPart } from '../loop-part.ts';
import type { TimerHandle } from '../timer.ts';

/** An attempt that waits for its time: it is off when its loop ends before that. */
export class PendingRetry implements LoopPart {
  readonly #loop: IOLoop;
  readonly #timer: TimerHandle;
  readonly #calledOff: () => void;

  /** Calls `begin` after `delayMs`, or `calledOff` when that will not be. */
  constructor(loop: IOLoop, delayMs: number, begin: () => void, calledOff: () => void) {
    this.#loop = loop;
    this.#calledOff = calledOff;
    this.#timer = loop.callLater(delayMs, () => {
      loop.detach(this);
      begin();
    });
    loop.attach(this);
  }

  /** Ends the wait. */
  cancel(): void {
    this.#timer.cancel();
    this.#loop.detach(this);
    this.#calledOff();
  }

  // ---- LoopPart

  settle(): void {}

  async close(): Promise<void> {
    this.cancel();
  }

  abort(): void {
    this.cancel();
  }

  measure(): void {}
}
