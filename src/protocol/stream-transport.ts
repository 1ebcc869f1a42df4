import { Buffer } from 'node:buffer';
import type { Address } from '../address.ts';
import { checkFlag, checkFunction, checkOptions, invalidArgument } from '../arguments.ts';
import { isPromise } from '../entry-runner.ts';
import { IOLoopError, LimitError } from '../errors.ts';
import type { Bytes } from '../stream/base-stream.ts';
import type { IOStream, StartTlsOptions } from '../stream/io-stream.ts';
import { Protocol } from './protocol.ts';
import { ConnectionAborted, ConnectionDone, ConnectionLost, type Reason } from './reasons.ts';
import { RegisteredProducer } from './registered-producer.ts';
import type { Producer, Transport } from './transport.ts';

/** The connection of a protocol, over a stream. */
export class StreamTransport implements Transport {
  readonly #protocol: Protocol;
  readonly #onLost: (reason: Reason) => void;
  #stream: IOStream;
  #host: Address | null = null;
  #producer: RegisteredProducer | null = null;
  #disconnecting = false;
  #lost = false;
  #paused = false;
  /** What waits for the handshake to be sent; null: there is none under way. */
  #handshake: Bytes[] | null = null;
  #bytesHeld = 0;
  #endsAfterHandshake = false;

  private constructor(stream: IOStream, protocol: Protocol, onLost: (reason: Reason) => void) {
    this.#stream = stream;
    this.#protocol = protocol;
    this.#onLost = onLost;
  }

  /**
   * Gives `protocol` the connection of `stream`.
   *
   * What it throws goes to the owner of the stream, or else to `onError` of the loop, and ends the connection.
   *
   * @param onLost Called when the protocol was told that the connection is lost.
   * @throws `ERR_IOLOOP_INVALID_ARGUMENT`: it is none, as a `buildProtocol()` may return that forgets to; the
   *   stream is still the caller's.
   */
  static connect(
    stream: IOStream,
    protocol: Protocol,
    onLost: (reason: Reason) => void = () => {},
  ): StreamTransport {
    if (!(protocol instanceof Protocol)) throw invalidArgument('protocol', 'a Protocol', protocol);
    const transport = new StreamTransport(stream, protocol, onLost);
    transport.#listen();
    transport.#call(() => protocol.makeConnection(transport));
    return transport;
  }

  // ---- writing

  write(data: Bytes): void {
    if (this.#isDone) return;
    if (this.#handshake !== null) {
      this.#hold(this.#handshake, data);
      return;
    }
    const written = this.#stream.write(data);
    this.#producer?.wrote(this.#stream, written);
  }

  writeSequence(data: Iterable<Uint8Array>): void {
    this.write([...data]);
  }

  /** Keeps `data` until the handshake is done, as bounded as what is queued. */
  #hold(held: Bytes[], data: Bytes): void {
    if (this.#endsAfterHandshake) return;
    const { maxWriteBufferSize } = this.#stream.settings;
    if (this.#bytesHeld > maxWriteBufferSize) {
      const message = `${this.#bytesHeld} bytes wait for the handshake, more than maxWriteBufferSize`;
      this.#stream.abort(new LimitError('ERR_IOLOOP_BUFFER_FULL', message, maxWriteBufferSize));
      return;
    }
    const copy = copyOf(data);
    this.#bytesHeld += copy.length;
    held.push(copy);
  }

  registerProducer(producer: Producer, streaming: boolean): void {
    for (const method of ['resumeProducing', 'pauseProducing', 'stopProducing'] as const)
      checkFunction(producer?.[method], `producer.${method}`);
    checkFlag(streaming, 'streaming');
    if (this.#producer !== null)
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the transport has a producer already');
    if (this.#isDone || this.#stream.closed) {
      this.#call(() => producer.stopProducing());
      return;
    }
    this.#producer = new RegisteredProducer(producer, streaming, (method) => this.#call(method));
    if (this.#handshake === null) this.#producer.begin();
    else this.#producer.hold();
  }

  unregisterProducer(): void {
    this.#producer?.forget();
    this.#producer = null;
    if (this.#disconnecting) this.#close();
  }

  #stopProducer(): void {
    const producer = this.#producer;
    this.#producer = null;
    producer?.stop();
  }

  // ---- reading

  pauseProducing(): void {
    this.#paused = true;
    if (this.#handshake === null) this.#stream.pause();
  }

  resumeProducing(): void {
    if (this.#disconnecting) return;
    this.#paused = false;
    if (this.#handshake === null) this.#stream.resume();
  }

  stopProducing(): void {
    this.loseConnection();
  }

  // ---- ending

  get disconnecting(): boolean {
    return this.#disconnecting || this.#lost || this.#stream.closed;
  }

  loseConnection(): void {
    if (this.#lost) return;
    this.#disconnecting = true;
    if (this.#producer === null || this.#producer.isOver) this.unregisterProducer();
    else this.pauseProducing();
  }

  abortConnection(): void {
    this.#stream.abort();
  }

  loseWriteConnection(): void {
    if (this.#isDone) return;
    if (this.#handshake !== null) {
      this.#endsAfterHandshake = true;
      return;
    }
    this.#stream.end().then(
      () => this.#lost || this.#call(() => this.#protocol.writeConnectionLost?.()),
      // A failure is the stream's, which tells it.
      () => {},
    );
  }

  /** Whether nothing is written any more but by a producer. */
  get #isDone(): boolean {
    return this.#lost || (this.#disconnecting && this.#producer === null);
  }

  #close(): void {
    if (this.#handshake === null) void this.#stream.close();
  }

  /** The peer has ended its half. */
  #peerEnded(): void {
    const protocol = this.#protocol;
    if (protocol.readConnectionLost !== undefined) this.#call(() => protocol.readConnectionLost?.());
    else this.#stopProducer();
  }

  #closed(error: Error | null): void {
    if (this.#lost) return;
    this.#lost = true;
    this.#handshake = null;
    this.#stopProducer();
    const reason = this.#reason(error);
    this.#call(() => this.#protocol.connectionLost(reason));
    this.#onLost(reason);
  }

  #reason(error: Error | null): Reason {
    if (error !== null)
      return new ConnectionLost(`the connection was lost: ${error.message}`, { cause: error });
    return this.#stream.wasReset ? new ConnectionAborted() : DONE;
  }

  // ---- TLS

  startTls(options: StartTlsOptions): void {
    checkOptions(options ?? null);
    if (this.#isDone || this.#stream.closed) return;
    if (this.#handshake !== null || this.#stream.encrypted)
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the connection is encrypted, or about to be');
    const { bytesUnread } = this.#protocol;
    if (bytesUnread > 0)
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', `${bytesUnread} bytes of plaintext are unread`);
    const plain = this.#stream;
    plain.onData(null);
    plain.onEnd(null);
    plain.onClose(null);
    if (this.#paused) plain.resume();
    this.#handshake = [];
    this.#producer?.hold();
    plain.startTls({ ...options, timeoutMs: options.timeoutMs ?? HANDSHAKE_TIMEOUT_MS }).then(
      (secured) => this.#secured(plain, secured),
      (error: Error) => this.#notSecured(plain, error),
    );
  }

  #secured(plain: IOStream, stream: IOStream): void {
    // Aborted when the handshake was done already.
    if (plain.closed) stream.abort(plain.error ?? undefined);
    const written = this.#handshake ?? [];
    this.#handshake = null;
    this.#stream = stream;
    this.#listen();
    if (stream.closed) return;
    for (const data of written) void stream.write(data);
    if (this.#paused) stream.pause();
    this.#call(() => this.#protocol.handshakeCompleted?.());
    if (!stream.closed) this.#producer?.goOn();
    if (this.#endsAfterHandshake) this.loseWriteConnection();
    if (this.#isDone) this.#close();
  }

  #notSecured(plain: IOStream, error: Error): void {
    // Nothing plain after that, if it is still there to be asked for.
    plain.abort(error);
    void plain.whenClosed.then(() => this.#call(() => this.#closed(plain.error)));
  }

  // ---- the connection

  getHost(): Address {
    // Nobody knows it any more when the descriptor is gone.
    this.#host ??= this.#stream.local;
    return this.#host;
  }

  getPeer(): Address {
    return this.#stream.remote;
  }

  setTcpNoDelay(on: boolean): void {
    checkFlag(on, 'on');
    if (this.#stream.fd >= 0) this.#stream.setNoDelay(on);
  }

  setTcpKeepAlive(on: boolean): void {
    checkFlag(on, 'on');
    if (this.#stream.fd >= 0) this.#stream.setOption('SO_KEEPALIVE', on);
  }

  /** @internal */
  protocolFailed(error: unknown): void {
    this.#stream.listenerFailed(error);
  }

  // ---- listening

  #listen(): void {
    const stream = this.#stream;
    stream.onViews((view) => this.#protocol.dataReceived(view));
    stream.onEnd(() => this.#peerEnded());
    stream.onClose((error) => this.#closed(error));
    if (this.#protocol.readConnectionLost !== undefined) stream.allowHalfOpen = true;
  }

  /** What `method` throws, or its promise rejects with, ends this connection and no other. */
  #call(method: () => unknown): void {
    try {
      const result = method();
      if (isPromise(result)) result.then(undefined, (error: unknown) => this.#stream.listenerFailed(error));
    } catch (error) {
      this.#stream.listenerFailed(error);
    }
  }
}

/** How long a handshake may take where nobody says: as long as a server's own. */
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** What most connections end with: one for all, since it says the same of each. */
const DONE = new ConnectionDone();

function copyOf(data: Bytes): Bytes {
  if (typeof data === 'string') return data;
  return data instanceof Uint8Array ? Buffer.from(data) : Buffer.concat(data);
}
