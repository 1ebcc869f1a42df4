import type { Address } from '../address.ts';
import type { Bytes } from '../stream/base-stream.ts';
import type { StartTlsOptions } from '../stream/io-stream.ts';

/** Makes bytes, and can be told to wait. */
export interface Producer {
  /** Makes no more until it is told to resume. */
  pauseProducing(): void;
  /** Makes more: a push producer from now on, a pull producer one piece. */
  resumeProducing(): void;
  /** Nobody will take any more, ever. */
  stopProducing(): void;
}

/** Takes bytes, and tells the producer of these when it cannot keep up. */
export interface Consumer {
  /** Takes `data`, behind all that it took before. */
  write(data: Bytes): void;
  /**
   * Has `producer` told how fast it may go, until it is unregistered.
   *
   * @param streaming Whether it makes bytes by itself (push): it is paused while more than the high water
   *   mark is queued. If not (pull), it is asked for a piece now, and for another each time that what it
   *   wrote has left; one that wrote nothing is not asked again before the next write.
   * @throws `ERR_IOLOOP_INVALID_STATE` when there is one already.
   */
  registerProducer(producer: Producer, streaming: boolean): void;
  /** Its producer has nothing more to make. No effect without one. */
  unregisterProducer(): void;
}

/** A connection, as its {@link Protocol} uses it. After the end of that nothing here has an effect. */
export interface Transport extends Producer, Consumer {
  /** Sends `data`, as {@link IOStream.write} does: all that is written in one turn leaves together. */
  write(data: Bytes): void;
  /** Sends the views in order, as one write. */
  writeSequence(data: Iterable<Uint8Array>): void;
  /**
   * Sends what was written, then closes; nothing is received any more. A producer that is registered goes
   * on until it is unregistered, unless it is a transport that is {@link disconnecting} as well.
   */
  loseConnection(): void;
  /** Resets the connection, and drops what was written. */
  abortConnection(): void;
  /** Sends what was written, then ends our half; what comes is received. */
  loseWriteConnection(): void;
  /**
   * Shakes hands: what is written from now on leaves encrypted. A handshake that fails, or takes more than
   * `timeoutMs` (10,000), ends the connection. Bytes that have come and were not given to the protocol yet are
   * refused, as they may have been put there to be taken for what came encrypted.
   *
   * @throws `ERR_IOLOOP_INVALID_STATE`: the protocol has {@link Protocol.bytesUnread} (STARTTLS injection,
   *   CVE-2011-0411), or the connection is encrypted already.
   */
  startTls(options: StartTlsOptions): void;
  /** Our end. Once the connection is over it throws `ERR_IOLOOP_STREAM_CLOSED`, unless it was asked before. */
  getHost(): Address;
  /** The peer. */
  getPeer(): Address;
  /** Whether small segments leave at once (TCP_NODELAY); they do by default. */
  setTcpNoDelay(on: boolean): void;
  /** Whether the kernel probes a silent peer (SO_KEEPALIVE), after its own two hours (tcp(7)). */
  setTcpKeepAlive(on: boolean): void;
  /**
   * @internal What a method of the protocol threw that was called by the protocol itself, on behalf of the peer:
   * ends the connection as a throw in a call of the transport's does.
   */
  protocolFailed?(error: unknown): void;
  /** Whether the connection is ending or over: by {@link loseConnection}, {@link abortConnection}, or lost. */
  readonly disconnecting: boolean;
}
