import { AsyncResource } from 'node:async_hooks';

const MANUAL_DESTROY = { requireManualDestroy: true };

/**
 * What is called with each batch, in the async context of its making: the socket may be watched since it
 * sent, in another one.
 */
export class BatchListener<Batch> extends AsyncResource {
  readonly #listener: (batch: Batch) => void;

  constructor(listener: (batch: Batch) => void) {
    super('IOLoopMessages', MANUAL_DESTROY);
    this.#listener = listener;
  }

  call(batch: Batch): void {
    this.runInAsyncScope(this.#listener, undefined, batch);
  }
}
