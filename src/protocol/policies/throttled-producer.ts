import type { Producer } from '../transport.ts';

/** A producer that waits for two: the transport, and those who hold back what it has written. */
export class ThrottledProducer implements Producer {
  readonly #producer: Producer;
  readonly #streaming: boolean;
  #roomBelow = true;
  #roomHere: boolean;
  /** The producer was told to wait. */
  #paused = false;
  #stopped = false;

  /** @param held Whether something is held back already. */
  constructor(producer: Producer, streaming: boolean, held: boolean) {
    this.#producer = producer;
    this.#streaming = streaming;
    this.#roomHere = !held;
    this.#tell();
  }

  /** Of a transport: whether it makes nothing any more. */
  get disconnecting(): boolean {
    const producer = this.#producer;
    return 'disconnecting' in producer && producer.disconnecting === true;
  }

  /** Nobody takes any more of it. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** What it has written is held back. */
  hold(): void {
    this.#roomHere = false;
    this.#tell();
  }

  /** All of that is with the transport, which asks for more when it has left. */
  release(): void {
    this.#roomHere = true;
    this.#tell();
  }

  pauseProducing(): void {
    this.#roomBelow = false;
    this.#tell();
  }

  resumeProducing(): void {
    this.#roomBelow = true;
    if (this.#streaming) this.#tell();
    else if (this.#roomHere) this.#producer.resumeProducing();
  }

  stopProducing(): void {
    this.#stopped = true;
    this.#producer.stopProducing();
  }

  /** Tells a push producer what has changed for it. */
  #tell(): void {
    const paused = !(this.#roomBelow && this.#roomHere);
    if (!this.#streaming || paused === this.#paused) return;
    this.#paused = paused;
    if (paused) this.#producer.pauseProducing();
    else this.#producer.resumeProducing();
  }
}
