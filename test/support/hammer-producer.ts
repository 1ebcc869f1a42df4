import * as assert from 'uvu/assert';

import type { Producer, Transport } from '../../src/protocol/transport.ts';

/** Whom it produces for. */
export interface ProducingSide {
  readonly transport: Transport;
  /** Writes `length` bytes. */
  send(length: number): void;
  /** Throws. */
  fail(): never;
}

/** Makes some pieces for a side, by itself or when it is asked. */
export class HammerProducer implements Producer {
  done = false;
  readonly #side: ProducingSide;
  readonly #streaming: boolean;
  readonly #throws: boolean;
  #pieces: number;
  #paused = false;

  constructor(side: ProducingSide, streaming: boolean, pieces: number, throws: boolean) {
    this.#side = side;
    this.#streaming = streaming;
    this.#pieces = pieces;
    this.#throws = throws;
  }

  /** Whether it was told neither to stop nor to wait. */
  get isReady(): boolean {
    return !this.done && !this.#paused;
  }

  pauseProducing(): void {
    assert.not.ok(this.done, 'paused although it is done');
    this.#paused = true;
  }

  resumeProducing(): void {
    assert.not.ok(this.done, 'resumed although it is done');
    this.#paused = false;
    do {
      if (this.#pieces-- <= 0) {
        this.done = true;
        this.#side.transport.unregisterProducer();
        return;
      }
      if (this.#throws && this.#pieces === 0) this.#side.fail();
      this.#side.send(30_000);
    } while (this.#streaming && !this.#paused && !this.done);
  }

  stopProducing(): void {
    assert.not.ok(this.done, 'stopped although it is done');
    this.done = true;
  }

  /** The connection is: it was told so, if it was not done. */
  isOver(): void {
    assert.ok(this.done, 'the connection is over, and its producer was not told');
  }
}
