import { checkFlag, checkFunction } from '../../arguments.ts';
import { IOLoopError, LimitError } from '../../errors.ts';
import type { IOLoop } from '../../ioloop.ts';
import type { Bytes } from '../../stream/base-stream.ts';
import type { StartTlsOptions } from '../../stream/io-stream.ts';
import type { Protocol } from '../protocol.ts';
import { ConnectionLost, type Reason } from '../reasons.ts';
import type { Producer } from '../transport.ts';
import { copyOf, HeldBytes, sizeOf } from './held-bytes.ts';
import { ProtocolWrapper, type WrapperRegistry } from './protocol-wrapper.ts';
import type { ReadThrottle, ThrottledReader } from './read-throttle.ts';
import { ThrottledProducer } from './throttled-producer.ts';
import type { ThrottledWriter, WriteThrottle } from './write-throttle.ts';

/** What keeps a connection at a rate; null: that way it is not. */
export interface Throttles {
  readonly loop: IOLoop;
  readonly reads: ReadThrottle | null;
  readonly writes: WriteThrottle | null;
  /** Bytes that it may hold back. */
  readonly maxHeldBytes: number;
}

/**
 * Reads and writes no faster than its throttles allow: it pauses the transport below, and holds back what is
 * written until it may leave. A producer waits meanwhile.
 */
export class ThrottlingProtocol extends ProtocolWrapper implements ThrottledReader, ThrottledWriter {
  readonly #throttles: Throttles;
  readonly #held = new HeldBytes();
  #producer: ThrottledProducer | null = null;
  /** The protocol above has paused it. */
  #paused = false;
  /** The throttle has. */
  #throttled = false;
  /** It was told to lose the connection, or the connection is over. */
  #closing = false;
  /** It was told to end our half. */
  #ending = false;
  /** Why it has aborted the connection. */
  #failure: Error | null = null;

  constructor(factory: WrapperRegistry, wrappedProtocol: Protocol, throttles: Throttles) {
    super(factory, wrappedProtocol);
    this.#throttles = throttles;
    // The transport would close by itself, and does not know what is held back here.
    if (throttles.writes !== null) this.readConnectionLost ??= () => this.#peerEnded();
  }

  // ---- reading

  override connectionMade(): void | Promise<void> {
    this.#throttles.reads?.add(this);
    return super.connectionMade();
  }

  override dataReceived(data: Buffer): unknown {
    this.#throttles.reads?.received(this, data.length);
    return this.#closing ? undefined : super.dataReceived(data);
  }

  override pauseProducing(): void {
    this.#paused = true;
    super.pauseProducing();
  }

  override resumeProducing(): void {
    this.#paused = false;
    this.#resume();
  }

  throttleReads(): void {
    this.#throttled = true;
    super.pauseProducing();
  }

  unthrottleReads(): void {
    this.#throttled = false;
    this.#resume();
  }

  #resume(): void {
    if (!this.#paused && !this.#throttled && !this.#closing) super.resumeProducing();
  }

  // ---- writing

  /**
   * Sends `data`, or holds it back for later. More than `maxHeldBytes` held before the call reset the
   * connection, whose ConnectionLost has a LimitError for its cause: nothing is left out of the middle.
   */
  override write(data: Bytes): void {
    const { writes, maxHeldBytes } = this.#throttles;
    if (writes === null) {
      super.write(data);
      return;
    }
    if (this.#isDone) return;
    const size = sizeOf(data);
    const admitted = writes.admit(size);
    if (admitted === size) {
      super.write(data);
    } else if (this.bytesHeld > maxHeldBytes) {
      this.#fail(tooMuchHeld(this.bytesHeld, maxHeldBytes));
    } else {
      const copy = copyOf(data);
      if (admitted > 0) super.write(copy.subarray(0, admitted));
      this.#held.push(copy.subarray(admitted));
      writes.wait(this);
      this.#producer?.hold();
    }
  }

  /** Bytes held back. */
  get bytesHeld(): number {
    return this.#held.size;
  }

  release(bytes: number): number {
    const views = this.#held.take(bytes);
    super.write(views);
    try {
      if (this.bytesHeld === 0) this.#drained();
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error('a producer failed', { cause: error }));
      // Nobody else who waits is to notice.
      this.#throttles.loop.addCallback(() => {
        throw error;
      });
    }
    return sizeOf(views);
  }

  /** Nothing is held back any more: what waited for that is done. */
  #drained(): void {
    if (this.#ending) super.loseWriteConnection();
    if (this.#closing) super.loseConnection();
    if (this.#producer !== null) this.#producer.release();
    else if (this.#closing) super.unregisterProducer();
  }

  /** Nothing is written any more but by a producer. */
  get #isDone(): boolean {
    return this.#ending || (this.#closing && this.#producer === null);
  }

  override registerProducer(producer: Producer, streaming: boolean): void {
    if (this.#throttles.writes === null) {
      super.registerProducer(producer, streaming);
      return;
    }
    checkFunction(producer?.resumeProducing, 'producer.resumeProducing');
    checkFlag(streaming, 'streaming');
    if (this.#producer !== null)
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the transport has a producer already');
    if (this.#isDone) {
      producer.stopProducing();
      return;
    }
    const throttled = new ThrottledProducer(producer, streaming, this.bytesHeld > 0);
    this.#producer = throttled;
    super.registerProducer(throttled, streaming);
    if (throttled.stopped) this.#producer = null;
  }

  override unregisterProducer(): void {
    this.#producer = null;
    // The transport that loses its connection is done without a producer.
    if (!this.#closing || this.bytesHeld === 0) super.unregisterProducer();
  }

  // ---- ending

  override get disconnecting(): boolean {
    return this.#closing || super.disconnecting;
  }

  override loseConnection(): void {
    if (this.#closing) return;
    this.#closing = true;
    if (this.bytesHeld > 0) super.pauseProducing();
    else super.loseConnection();
  }

  override loseWriteConnection(): void {
    if (this.#isDone) return;
    this.#ending = true;
    if (this.bytesHeld === 0) super.loseWriteConnection();
  }

  override abortConnection(): void {
    this.#drop();
    super.abortConnection();
  }

  /** What is held back was written plain, and leaves plain: at once, and is paid for later. */
  override startTls(options: StartTlsOptions): void {
    if (this.bytesHeld > 0) {
      this.#throttles.writes?.forget(this);
      this.#throttles.writes?.charge(this.release(this.bytesHeld));
    }
    super.startTls(options);
  }

  override connectionLost(reason: Reason): unknown {
    this.#closing = true;
    this.#producer = null;
    this.#drop();
    this.#throttles.reads?.remove(this);
    const failure = this.#failure;
    return super.connectionLost(
      failure === null ? reason : new ConnectionLost(failure.message, { cause: failure }),
    );
  }

  /** As a transport does whose protocol wants no half-open connection. */
  #peerEnded(): void {
    const producer = this.#producer;
    this.unregisterProducer();
    try {
      producer?.stopProducing();
    } finally {
      this.loseConnection();
    }
  }

  #fail(failure: Error): void {
    this.#failure ??= failure;
    this.abortConnection();
  }

  #drop(): void {
    this.#held.clear();
    this.#throttles.writes?.forget(this);
  }
}

function tooMuchHeld(held: number, limit: number): LimitError {
  const message = `${held} throttled bytes wait already, more than maxHeldBytes (${limit})`;
  return new LimitError('ERR_IOLOOP_BUFFER_FULL', message, limit);
}
