import { Buffer } from 'node:buffer';
import { checkBoolean, checkFunction, checkInteger, checkOptions, invalidArgument } from '../arguments.ts';
import { isPromise } from '../entry-runner.ts';
import { AbortError, IOLoopError, LimitError, TimeoutError } from '../errors.ts';
import { Interest } from '../interest.ts';
import type { WaitOptions } from '../ioloop.ts';
import { EAGAIN } from '../raw.ts';
import { checkWait } from '../wait.ts';
import { Delimiter } from './delimiter.ts';
import { memoryBudget } from './memory-budget.ts';
import {
  AtMost,
  type Behind,
  Exactly,
  type Framing,
  IntoTarget,
  NextPiece,
  PendingRead,
  UntilDelimiter,
  UntilEnd,
  UntilRegex,
} from './pending-read.ts';
import { type Chunk, EMPTY_CHUNK, ReadBuffer } from './read-buffer.ts';
import type { ReceivePool } from './receive-pool.ts';
import { StreamCore } from './stream-core.ts';
import {
  BLOCKED,
  BULKY,
  CLOSE_DUE,
  CLOSED,
  CLOSING,
  CORKED,
  DEAF,
  DONE,
  END_TOLD,
  HALF_OPEN,
  ITERATING,
  LINGERING,
  LISTENER_BUSY,
  NO_MEMORY,
  NOT_DELIVERING,
  PAUSED,
  PEER_ENDED,
  SHUT,
  TO_NOTIFY,
  TO_SERVE,
  VIEWS,
} from './stream-state.ts';
import { earlier, NEVER } from './timeout-wheel.ts';
import type { ViewSlab } from './view-slab.ts';
import { SETTLED } from './wait.ts';

/** A receive of fewer bytes is a small one. */
const SMALL = 4 * 1024;
/** A receive of so many bytes keeps the slab it came in. */
const KEEPS_SLAB = 32 * 1024;
/** Bytes that a closing stream drains. */
const MAX_DRAINED = 256 * 1024;
const DEFAULT_MAX_BYTES = 64 * 1024;
const NEXT_PIECE = new NextPiece();
const NO_INPUT = new ReadBuffer();
// A program reads by one delimiter, or few: all its streams share this.
let lastAtMost = new AtMost(0);
let lastFraming = new UntilDelimiter(Delimiter.of('\n'), DEFAULT_MAX_BYTES);

/** The reading half: framed reads, listeners, limits, the peer's end. */
export abstract class ReadingStream<Self> extends StreamCore<Self> implements AsyncIterable<Chunk> {
  #input: ReadBuffer | null = null;
  #reader: PendingRead | null = null;
  #listener: ((chunk: Chunk, stream: Self) => void | Promise<void>) | null = null;
  #bytesRead = 0;

  /**
   * The bytes up to `delimiter`, which is included.
   *
   * Remembers how far it has searched: bytes that come one by one cost as much as those that come
   * together.
   *
   * @param options `maxBytes`: how long the message may be, delimiter included; 64 KiB. More is a
   *   {@link LimitError}, and the stream closes at the end of the turn.
   */
  readUntil(
    delimiter: string | Uint8Array,
    options?: { maxBytes?: number | undefined } & WaitOptions,
  ): Promise<Chunk> {
    try {
      return this.read(this.untilDelimiter(delimiter, options), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** As {@link readUntil}, from what has come alone: null when the message is not complete. */
  tryReadUntil(delimiter: string | Uint8Array, options?: { maxBytes?: number | undefined }): Chunk | null {
    return this.tryRead(this.untilDelimiter(delimiter, options));
  }

  /**
   * The bytes up to the end of the first match of `pattern`, which sees them as Latin-1.
   *
   * Patterns are trusted: nothing interrupts one that takes long. It is tried again when the bytes
   * have doubled, or when no more have come for a while; `maxBytes` as for {@link readUntil}.
   */
  readUntilRegex(pattern: RegExp, options?: { maxBytes?: number | undefined } & WaitOptions): Promise<Chunk> {
    try {
      if (!(pattern instanceof RegExp)) throw invalidArgument('pattern', 'a RegExp', pattern);
      return this.read(new UntilRegex(pattern, this.maxBytes(options, DEFAULT_MAX_BYTES)), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** `count` bytes; with `partial` what there is, one byte at least. */
  readBytes(count: number, options?: { partial?: boolean | undefined } & WaitOptions): Promise<Chunk> {
    try {
      return this.read(this.bytes(count, options), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** As {@link readBytes}, from what has come alone: null when there is not enough. */
  tryReadBytes(count: number, options?: { partial?: boolean | undefined }): Chunk | null {
    return this.tryRead(this.bytes(count, options));
  }

  /**
   * Fills `target`; with `partial` as far as there is something, one byte at least. Returns how many
   * bytes. They are received right there, and `maxBufferSize` does not bound them.
   */
  readInto(target: Uint8Array, options?: { partial?: boolean | undefined } & WaitOptions): Promise<number> {
    try {
      if (!(target instanceof Uint8Array)) throw invalidArgument('target', 'a Uint8Array', target);
      checkOptions(options);
      checkBoolean(options?.partial, 'options.partial');
      return this.read(new IntoTarget(target, options?.partial === true), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** All bytes up to the peer's end. `maxBytes`: `maxBufferSize` by default. */
  readUntilClose(options?: { maxBytes?: number | undefined } & WaitOptions): Promise<Chunk> {
    try {
      return this.read(new UntilEnd(this.maxBytes(options, this.settings.maxBufferSize)), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** The bytes as they come. Returns at the peer's end, throws on failure; leaving it leaves the stream open. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Chunk> {
    let isReader = false;
    let done = false;
    const leave = (): void => {
      if (isReader) this.state &= ~ITERATING;
      isReader = false;
    };
    const end = async (): Promise<IteratorResult<Chunk>> => {
      leave();
      done = true;
      return { value: undefined, done };
    };
    const next = async (): Promise<IteratorResult<Chunk>> => {
      if (done) return end();
      if (this.isRead && !(isReader && this.#reader === null)) throw readPending();
      leave();
      const reading = this.read(NEXT_PIECE, undefined);
      this.state |= ITERATING;
      isReader = true;
      try {
        return { value: await reading, done: false };
      } catch (error) {
        await end();
        if (this.hasEndedCleanly && IOLoopError.is(error, 'ERR_IOLOOP_STREAM_CLOSED')) return end();
        throw error;
      }
    };
    const iterator = { next, return: end, [Symbol.asyncIterator]: () => iterator };
    return iterator;
  }

  /**
   * Calls `listener` with the bytes as they come; null: back to reads.
   *
   * A promise that it returns pauses the stream until it settles, unless write() has returned it as
   * settled; its rejection, like a throw, closes the stream.
   */
  onData(listener: ((chunk: Chunk, stream: Self) => void | Promise<void>) | null): void {
    if (listener !== null) checkFunction(listener, 'listener');
    if (this.#reader !== null || (this.state & ITERATING) !== 0) throw readPending();
    this.#listener = listener;
    this.state &= ~VIEWS;
    if (listener !== null || (this.state & CLOSED) !== 0) this.serveLater();
  }

  /** @internal As {@link onData}, with views of memory that is used again as soon as `listener` returns. */
  onViews(listener: (view: Chunk, stream: Self) => void | Promise<void>): void {
    this.onData(listener);
    this.state |= VIEWS;
  }

  /** Receives and delivers nothing until {@link resume}. */
  pause(): void {
    this.state |= PAUSED;
  }

  /** Ends {@link pause}. */
  resume(): void {
    if ((this.state & PAUSED) === 0) return;
    this.state &= ~PAUSED;
    this.serveLater();
  }

  /** Puts a copy of `data` back to the front of what was received. */
  unshift(data: Uint8Array): void {
    if (!(data instanceof Uint8Array)) throw invalidArgument('data', 'a Uint8Array', data);
    if ((this.state & DEAF) !== 0) throw this.refusal();
    this.#input ??= this.settings.streams.takeInput();
    this.#input.unshift(data);
    this.count(data.length);
    this.serveLater();
  }

  /** Bytes received so far. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  /** Bytes received and not yet read. */
  override get bytesBuffered(): number {
    return this.#input?.length ?? 0;
  }

  // ---- for those who look after it

  /** @internal Whether somebody reads, or will be told of what comes. */
  get isRead(): boolean {
    return this.#reader !== null || this.#listener !== null || (this.state & ITERATING) !== 0;
  }

  /** @internal */
  override holdForMemory(hold: boolean): void {
    if (hold) {
      this.state |= NO_MEMORY;
      return;
    }
    this.state &= ~NO_MEMORY;
    this.receiveAgain();
  }

  /** Whether a read waits. */
  protected get isWaiting(): boolean {
    return this.#reader !== null;
  }

  /** All that was received and not read. */
  protected takeAll(): Chunk {
    const input = this.#input;
    return input === null ? EMPTY_CHUNK : this.counted(input, () => input.take(input.length));
  }

  // ---- reads

  private untilDelimiter(
    delimiter: string | Uint8Array,
    options: { maxBytes?: number | undefined } | undefined,
  ): UntilDelimiter {
    const maxBytes = this.maxBytes(options, DEFAULT_MAX_BYTES);
    const wanted = Delimiter.of(delimiter);
    if (lastFraming.delimiter === wanted && lastFraming.maxBytes === maxBytes) return lastFraming;
    if (wanted.bytes.length > maxBytes)
      throw invalidArgument(
        'options.maxBytes',
        `at least the delimiter's ${wanted.bytes.length} bytes`,
        maxBytes,
      );
    lastFraming = new UntilDelimiter(wanted, maxBytes);
    return lastFraming;
  }

  private maxBytes(options: { maxBytes?: number | undefined } | undefined, byDefault: number): number {
    const { maxBufferSize } = this.settings;
    if (options === undefined) return Math.min(byDefault, maxBufferSize);
    checkOptions(options);
    const { maxBytes = Math.min(byDefault, maxBufferSize) } = options;
    checkInteger(maxBytes, 'options.maxBytes', 1, Number.MAX_SAFE_INTEGER);
    if (maxBytes > maxBufferSize) throw overBuffer('options.maxBytes', maxBytes, maxBufferSize);
    return maxBytes;
  }

  private bytes(count: number, options: { partial?: boolean | undefined } | undefined): Framing<Chunk> {
    checkInteger(count, 'count', 0, Number.MAX_SAFE_INTEGER);
    checkOptions(options);
    checkBoolean(options?.partial, 'options.partial');
    if (options?.partial === true) {
      if (lastAtMost.count !== count) lastAtMost = new AtMost(count);
      return lastAtMost;
    }
    const { maxBufferSize } = this.settings;
    if (count > maxBufferSize) throw overBuffer('count', count, maxBufferSize);
    return new Exactly(count);
  }

  /** What `framing` takes from the buffer, now or when it has come. */
  private read<T>(framing: Framing<T>, options: WaitOptions | undefined): Promise<T> {
    checkWait(options);
    if (this.isRead) return Promise.reject(readPending());
    if (options?.signal?.aborted) return Promise.reject(new AbortError(options.signal.reason));
    if ((this.state & DEAF) !== 0) return Promise.reject(this.refusal());
    try {
      const result = this.take(framing);
      if (result !== undefined) return Promise.resolve(result);
    } catch (error) {
      return Promise.reject(error);
    }
    if (this.isDry) return Promise.reject(this.tellReaderEnd(framing));
    return new Promise<T>((resolve, reject) => {
      this.await(new PendingRead(framing, resolve as (result: unknown) => void, reject), options);
    });
  }

  private tryRead(framing: Framing<Chunk>): Chunk | null {
    if (this.isRead) throw readPending();
    if ((this.state & DEAF) !== 0) throw this.refusal();
    return this.take(framing) ?? null;
  }

  /** Whether nothing more will come. */
  private get isDry(): boolean {
    return (this.state & (PEER_ENDED | CLOSED)) !== 0;
  }

  private get hasEndedCleanly(): boolean {
    return (this.state & PEER_ENDED) !== 0 && this.error === null;
  }

  private get behind(): Behind {
    if (!this.isDry) return 'more';
    return this.hasEndedCleanly ? 'end' : 'failure';
  }

  /** Lets `framing` take from the buffer. A message over its limit ends the stream with this turn. */
  private take<T>(framing: Framing<T>): T | undefined {
    const input = this.#input;
    if (input === null || input.length === 0) return framing.take(NO_INPUT, this.behind);
    const before = input.length;
    try {
      const result = framing.take(input, this.behind);
      this.count(input.length - before);
      if (result !== undefined) this.taken();
      return result;
    } catch (error) {
      this.count(input.length - before);
      this.breakOff(error);
      throw error;
    }
  }

  /** What comes can no longer be told apart, or not without a hole: the stream ends with this turn. */
  private breakOff(error: unknown): void {
    this.setError(error instanceof Error ? error : null);
    this.state |= CLOSE_DUE;
    this.unsettle();
  }

  /** Runs what may take from `input`, and counts what it took. */
  private counted<T>(input: ReadBuffer, taking: () => T): T {
    const before = input.length;
    try {
      return taking();
    } finally {
      this.count(input.length - before);
    }
  }

  private count(bytes: number): void {
    // What a stream that is over has left goes with the stream, when nobody holds it any more.
    if ((this.state & CLOSED) !== 0) return;
    this.settings.streams.bytesBuffered += bytes;
    memoryBudget.add(bytes);
  }

  protected override stopCounting(): void {
    this.count(-this.bytesBuffered);
  }

  /** Something was taken from the buffer: there is room, or the end behind it has come. */
  private taken(): void {
    this.deadlines?.readDone();
    this.dropEmpty();
    // Who was given the last bytes sees them before the end.
    if ((this.state & (PEER_ENDED | END_TOLD)) === PEER_ENDED && this.bytesBuffered === 0) this.serveLater();
    else this.receiveAgain();
  }

  private await(reader: PendingRead, options: WaitOptions | undefined): void {
    this.#reader = reader;
    if (options?.signal !== undefined || options?.timeoutMs !== undefined) this.limitWait(reader, options);
    if (this.bytesBuffered > 0) this.begun(0);
    this.receiveAgain();
  }

  /** An empty buffer is another stream's. */
  private dropEmpty(): void {
    const input = this.#input;
    if (input === null || input.length > 0) return;
    this.#input = null;
    this.settings.streams.returnInput(input);
  }

  private limitWait(reader: PendingRead, { signal, timeoutMs }: WaitOptions): void {
    const limits = { forgetSignal: (): void => {}, deadline: NEVER, timeoutMs: 0 };
    reader.limits = limits;
    if (signal !== undefined) {
      const onAbort = (): void => this.endWait(reader, new AbortError(signal.reason));
      signal.addEventListener('abort', onAbort, { once: true });
      limits.forgetSignal = () => signal.removeEventListener('abort', onAbort);
    }
    if (timeoutMs !== undefined && timeoutMs !== Number.POSITIVE_INFINITY) {
      const { wheel } = this.settings.streams;
      limits.timeoutMs = timeoutMs;
      limits.deadline = wheel.after(timeoutMs);
      wheel.schedule(this, limits.deadline);
    }
  }

  /** The waiting ends, not the stream: what came stays for the next read. */
  private endWait(reader: PendingRead, error: Error): void {
    if (this.#reader !== reader) return;
    this.putBack(reader.framing);
    this.rejectReader(error);
    this.deadlines?.readDone();
  }

  private putBack(framing: Framing<unknown>): void {
    if (framing.abandon === undefined) return;
    this.#input ??= this.settings.streams.takeInput();
    const input = this.#input;
    try {
      this.counted(input, () => framing.abandon?.(input));
    } catch (error) {
      this.breakOff(error);
    }
  }

  private resolveReader(reader: PendingRead, result: unknown): void {
    this.#reader = null;
    reader.limits?.forgetSignal();
    reader.resolve(result);
  }

  private rejectReader(error: Error): void {
    const reader = this.#reader;
    this.#reader = null;
    reader?.limits?.forgetSignal();
    reader?.reject(error);
  }

  protected override expireRead(tick: number): number {
    const reader = this.#reader;
    if (reader === null) return NEVER;
    const { deadline: due = NEVER, timeoutMs = 0 } = reader.limits ?? {};
    let next = due;
    if (next !== NEVER && next <= tick) {
      this.endWait(reader, new TimeoutError(`the read took more than ${timeoutMs} ms`));
      return NEVER;
    }
    if (reader.framing instanceof UntilRegex && reader.framing.wantsRetry(this.bytesBuffered)) {
      if (reader.framing.isQuiet(this.bytesBuffered)) this.serveReader(reader);
      else next = earlier(next, tick + 1);
    }
    return next;
  }

  // ---- receiving

  /** Receives what is there, as far as somebody wants it. `over`: an error waits, or both halves have ended. */
  protected override receive(over: boolean): void {
    const before = this.#bytesRead;
    while (this.#bytesRead - before < this.settings.maxReadPerTurn) {
      if (!this.takesMore()) {
        // Who took the last bytes may be ready for more by the end of the turn; if not, it is told again.
        if (this.#bytesRead > before && !this.readsInPieces) return;
        // What nobody takes would be told for ever.
        if (over) this.want(Interest.READ | Interest.WRITE, false);
        else this.want(Interest.READ, false);
        return;
      }
      if (!this.receiveOnce()) return;
    }
    this.readMore();
  }

  /** One receive; false: there is no more for now, or for ever. */
  private receiveOnce(): boolean {
    if ((this.state & (VIEWS | LINGERING | NOT_DELIVERING)) === VIEWS && this.bytesBuffered === 0)
      return this.receiveView(this.settings.streams.views);
    const { slab, pool } = this.settings.streams;
    const target = this.bytesBuffered === 0 ? (this.#reader?.framing.target ?? null) : null;
    const inPool = target === null && (this.state & BULKY) === 0;
    const room = target ?? (inPool ? pool.memory : slab);
    const start = inPool ? pool.start : 0;
    const count = this.readFromFd(room, start);
    if (count <= 0) return this.receivedNothing(count);
    this.#bytesRead += count;
    const filled = count === room.length - start;
    if (target !== null) {
      this.receivedInto(count);
    } else {
      if (filled) this.state |= BULKY;
      else if (count < SMALL) this.state &= ~BULKY;
      if (inPool) this.receivedInPool(pool, count);
      else this.received(slab, count);
    }
    return filled || this.readsInPieces;
  }

  /** As {@link receiveOnce}, for a listener that takes what comes before it returns. */
  private receiveView(slab: ViewSlab): boolean {
    const { memory } = slab;
    const count = this.readFromFd(memory, 0);
    if (count <= 0) return this.receivedNothing(count);
    this.#bytesRead += count;
    this.deliver(slab.view(count));
    this.begun(count);
    return count === memory.length || this.readsInPieces;
  }

  private receivedNothing(result: number): false {
    if (result === 0) this.peerEnded();
    else if (result !== EAGAIN) this.fail(this.errorOf(result, 'recv'));
    return false;
  }

  private takesMore(): boolean {
    const state = this.state;
    if ((state & LINGERING) !== 0) return (state & (PEER_ENDED | CLOSED)) === 0;
    return (state & (PAUSED | LISTENER_BUSY | NO_MEMORY)) === 0 && this.hasRoom();
  }

  /** Whether more may be kept, for now or later. */
  private hasRoom(): boolean {
    if ((this.state & (PEER_ENDED | CLOSED | DEAF | CLOSE_DUE)) !== 0) return false;
    if (!this.settings.streams.mayReceive(this)) return false;
    return this.#reader !== null || this.#listener !== null || this.bytesBuffered < this.settings.readAhead;
  }

  /** Sees to it that what is wanted is received. */
  protected override receiveAgain(): void {
    if ((this.interest & Interest.READ) === 0 && this.takesMore()) this.want(Interest.READ, true);
  }

  /** `count` bytes came where small receives go. */
  private receivedInPool(pool: ReceivePool, count: number): void {
    if (this.bytesBuffered > 0 || (this.state & LINGERING) !== 0) {
      this.received(pool.memory.subarray(pool.start), count);
      return;
    }
    const chunk = pool.take(count);
    if (this.#listener !== null && (this.state & NOT_DELIVERING) === 0) {
      this.deliver(chunk);
    } else {
      this.#input ??= this.settings.streams.takeInput();
      this.#input.adopt(chunk, count);
      this.count(count);
      this.serve();
    }
    this.begun(count);
  }

  /** `count` bytes came to the front of `slab`. */
  private received(slab: Chunk, count: number): void {
    if ((this.state & LINGERING) !== 0) {
      this.extras.drained += count;
      if (this.extras.drained > MAX_DRAINED) this.dispose(null, false);
      return;
    }
    if (this.#listener !== null && this.bytesBuffered === 0 && (this.state & NOT_DELIVERING) === 0) {
      this.deliver(
        count >= KEEPS_SLAB ? this.settings.streams.takeSlab().subarray(0, count) : copyOf(slab, count),
      );
    } else {
      this.keep(slab, count);
      this.serve();
    }
    this.begun(count);
  }

  /** Buffers the first `count` bytes of the slab. */
  private keep(slab: Chunk, count: number): void {
    this.#input ??= this.settings.streams.takeInput();
    if (count >= KEEPS_SLAB) this.#input.adopt(this.settings.streams.takeSlab(), count);
    else this.#input.append(slab, count);
    this.count(count);
  }

  private receivedInto(count: number): void {
    const reader = this.#reader;
    const result = reader?.framing.received?.(count);
    if (reader !== null && result !== undefined) {
      this.deadlines?.readDone();
      this.resolveReader(reader, result);
    }
    this.begun(count);
  }

  /** `count` bytes have come: what that means for the deadlines. */
  private begun(count: number): void {
    const framing = this.#reader?.framing;
    if (framing instanceof UntilRegex)
      this.settings.streams.wheel.schedule(this, this.settings.streams.wheel.now() + 1);
    if (this.deadlines === null) return;
    this.deadlines.received(count, framing?.isFramed === true, this.loop.time());
    this.scheduleDeadlines();
  }

  /** Receives what came before the failure, as far as the limits go. */
  protected override salvage(): void {
    while (this.hasRoom() && this.bytesBuffered < this.settings.maxBufferSize) {
      // Each time anew: a receive of many bytes has kept the one before.
      const { slab } = this.settings.streams;
      const count = this.readFromFd(slab, 0);
      if (count <= 0) return;
      this.#bytesRead += count;
      this.keep(slab, count);
    }
  }

  /** Begins to receive, where the constructor was told to wait. */
  protected startReading(): void {
    this.want(Interest.READ, true);
  }

  // ---- delivering

  /** Gives what is buffered to whoever reads. */
  protected override serve(): void {
    const reader = this.#reader;
    if (reader !== null) this.serveReader(reader);
    while (this.#listener !== null && this.bytesBuffered > 0 && (this.state & NOT_DELIVERING) === 0) {
      const input = this.#input ?? NO_INPUT;
      this.emit(this.counted(input, () => input.takePiece(input.length)));
    }
    if ((this.state & (PEER_ENDED | END_TOLD | TO_SERVE)) === PEER_ENDED && this.bytesBuffered === 0)
      this.tellEnd();
    else this.receiveAgain();
    if ((this.state & CLOSED) === 0 || this.isDelivering) return;
    this.state |= TO_NOTIFY;
    this.unsettle();
  }

  protected override get isDelivering(): boolean {
    if (this.#listener === null || (this.state & DEAF) !== 0) return false;
    return (this.state & LISTENER_BUSY) !== 0 || this.bytesBuffered > 0;
  }

  private serveReader(reader: PendingRead): void {
    if ((this.state & PAUSED) !== 0) return;
    try {
      const result = this.take(reader.framing);
      if (result !== undefined) this.resolveReader(reader, result);
      else if (this.isDry) this.endWait(reader, this.tellReaderEnd(reader.framing));
    } catch (error) {
      if (error instanceof Error) this.rejectReader(error);
    }
  }

  /** Serves at the end of the turn, not within the caller's call. */
  private serveLater(): void {
    this.state |= TO_SERVE;
    this.unsettle();
  }

  /** Gives the listener what has just come, and sends what it answers. */
  private deliver(chunk: Chunk): void {
    this.state |= CORKED;
    this.emit(chunk);
    this.state &= ~CORKED;
    if (!this.isSending || (this.state & (BLOCKED | CLOSING | CLOSED)) !== 0) return;
    // At once, not when the turn ends: what the kernel has just freed is what it needs to send. A listener
    // that is at work may have more to say.
    if ((this.state & LISTENER_BUSY) === 0) this.transmit();
    else this.unsettle();
  }

  private emit(chunk: Chunk): void {
    try {
      const result = this.#listener?.(chunk, this.self);
      if (result === undefined || result === SETTLED || !isPromise(result)) return;
      this.state |= LISTENER_BUSY;
      this.hold();
      Promise.resolve(result).then(
        () => this.listenerDone(),
        (error: unknown) => this.listenerRejected(error),
      );
    } catch (error) {
      this.listenerFailed(error);
    }
  }

  private listenerDone(): void {
    this.state &= ~LISTENER_BUSY;
    this.release();
    this.serve();
  }

  private listenerRejected(error: unknown): void {
    this.state &= ~LISTENER_BUSY;
    this.release();
    this.listenerFailed(error);
  }

  private peerEnded(): void {
    this.state |= PEER_ENDED;
    if ((this.state & LINGERING) !== 0) this.dispose(null, false);
    else this.serve();
  }

  /** Tells that nothing more will come; the stream then closes by itself, unless our half may stay open. */
  private tellEnd(): void {
    if ((this.state & END_TOLD) !== 0 || (this.state & PEER_ENDED) === 0) return;
    this.state |= END_TOLD;
    if ((this.state & (HALF_OPEN | SHUT)) !== HALF_OPEN) {
      this.state |= DONE;
      this.unsettle();
    }
    if ((this.state & DEAF) === 0) this.callEnd();
  }

  /** The error of a read that cannot be satisfied any more; what it had goes back. */
  private tellReaderEnd(framing: Framing<unknown>): IOLoopError {
    this.putBack(framing);
    this.tellEnd();
    return this.refusal();
  }

  /** Nobody reads any more: who was to be told of the end after what came before it is told now. */
  protected override deafen(): void {
    if ((this.state & DEAF) !== 0) return;
    this.state |= DEAF;
    this.state &= ~(CLOSE_DUE | ITERATING);
    this.#listener = null;
    this.rejectReader(this.refusal());
    const input = this.#input;
    if (input !== null) this.counted(input, () => input.clear());
    if ((this.state & CLOSED) === 0) return;
    this.state |= TO_NOTIFY;
    this.unsettle();
  }
}

function copyOf(source: Uint8Array, count: number): Chunk {
  const copy = Buffer.allocUnsafe(count);
  copy.set(source.subarray(0, count));
  return copy;
}

function readPending(): IOLoopError {
  return new IOLoopError('ERR_IOLOOP_READ_PENDING', 'somebody reads the stream already');
}

function overBuffer(name: string, value: number, maxBufferSize: number): LimitError {
  const message = `${name} is ${value}, more than maxBufferSize, ${maxBufferSize}`;
  return new LimitError('ERR_IOLOOP_READ_LIMIT', message, maxBufferSize);
}
