import { checkDuration, checkOptions, invalidArgument } from '../../arguments.ts';
import { IOLoop } from '../../ioloop.ts';
import type { Bytes } from '../../stream/base-stream.ts';
import type { Factory, Protocol } from '../protocol.ts';
import type { Reason } from '../reasons.ts';
import type { Producer } from '../transport.ts';
import { IdleTimer } from './idle-timer.ts';
import { ProtocolWrapper, type WrapperRegistry } from './protocol-wrapper.ts';
import { WrappingFactory } from './wrapping-factory.ts';

/** How long a connection may be idle. */
export interface TimeoutOptions {
  /** Milliseconds; half an hour. */
  timeoutMs?: number | undefined;
  /** The loop of the connections; IOLoop.current(). */
  loop?: IOLoop | undefined;
}

/**
 * Ends its connection when nothing was received or written for a time. What was written counts when it is
 * written: how long a slow peer may take to receive it, the options of its stream say.
 */
export class TimeoutProtocol extends ProtocolWrapper {
  readonly #idle: IdleTimer;
  readonly #timeoutMs: number;
  #producer: Producer | null = null;

  constructor(factory: WrapperRegistry, wrappedProtocol: Protocol, timeoutMs: number, loop: IOLoop) {
    super(factory, wrappedProtocol);
    this.#timeoutMs = timeoutMs;
    this.#idle = new IdleTimer(() => this.timeoutConnection(), loop);
  }

  /** Waits that long from now on, whatever the factory says; null: for ever. */
  setTimeout(timeoutMs: number | null): number | null {
    return this.#idle.setTimeout(timeoutMs);
  }

  /** Waits anew, as after a byte. */
  resetTimeout(): void {
    this.#idle.resetTimeout();
  }

  /**
   * The time is over: closes in order. A producer is stopped first, as it would hold the connection open, and
   * has not written anything for as long.
   */
  timeoutConnection(): void {
    const producer = this.#producer;
    this.unregisterProducer();
    try {
      producer?.stopProducing();
    } finally {
      this.loseConnection();
    }
  }

  override connectionMade(): void | Promise<void> {
    this.#idle.setTimeout(this.#timeoutMs);
    return super.connectionMade();
  }

  override dataReceived(data: Buffer): unknown {
    this.#idle.resetTimeout();
    return super.dataReceived(data);
  }

  override connectionLost(reason: Reason): unknown {
    this.#idle.setTimeout(null);
    this.#producer = null;
    return super.connectionLost(reason);
  }

  override write(data: Bytes): void {
    this.#idle.resetTimeout();
    super.write(data);
  }

  override registerProducer(producer: Producer, streaming: boolean): void {
    const before = this.#producer;
    this.#producer = producer;
    try {
      super.registerProducer(producer, streaming);
    } catch (error) {
      // Refused: it is not the one to stop.
      this.#producer = before;
      throw error;
    }
  }

  override unregisterProducer(): void {
    this.#producer = null;
    super.unregisterProducer();
  }
}

/** Ends connections that are idle. */
export class TimeoutFactory extends WrappingFactory {
  readonly #timeoutMs: number;
  readonly #loop: IOLoop;

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
  constructor(wrappedFactory: Factory, options?: TimeoutOptions) {
    super(wrappedFactory);
    checkOptions(options);
    const { timeoutMs = 1_800_000, loop = IOLoop.current() } = options ?? {};
    checkDuration(timeoutMs, 'options.timeoutMs');
    if (!(loop instanceof IOLoop)) throw invalidArgument('options.loop', 'an IOLoop', loop);
    this.#timeoutMs = timeoutMs;
    this.#loop = loop;
  }

  override wrapProtocol(protocol: Protocol): TimeoutProtocol {
    return new TimeoutProtocol(this, protocol, this.#timeoutMs, this.#loop);
  }
}
