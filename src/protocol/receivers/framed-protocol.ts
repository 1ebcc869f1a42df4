import type { Buffer } from 'node:buffer';
import { isPromise } from '../../entry-runner.ts';
import type { StartTlsOptions } from '../../stream/io-stream.ts';
import type { Framer } from '../framing/framer.ts';
import { Protocol } from '../protocol.ts';
import type { Producer } from '../transport.ts';

/**
 * A protocol whose bytes a framer cuts: what all receivers have in common.
 *
 * Frames are views, valid during the call that they are given to: in an async method up to its first await.
 * The frames behind one wait until its promise has settled, and a rejection ends the connection as a throw
 * does. What a call does to the connection holds for the frames that came in the same segment as well: after
 * `pauseProducing()` they wait, and after the end of the connection, by whomever, they are dropped.
 */
export abstract class FramedProtocol<F extends Framer> extends Protocol implements Producer {
  /** Cuts what comes. */
  protected readonly framer: F;
  #isPaused = false;
  /** What the frame that was given out last has promised. */
  #promised: PromiseLike<unknown> | null = null;
  /** Waits for that, and gives out what is behind it. */
  #waiting: Promise<void> | null = null;

  protected constructor(framer: F) {
    super();
    this.framer = framer;
    framer.onError = (error) => this.framingFailed(error);
    framer.goesOn = () => {
      this.adjust();
      return !this.transport.disconnecting;
    };
  }

  override dataReceived(data: Buffer): void | Promise<void> {
    this.adjust();
    this.framer.push(data);
    if (this.#waiting !== null) return this.#waiting;
  }

  /** Gives out no frame until {@link resumeProducing}, and has the transport receive no more. */
  pauseProducing(): void {
    this.#isPaused = true;
    this.framer.pause();
    this.transport.pauseProducing();
  }

  /**
   * Ends {@link pauseProducing}: frames that are complete come before it returns, up to one that has a promise
   * returned. What it returns then settles when that has, and those behind it. It neither throws nor rejects: what
   * a frame's method throws ends this connection, whoever has called.
   */
  resumeProducing(): void | Promise<void> {
    this.#isPaused = false;
    this.transport.resumeProducing();
    try {
      if (this.#promised === null) this.#goOn();
    } catch (error) {
      this.#fail(error);
    }
    if (this.#waiting !== null) return this.#waiting;
  }

  /** Gives out no frame any more, and loses the connection. */
  stopProducing(): void {
    this.framer.pause();
    this.framer.clear();
    this.transport.stopProducing();
  }

  /** What was received and not given out: it came as plaintext, so that `startTls()` is refused meanwhile. */
  override get bytesUnread(): number {
    return this.framer.bytesBuffered;
  }

  /** Secures the connection, as the transport's does. What that throws in a frame's method ends the connection. */
  startTls(options: StartTlsOptions): void {
    this.transport.startTls(options);
  }

  /** Called with what a frame's method has returned. */
  protected returned(result: unknown): void {
    if (!isPromise(result)) return;
    this.framer.pause();
    this.#promised = result;
    this.#waiting ??= this.#wait();
  }

  /** Never rejects: nobody else may wait for it who would hear of that. */
  async #wait(): Promise<void> {
    try {
      while (this.#promised !== null) {
        await this.#promised;
        this.#promised = null;
        if (!this.#isPaused) this.#goOn();
      }
      this.#waiting = null;
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Ends the connection with what a frame's method threw. */
  #fail(error: unknown): void {
    const { transport } = this;
    if (transport.protocolFailed === undefined) throw error;
    transport.protocolFailed(error);
  }

  #goOn(): void {
    if (this.transport.disconnecting) this.framer.clear();
    this.framer.resume();
  }

  /**
   * What came cannot be cut, and nothing that comes will be. By default the connection is lost: what was
   * written is sent, and what the peer sends on costs no memory, and no more of time than any close does.
   */
  protected framingFailed(_error: Error): void {
    this.transport.loseConnection();
  }

  /** Tells the framer what a subclass has changed; called before each frame. */
  protected adjust(): void {}
}
