import { Duplex } from 'node:stream';
import type { Address, InetAddress } from '../address.ts';
import { checkMilliseconds } from '../arguments.ts';
import type { IOLoop } from '../ioloop.ts';
import type { TimerHandle } from '../timer.ts';
import type { Chunk } from './read-buffer.ts';

/** What a stream offers to be adapted: every IOStream does. */
export interface AdaptableStream {
  onData(listener: ((chunk: Chunk) => void) | null): void;
  onEnd(listener: (() => void) | null): void;
  pause(): void;
  resume(): void;
  write(data: Uint8Array | readonly Uint8Array[]): Promise<void>;
  flush(): Promise<void>;
  end(): Promise<void>;
  close(error?: Error): Promise<void>;
  abort(error?: Error): void;
  setNoDelay(on: boolean): void;
  setKeepAlive(idleMs: number | false): void;
  ref(): unknown;
  unref(): unknown;
  /** Set by the adapter: from then on it decides when the writing half ends. */
  allowHalfOpen: boolean;
  readonly closed: boolean;
  readonly ended: boolean;
  readonly error: Error | null;
  readonly whenClosed: Promise<void>;
  readonly local: Address;
  readonly remote: Address;
  readonly loop: IOLoop;
  readonly encrypted: boolean;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly bytesBuffered: number;
  readonly bytesQueued: number;
}

/** The system's own time before it probes a silent peer: tcp_keepalive_time, tcp(7). */
const KEEP_ALIVE_MS = 7_200_000;

type Callback = (error?: Error | null) => void;

/**
 * A stream as a Node stream, with what Node's own code asks of a `net.Socket`: http, tls, ws, fastify
 * and `pipeline()` take it for one. It is the stream's one reader; bytes that were read ahead come
 * first.
 *
 * `destroy()` does as a socket's does, which hands each write to the kernel at once: what was written
 * still goes out where no more than `writableHighWaterMark` of it is queued. With more behind, the
 * stream is aborted.
 */
export class StreamDuplex extends Duplex {
  /** What is adapted; closed with the duplex, and the other way round. */
  readonly stream: AdaptableStream;
  readonly connecting = false;
  readonly pending = false;
  /** What {@link StreamDuplex.setTimeout} was given; 0: none. Milliseconds. */
  timeout = 0;
  #idle: TimerHandle | null = null;

  constructor(stream: AdaptableStream) {
    // 'close' is emitted when the descriptor is gone, and an error before that, as a socket does.
    super({ allowHalfOpen: stream.allowHalfOpen, emitClose: false });
    this.stream = stream;
    stream.pause();
    stream.onData((chunk) => this.#received(chunk));
    stream.onEnd(() => void this.push(null));
    // Whoever read it before may have been told of the end; nobody is told twice.
    if (stream.ended && stream.bytesBuffered === 0) this.push(null);
    stream.allowHalfOpen = true;
    void stream.whenClosed.then(() => this.#streamClosed());
  }

  override _read(): void {
    this.stream.resume();
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, callback: Callback): void {
    this.#send(chunk, callback);
  }

  override _writev(chunks: { chunk: Uint8Array }[], callback: Callback): void {
    this.#send(
      chunks.map(({ chunk }) => chunk),
      callback,
    );
  }

  override _final(callback: Callback): void {
    if (this.stream.closed) callback();
    else settle(this.stream.end(), callback);
  }

  override _destroy(error: Error | null, callback: Callback): void {
    const { stream } = this;
    this.#idle?.cancel();
    if (!stream.closed) {
      // A flush sends in the call; how it ends is told by what is left.
      stream.flush().catch(() => {});
      if (stream.bytesQueued > this.writableHighWaterMark) stream.abort(error ?? undefined);
      else void stream.close(error ?? undefined);
    }
    // A tick later: 'error' comes first.
    void stream.whenClosed.then(() => process.nextTick(() => this.emit('close', error !== null)));
    callback(error);
  }

  /** Ends, and is destroyed as soon as all is written, read or not. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy());
  }

  /** Drops what is queued and resets the connection. */
  resetAndDestroy(): this {
    this.stream.abort();
    return this.destroy();
  }

  /**
   * Emits 'timeout' when nothing was read or written for `timeoutMs`; closes nothing.
   *
   * @param timeoutMs Milliseconds; 0: never.
   * @param callback Listens to 'timeout', once.
   */
  setTimeout(timeoutMs: number, callback?: () => void): this {
    checkMilliseconds(timeoutMs, 'timeoutMs');
    this.timeout = timeoutMs;
    if (timeoutMs > 0) {
      if (callback !== undefined) this.once('timeout', callback);
      this.#active();
    } else {
      this.#idle?.cancel();
      if (callback !== undefined) this.off('timeout', callback);
    }
    return this;
  }

  /** As `net.Socket`: nothing happens where the transport has no such thing. */
  setNoDelay(on = true): this {
    if (this.#remote !== null) this.stream.setNoDelay(on);
    return this;
  }

  /** As `net.Socket`: an `initialDelayMs` of 0 is the system's. */
  setKeepAlive(on = false, initialDelayMs = 0): this {
    if (this.#remote !== null) this.stream.setKeepAlive(on && (initialDelayMs || KEEP_ALIVE_MS));
    return this;
  }

  ref(): this {
    this.stream.ref();
    return this;
  }

  unref(): this {
    this.stream.unref();
    return this;
  }

  /** Where the socket is bound; empty for one in the Unix domain, and once it is closed, as in Node. */
  address(): { address?: string; family?: string; port?: number } {
    const local = this.stream.closed ? null : this.stream.local;
    if (local === null || local.family === 'Unix') return {};
    return { address: local.address, family: local.family, port: local.port };
  }

  get remoteAddress(): string | undefined {
    return this.#remote?.address;
  }

  get remotePort(): number | undefined {
    return this.#remote?.port;
  }

  get remoteFamily(): string | undefined {
    return this.#remote?.family;
  }

  get localAddress(): string | undefined {
    return this.address().address;
  }

  get localPort(): number | undefined {
    return this.address().port;
  }

  get localFamily(): string | undefined {
    return this.address().family;
  }

  get encrypted(): boolean {
    return this.stream.encrypted;
  }

  get bytesRead(): number {
    return this.stream.bytesRead;
  }

  /** What was written, on its way or not. */
  get bytesWritten(): number {
    return this.stream.bytesWritten + this.writableLength;
  }

  get readyState(): 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.readable) return this.writable ? 'open' : 'readOnly';
    return this.writable ? 'writeOnly' : 'closed';
  }

  /** The peer of a TCP connection that is not closed. */
  get #remote(): InetAddress | null {
    const remote = this.stream.closed ? null : this.stream.remote;
    return remote === null || remote.family === 'Unix' ? null : remote;
  }

  #received(chunk: Chunk): void {
    this.#active();
    if (!this.push(chunk)) this.stream.pause();
  }

  #send(data: Uint8Array | readonly Uint8Array[], callback: Callback): void {
    this.#active();
    settle(this.stream.write(data), (error) => {
      this.#active();
      callback(error);
    });
  }

  #streamClosed(): void {
    if (this.destroyed) return;
    if (this.stream.error !== null) {
      this.destroy(this.stream.error);
      return;
    }
    // Its reader may still have to catch up: the end of both halves destroys it then.
    this.push(null);
    this.end();
  }

  /** Begins the time of idleness anew. */
  #active(): void {
    if (this.timeout <= 0 || this.destroyed) return;
    if (this.#idle !== null) this.#idle.reschedule(this.timeout);
    else this.#idle = this.stream.loop.callLater(this.timeout, () => void this.emit('timeout')).unref();
  }
}

/**
 * `stream` as a Node stream that passes for a `net.Socket`. It becomes the one reader of the stream,
 * and closes it.
 */
export function toDuplex(stream: AdaptableStream): StreamDuplex {
  return new StreamDuplex(stream);
}

/** Calls back as `promise` settles, with what ended the stream: Node code looks for the kernel's codes. */
function settle(promise: Promise<void>, callback: Callback): void {
  promise.then(
    () => callback(),
    (error: Error) => callback(error.cause instanceof Error ? error.cause : error),
  );
}
