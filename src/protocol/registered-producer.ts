import type { IOStream } from '../stream/io-stream.ts';
import type { Producer } from './transport.ts';

/** The producer of a transport, told to wait and to go on as what it has written leaves. */
export class RegisteredProducer {
  readonly #producer: Producer;
  /** It pushes; else it is asked for each piece. */
  readonly #streaming: boolean;
  readonly #call: (method: () => unknown) => void;
  /** It was told to wait, and is told to go on when there is room. */
  #waits = false;
  #isForgotten = false;

  /** @param call Calls a method of the producer, whose failure is the connection's. */
  constructor(producer: Producer, streaming: boolean, call: (method: () => unknown) => void) {
    this.#producer = producer;
    this.#streaming = streaming;
    this.#call = call;
  }

  /** Asks a pull producer for its first piece; a push producer tells when it has one. */
  begin(): void {
    if (!this.#streaming) this.#call(() => this.#producer.resumeProducing());
  }

  /** Has it wait until {@link goOn}. */
  hold(): void {
    if (this.#waits) return;
    this.#waits = true;
    if (this.#streaming) this.#call(() => this.#producer.pauseProducing());
  }

  /** It has written: that waits until there is room, or is asked for more when all has left. */
  wrote(stream: IOStream, written: Promise<void>): void {
    if (this.#waits || (this.#streaming && stream.bytesQueued <= stream.settings.highWaterMark)) return;
    this.hold();
    const goOn = (): void => {
      if (!stream.closed) this.goOn();
    };
    // One piece a turn: a peer that takes all at once is not to keep others waiting.
    const goOnNext = (): unknown => stream.closed || stream.loop.addCallback(goOn);
    // A failure is the stream's, which tells it.
    if (this.#streaming) written.then(goOn, () => {});
    else stream.flush().then(goOnNext, () => {});
  }

  /** The end of {@link hold}. */
  goOn(): void {
    if (this.#isForgotten || !this.#waits) return;
    this.#waits = false;
    this.#call(() => this.#producer.resumeProducing());
  }

  /** It is told nothing any more. */
  forget(): void {
    this.#isForgotten = true;
  }

  /** Nobody will take what it makes. */
  stop(): void {
    this.forget();
    this.#call(() => this.#producer.stopProducing());
  }

  /** Whether it is a transport that receives nothing any more: the one it writes to, or another that this goes along with. */
  get isOver(): boolean {
    return 'disconnecting' in this.#producer && this.#producer.disconnecting === true;
  }
}
