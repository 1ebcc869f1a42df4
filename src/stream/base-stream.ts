import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import { checkFunction, checkInteger, checkOptions, invalidArgument } from '../arguments.ts';
import { type Deferred, deferred } from '../deferred.ts';
import { isPromise } from '../entry-runner.ts';
import { AbortError, IOLoopError, LimitError, SystemError, TimeoutError } from '../errors.ts';
import type { HandlerRecord, ReadyListener } from '../handler.ts';
import { Interest, Ready } from '../interest.ts';
import type { IOLoop, WaitOptions } from '../ioloop.ts';
import { EAGAIN } from '../raw.ts';
import { Delimiter } from './delimiter.ts';
import type { LiveStream } from './loop-streams.ts';
import { memoryBudget } from './memory-budget.ts';
import { type OutgoingFile, openFile } from './outgoing-file.ts';
import {
  AtMost,
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
import { type Overdue, StreamDeadlines } from './stream-deadlines.ts';
import type { StreamSettings } from './stream-options.ts';
import { NEVER, type WheelEntry } from './timeout-wheel.ts';
import { checkWait, waitFor } from './wait.ts';
import { BORROWED_FROM, type Outgoing, type WriteQueue } from './write-queue.ts';

/** What can be written; strings are UTF-8. */
export type Bytes = string | Uint8Array | readonly Uint8Array[];

/** Who looks after a stream: the server that accepted it. */
export interface StreamOwner<S> {
  /** What the stream's listeners threw or rejected with. */
  streamFailed(stream: S, error: unknown): void;
  /** The stream is being ended for want of memory. */
  streamEvicted(stream: S): void;
  /** Its descriptor is gone. */
  streamClosed(stream: S): void;
}

// What a stream is up to, in one word: an idle one has to be small.
/** The peer has ended its half, and all before that was received. */
const PEER_ENDED = 1;
/** The reader was told so. */
const END_TOLD = 2;
/** end() was called: our half ends when everything has left. */
const ENDING = 4;
/** Our half has ended. */
const SHUT = 8;
/** close() was called, or has become due: no more writes; closes when everything has left. */
const CLOSING = 16;
/** Everything has left; what the peer still sends is drained. */
const LINGERING = 32;
/** The descriptor is gone. */
const CLOSED = 64;
/** Nothing is received any more: close() and abort() were called. */
const DEAF = 128;
/** pause() was called. */
const PAUSED = 256;
/** A promise of the listener is pending. */
const LISTENER_BUSY = 512;
/** An iteration is under way. */
const ITERATING = 1024;
/** Receiving waits for memory. */
const NO_MEMORY = 2048;
/** The kernel takes no more for now. */
const BLOCKED = 4096;
/** Is settled with this turn. */
const UNSETTLED = 8192;
/** Buffered bytes wait for their listener. */
const TO_SERVE = 16384;
/** Closes at the end of this turn: a read was over its limit. */
const CLOSE_DUE = 32768;
/** Closes by itself as soon as no handler is pending. */
const DONE = 65536;
/** whenClosed and onClose are due. */
const TO_NOTIFY = 131072;
/** Does not keep the process alive by itself. */
const UNREFERENCED = 262144;
/** Keeps it alive because bytes are queued. */
const KEEPS_ALIVE = 524288;

/** The peer's end leaves our half open. */
const HALF_OPEN = 1048576;
/** Buffered bytes wait, whoever listens. */
const NOT_DELIVERING = PAUSED | LISTENER_BUSY | DEAF;

/** The kernel is short of memory for now (send(2)): it takes no more, and tells no better time than EAGAIN's. */
const ENOBUFS = -constants.errno.ENOBUFS;
/** Receives of one stream and turn, and bytes sent: no firehose keeps the others waiting. */
const MAX_RECEIVES = 4;
const MAX_SENT = 1024 * 1024;
/** Queued bytes that do not wait for the end of the turn. */
const SEND_AT_ONCE = 64 * 1024;
/** A receive of so many bytes keeps the slab it came in. */
const KEEPS_SLAB = 32 * 1024;
/** Views of one sendmsg(2); IOV_MAX is 1024. */
const MAX_VIEWS = 64;
/** Bytes that a closing stream drains. */
const MAX_DRAINED = 256 * 1024;

/** What write() returns when nothing has to be waited for. */
const SETTLED: Promise<void> = Promise.resolve();
const DEFAULT_MAX_BYTES = 64 * 1024;
const NEXT_PIECE = new NextPiece();
const NO_INPUT = new ReadBuffer();
// A program reads by one delimiter, or few: all its streams share this.
let lastFraming = new UntilDelimiter(Delimiter.of('\n'), DEFAULT_MAX_BYTES);

/**
 * Framed reads and buffered writes over something that bytes can be read from and written to.
 *
 * What that is, the protected methods say: a socket, a pipe, a TLS session. All else, limits, order,
 * backpressure and the way a stream ends, is here and the same for all of them.
 */
export abstract class BaseIOStream<Self>
  implements AsyncIterable<Chunk>, LiveStream, ReadyListener, WheelEntry
{
  /** @internal */
  readonly settings: StreamSettings;
  /** @internal */
  owner: StreamOwner<Self> | null = null;
  /** @internal */
  wheelTick: number = NEVER;
  #state = 0;
  #fd: number;
  #record: HandlerRecord | null = null;
  #input: ReadBuffer | null = null;
  #reader: PendingRead | null = null;
  #listener: ((chunk: Chunk, stream: Self) => void | Promise<void>) | null = null;
  #output: WriteQueue | null = null;
  #deadlines: StreamDeadlines | null = null;
  #endListener: ((stream: Self) => void) | null = null;
  #closeListener: ((error: Error | null, stream: Self) => void) | null = null;
  #whenClosed: Deferred | null = null;
  #error: Error | null = null;
  #holds = 0;
  #drained = 0;
  #interest = 0;
  #bytesRead = 0;
  #bytesWritten = 0;

  /** @param interest What is watched from the start; 0: nothing, where the stream is told by others. */
  protected constructor(fd: number, settings: StreamSettings, interest: number) {
    this.settings = settings;
    this.#fd = fd;
    if (settings.allowHalfOpen) this.#state = HALF_OPEN;
    if (interest !== 0) this.#want(interest, true);
    if (settings.timed) this.#startDeadlines();
    settings.streams.add(this);
  }

  // ---- the seam

  /** The stream, as its listeners know it. */
  protected abstract get self(): Self;
  /** Bytes read into `target`, 0 at the end of the stream, or -errno; EAGAIN: none yet. */
  protected abstract readFromFd(target: Uint8Array): number;
  /** Bytes of `source` from `start` to `end` that were taken, or -errno; EAGAIN: none for now. */
  protected abstract writeToFd(source: Uint8Array, start: number, end: number): number;
  /** Bytes of the views that were taken, without the first `skip`, or -errno. */
  protected abstract writeViewsToFd(views: readonly Uint8Array[], skip: number): number;
  /** At most `most` bytes of a file, 0 at its end, or -errno. */
  protected abstract sendFileToFd(file: OutgoingFile, most: number): number;
  /** Ends our half. */
  protected abstract shutdownFd(): void;
  /** Closes; `abort`: with a reset. */
  protected abstract closeFd(abort: boolean): void;
  /** Whether closing now would reset the connection, or might lose what was sent. */
  protected abstract mustLinger(): boolean;
  /** The error that a refused operation rejects with. */
  protected abstract closedError(message: string, cause: Error | null): IOLoopError;
  /** What a negative result of `call`, 'recv', 'send' or 'sendfile', means. */
  protected errorOf(result: number, call: string): Error {
    return new SystemError(result, call);
  }
  /** Whether a read that fills less than it could says nothing of what is left. */
  protected get readsInPieces(): boolean {
    return false;
  }
  /** There may be more to read than this turn took; what is watched by level says so itself. */
  protected readMore(): void {}

  // ---- reading

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
      return this.#read(this.#untilDelimiter(delimiter, options), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** As {@link readUntil}, from what has come alone: null when the message is not complete. */
  tryReadUntil(delimiter: string | Uint8Array, options?: { maxBytes?: number | undefined }): Chunk | null {
    return this.#tryRead(this.#untilDelimiter(delimiter, options));
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
      return this.#read(new UntilRegex(pattern, this.#maxBytes(options, DEFAULT_MAX_BYTES)), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** `count` bytes; with `partial` what there is, one byte at least. */
  readBytes(count: number, options?: { partial?: boolean | undefined } & WaitOptions): Promise<Chunk> {
    try {
      return this.#read(this.#bytes(count, options), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** As {@link readBytes}, from what has come alone: null when there is not enough. */
  tryReadBytes(count: number, options?: { partial?: boolean | undefined }): Chunk | null {
    return this.#tryRead(this.#bytes(count, options));
  }

  /**
   * Fills `target`; with `partial` as far as there is something, one byte at least. Returns how many
   * bytes. They are received right there, and `maxBufferSize` does not bound them.
   */
  readInto(target: Uint8Array, options?: { partial?: boolean | undefined } & WaitOptions): Promise<number> {
    try {
      if (!(target instanceof Uint8Array)) throw invalidArgument('target', 'a Uint8Array', target);
      checkOptions(options);
      if (target.length === 0) return Promise.resolve(0);
      return this.#read(new IntoTarget(target, options?.partial === true), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** All bytes up to the peer's end. `maxBytes`: `maxBufferSize` by default. */
  readUntilClose(options?: { maxBytes?: number | undefined } & WaitOptions): Promise<Chunk> {
    try {
      return this.#read(new UntilEnd(this.#maxBytes(options, this.settings.maxBufferSize)), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** The bytes as they come. Returns at the peer's end, throws on failure; leaving it leaves the stream open. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Chunk> {
    const next = async (): Promise<IteratorResult<Chunk>> => {
      this.#state &= ~ITERATING;
      const reading = this.#read(NEXT_PIECE, undefined);
      this.#state |= ITERATING;
      try {
        return { value: await reading, done: false };
      } catch (error) {
        this.#state &= ~ITERATING;
        if (this.#hasEndedCleanly && IOLoopError.is(error, 'ERR_IOLOOP_STREAM_CLOSED'))
          return { value: undefined, done: true };
        throw error;
      }
    };
    const end = async (): Promise<IteratorResult<Chunk>> => {
      this.#state &= ~ITERATING;
      return { value: undefined, done: true };
    };
    return { next, return: end, [Symbol.asyncIterator]: () => this[Symbol.asyncIterator]() };
  }

  /**
   * Calls `listener` with the bytes as they come; null: back to reads.
   *
   * A promise that it returns pauses the stream until it settles, unless write() has returned it as
   * settled; its rejection, like a throw, closes the stream.
   */
  onData(listener: ((chunk: Chunk, stream: Self) => void | Promise<void>) | null): void {
    if (listener !== null) checkFunction(listener, 'listener');
    if (this.#reader !== null || (this.#state & ITERATING) !== 0) throw readPending();
    this.#listener = listener;
    if (listener !== null) this.#serveLater();
  }

  /** Calls `listener` when the peer has ended its half and everything before that was read. */
  onEnd(listener: ((stream: Self) => void) | null): void {
    if (listener !== null) checkFunction(listener, 'listener');
    this.#endListener = listener;
  }

  /** Calls `listener` when the stream is closed: once, after everything else. */
  onClose(listener: ((error: Error | null, stream: Self) => void) | null): void {
    if (listener !== null) checkFunction(listener, 'listener');
    this.#closeListener = listener;
  }

  /** Receives and delivers nothing until {@link resume}. */
  pause(): void {
    this.#state |= PAUSED;
  }

  /** Ends {@link pause}. */
  resume(): void {
    if ((this.#state & PAUSED) === 0) return;
    this.#state &= ~PAUSED;
    this.#serveLater();
  }

  /** Puts a copy of `data` back to the front of what was received. */
  unshift(data: Uint8Array): void {
    if (!(data instanceof Uint8Array)) throw invalidArgument('data', 'a Uint8Array', data);
    if ((this.#state & DEAF) !== 0) throw this.#refusal();
    this.#input ??= new ReadBuffer();
    this.#input.unshift(data);
    this.#count(data.length);
    this.#serveLater();
  }

  // ---- writing

  /**
   * Writes `data`, behind all that was written before. What is written in one turn leaves together,
   * at its end.
   *
   * Less than 16 KiB are copied; more are offered to the kernel at once, and what it does not take is
   * kept by reference. The promise settles when `data` is the caller's again and no more than
   * `highWaterMark` bytes are queued. Nobody has to wait for it: a failure is the stream's.
   *
   * @returns Rejects with {@link StreamClosedError}, and with {@link LimitError} when more than
   *   `maxWriteBufferSize` bytes were queued before: the stream is aborted then.
   */
  write(data: Bytes): Promise<void> {
    if ((this.#state & (ENDING | CLOSING | CLOSED)) !== 0) return quiet(this.#refusal());
    const views = typeof data === 'string' || data instanceof Uint8Array ? null : checkViews(data);
    const { settings } = this;
    this.#output ??= settings.streams.takeQueue();
    const output = this.#output;
    const before = output.bytes;
    if (before > settings.maxWriteBufferSize) return quiet(this.#overflow(before));
    let borrowed: Outgoing | null = null;
    if (typeof data === 'string') {
      if (data.length * 3 <= BORROWED_FROM) output.copyText(data, data.length * 3);
      // Nobody else has it: it is not waited for.
      else output.borrow(Buffer.from(data));
    } else if (data instanceof Uint8Array) {
      borrowed = enqueue(output, data);
    } else {
      for (const view of views ?? []) borrowed = enqueue(output, view) ?? borrowed;
    }
    settings.streams.bytesQueued += output.bytes - before;
    if ((this.#state & BLOCKED) === 0) {
      if (borrowed === null && output.bytes <= SEND_AT_ONCE) this.#unsettle();
      else if (!this.#transmit()) return quiet(this.#refusal());
    }
    return this.#writtenPromise(output, borrowed);
  }

  /**
   * Sends a file, or bytes `start` to `end` of it (half open, as slice() counts), behind all that was
   * written before, without taking it into memory (sendfile(2)). Pages that are not in the page cache
   * are read while the loop waits.
   *
   * @param source A path, or a descriptor, which stays the caller's and open until the promise settles.
   * @returns How many bytes: fewer when the file is shorter.
   */
  async sendFile(
    source: string | number,
    options?: { start?: number | undefined; end?: number | undefined } & WaitOptions,
  ): Promise<number> {
    checkWait(options);
    const { start = 0, end = Number.MAX_SAFE_INTEGER } = options ?? {};
    checkInteger(start, 'options.start', 0, Number.MAX_SAFE_INTEGER);
    checkInteger(end, 'options.end', start, Number.MAX_SAFE_INTEGER);
    if ((this.#state & (ENDING | CLOSING | CLOSED)) !== 0) throw this.#refusal();
    const file = openFile(source, start, end);
    try {
      this.#output ??= this.settings.streams.takeQueue();
      const output = this.#output;
      const sent = output.addFile(file);
      if ((this.#state & BLOCKED) === 0) this.#unsettle();
      await waitFor(this.loop, sent, options, 'sendFile()');
      return file.offset - start;
    } finally {
      if (typeof source === 'string') closeSync(file.fd);
    }
  }

  /** Sends what is queued now, and settles when all of it is in the kernel. */
  async flush(options?: WaitOptions): Promise<void> {
    checkWait(options);
    if ((this.#state & CLOSED) !== 0) throw this.#refusal();
    if ((this.#state & BLOCKED) === 0 && !this.#transmit()) throw this.#refusal();
    const output = this.#output;
    if (output !== null) await waitFor(this.loop, output.flushed(), options, 'flush()');
  }

  /** Ends our half when everything has left, `data` last; reading goes on. */
  end(data?: Bytes): Promise<void> {
    if ((this.#state & ENDING) !== 0 && data === undefined) return this.#output?.flushed() ?? SETTLED;
    if ((this.#state & (ENDING | CLOSING | CLOSED)) !== 0) return quiet(this.#refusal());
    if (data !== undefined) void this.write(data);
    this.#state |= ENDING;
    if ((this.#state & BLOCKED) === 0 && !this.#transmit()) return quiet(this.#refusal());
    return this.#output?.flushed() ?? SETTLED;
  }

  // ---- ending

  /**
   * Reads no more, delivers what was written, and closes. Idempotent.
   *
   * Where bytes of the peer are unread or ours unacknowledged, it ends our half first and drains the
   * other for a while, since close(2) would reset the connection and destroy what was delivered. It
   * gives up after `closeTimeoutMs` without progress.
   */
  close(error?: Error): Promise<void> {
    if (error !== undefined && !(error instanceof Error)) throw invalidArgument('error', 'an Error', error);
    this.#close(error ?? null);
    return this.whenClosed;
  }

  /** Drops what is queued and resets the connection, at once. */
  abort(error?: Error): void {
    if (error !== undefined && !(error instanceof Error)) throw invalidArgument('error', 'an Error', error);
    this.#deafen();
    this.#dispose(error ?? null, true);
  }

  /** Whether nothing can be written any more. */
  get closed(): boolean {
    return (this.#state & (CLOSING | CLOSED)) !== 0;
  }

  /** Whether the peer has ended its half. */
  get ended(): boolean {
    return (this.#state & PEER_ENDED) !== 0;
  }

  /** What ended the stream, null when nothing went wrong. */
  get error(): Error | null {
    return this.#error;
  }

  /** Settles when the descriptor is gone; never rejects. */
  get whenClosed(): Promise<void> {
    if (this.#whenClosed === null) {
      this.#whenClosed = deferred();
      if (this.#isOver) this.#whenClosed.resolve();
    }
    return this.#whenClosed.promise;
  }

  /** The descriptor, -1 once it is gone. A borrow. */
  get fd(): number {
    return this.#fd;
  }

  get loop(): IOLoop {
    return this.settings.loop;
  }

  /** Bytes received so far. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  /** Bytes that the kernel has taken so far. */
  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  /** Bytes received and not yet read. */
  get bytesBuffered(): number {
    return this.#input?.length ?? 0;
  }

  /** Bytes written and not yet taken by the kernel. */
  get bytesQueued(): number {
    return this.#output?.bytes ?? 0;
  }

  /** Keeps the process alive: the default. */
  ref(): this {
    this.#state &= ~UNREFERENCED;
    this.#keepAlive();
    return this;
  }

  /** Keeps the process alive no longer, but while bytes are queued. */
  unref(): this {
    this.#state |= UNREFERENCED;
    this.#keepAlive();
    return this;
  }

  /** {@link close} */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ---- for those who look after it

  /** @internal Keeps the stream from closing by itself while a handler is at work. */
  hold(): void {
    this.#holds++;
  }

  /** @internal The end of {@link hold}. */
  release(): void {
    this.#holds--;
    if ((this.#state & DONE) !== 0) this.#unsettle();
  }

  /** @internal Whether somebody reads, or will be told of what comes. */
  get isRead(): boolean {
    return this.#reader !== null || this.#listener !== null || (this.#state & ITERATING) !== 0;
  }

  /** @internal Whether the peer's end leaves our half open; as the option said, to begin with. */
  get allowHalfOpen(): boolean {
    return (this.#state & HALF_OPEN) !== 0;
  }
  set allowHalfOpen(allowed: boolean) {
    if (allowed) this.#state |= HALF_OPEN;
    else this.#state &= ~HALF_OPEN;
  }

  /** @internal Whether nothing is under way: all that came was answered, as far as can be seen. */
  get isIdle(): boolean {
    return this.bytesBuffered === 0 && this.#output === null && (this.#holds === 0 || this.#reader !== null);
  }

  /** @internal */
  get bytesHeld(): number {
    return this.bytesBuffered + (this.#output?.copied ?? 0);
  }

  /** @internal What is read goes into `read`; `events` are bits of Ready. */
  ready(_fd: number, events: number): void {
    const over = (events & (Ready.HANGUP | Ready.ERROR)) !== 0;
    if (over || (events & Ready.READ) !== 0) this.#receive(over);
    if ((this.#state & CLOSED) !== 0 || (!over && (events & Ready.WRITE) === 0)) return;
    if ((this.#state & BLOCKED) !== 0) {
      this.#state &= ~BLOCKED;
      this.#unsettle();
    } else if (this.#output === null) {
      this.#want(Interest.WRITE, false);
    }
  }

  /** @internal */
  settle(): void {
    this.#state &= ~UNSETTLED;
    if ((this.#state & TO_NOTIFY) !== 0) {
      this.#notify();
      return;
    }
    if ((this.#state & TO_SERVE) !== 0) {
      this.#state &= ~TO_SERVE;
      this.#serve();
    }
    if ((this.#state & CLOSE_DUE) !== 0) this.#close(this.#error);
    if ((this.#state & DONE) !== 0 && this.#holds === 0) this.#state |= CLOSING;
    if ((this.#state & (BLOCKED | CLOSED)) === 0) this.#transmit();
  }

  /** @internal */
  sendLast(): void {
    if ((this.#state & (BLOCKED | CLOSED)) === 0) this.#transmit();
  }

  /** @internal */
  holdForMemory(hold: boolean): void {
    if (hold) {
      this.#state |= NO_MEMORY;
      return;
    }
    this.#state &= ~NO_MEMORY;
    this.#receiveAgain();
  }

  /** @internal */
  evict(error: Error): void {
    this.owner?.streamEvicted(this.self);
    this.abort(error);
  }

  /** @internal */
  expire(tick: number): number {
    const next = this.#expireRead(tick);
    const deadlines = this.#deadlines;
    if (deadlines === null || (this.#state & CLOSED) !== 0) return next;
    const overdue = deadlines.overdue(this.loop.time());
    if (overdue !== null) this.#overdue(overdue);
    if ((this.#state & CLOSED) !== 0) return NEVER;
    return earlier(next, deadlines.nextTick());
  }

  /** Begins to receive, where the constructor was told to wait. */
  protected startReading(): void {
    this.#want(Interest.READ, true);
  }

  /** Gives the descriptor up, with what was received and not read. */
  protected giveUp(): { fd: number; unread: Chunk } {
    if (this.closed || this.isRead || this.#output !== null || (this.#state & ENDING) !== 0) {
      const why = this.closed ? 'closed' : this.isRead ? 'being read' : 'not flushed, or ended';
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', `a stream that is ${why} cannot be detached`);
    }
    const fd = this.#fd;
    const input = this.#input;
    const unread = input === null ? EMPTY_CHUNK : this.#counted(input, () => input.take(input.length));
    this.forgetFd(false);
    this.#state |= CLOSED | CLOSING | DEAF;
    this.#fd = -1;
    this.#gone();
    this.#closeListener = null;
    return { fd, unread };
  }

  /**
   * Has {@link ready} called for the bits of `interest` as long as they are so; 0: not even for an error.
   */
  protected setInterest(interest: number): void {
    const { handlers } = this.settings.streams;
    if (this.#record === null) this.#record = handlers.add(this.#fd, this, interest, 'stream');
    else if (interest !== 0) handlers.update(this.#fd, interest);
    else this.forgetFd(false);
    this.#keepAlive();
  }

  /** Watches no more; `closing`: the descriptor has no duplicate and is closed right afterwards. */
  protected forgetFd(closing: boolean): void {
    const { handlers, scheduler } = this.settings.streams;
    if (this.#record === null || scheduler.closed) return;
    if (closing) handlers.forget(this.#fd);
    else handlers.remove(this.#fd);
    this.#record = null;
  }

  // ---- reading

  #untilDelimiter(
    delimiter: string | Uint8Array,
    options: { maxBytes?: number | undefined } | undefined,
  ): UntilDelimiter {
    const maxBytes = this.#maxBytes(options, DEFAULT_MAX_BYTES);
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

  #maxBytes(options: { maxBytes?: number | undefined } | undefined, byDefault: number): number {
    const { maxBufferSize } = this.settings;
    if (options === undefined) return Math.min(byDefault, maxBufferSize);
    checkOptions(options);
    const { maxBytes = Math.min(byDefault, maxBufferSize) } = options;
    checkInteger(maxBytes, 'options.maxBytes', 1, Number.MAX_SAFE_INTEGER);
    if (maxBytes > maxBufferSize) throw overBuffer('options.maxBytes', maxBytes, maxBufferSize);
    return maxBytes;
  }

  #bytes(count: number, options: { partial?: boolean | undefined } | undefined): Framing<Chunk> {
    checkInteger(count, 'count', 0, Number.MAX_SAFE_INTEGER);
    checkOptions(options);
    if (options?.partial === true) return new AtMost(count);
    const { maxBufferSize } = this.settings;
    if (count > maxBufferSize) throw overBuffer('count', count, maxBufferSize);
    return new Exactly(count);
  }

  /** What `framing` takes from the buffer, now or when it has come. */
  #read<T>(framing: Framing<T>, options: WaitOptions | undefined): Promise<T> {
    checkWait(options);
    if (this.isRead) return Promise.reject(readPending());
    if (options?.signal?.aborted) return Promise.reject(new AbortError(options.signal.reason));
    if ((this.#state & DEAF) !== 0) return Promise.reject(this.#refusal());
    try {
      const result = this.#take(framing);
      if (result !== undefined) return Promise.resolve(result);
    } catch (error) {
      return Promise.reject(error);
    }
    if (this.#isDry) return Promise.reject(this.#tellReaderEnd());
    return new Promise<T>((resolve, reject) => {
      this.#await(new PendingRead(framing, resolve as (result: unknown) => void, reject), options);
    });
  }

  #tryRead(framing: Framing<Chunk>): Chunk | null {
    if (this.isRead) throw readPending();
    if ((this.#state & DEAF) !== 0) throw this.#refusal();
    return this.#take(framing) ?? null;
  }

  /** Whether nothing more will come. */
  get #isDry(): boolean {
    return (this.#state & (PEER_ENDED | CLOSED)) !== 0;
  }

  get #hasEndedCleanly(): boolean {
    return (this.#state & PEER_ENDED) !== 0 && this.#error === null;
  }

  /** Lets `framing` take from the buffer. A message over its limit ends the stream with this turn. */
  #take<T>(framing: Framing<T>): T | undefined {
    const input = this.#input;
    if (input === null || input.length === 0)
      return this.#hasEndedCleanly ? framing.take(NO_INPUT, true) : undefined;
    try {
      const result = this.#counted(input, () => framing.take(input, this.#hasEndedCleanly));
      if (result !== undefined) this.#taken();
      return result;
    } catch (error) {
      this.#error ??= error instanceof Error ? error : null;
      this.#state |= CLOSE_DUE;
      this.#unsettle();
      throw error;
    }
  }

  /** Runs what may take from `input`, and counts what it took. */
  #counted<T>(input: ReadBuffer, taking: () => T): T {
    const before = input.length;
    try {
      return taking();
    } finally {
      this.#count(input.length - before);
    }
  }

  #count(bytes: number): void {
    this.settings.streams.bytesBuffered += bytes;
    memoryBudget.add(bytes);
  }

  /** Something was taken from the buffer: there is room, or the end behind it has come. */
  #taken(): void {
    this.#deadlines?.readDone();
    if ((this.#state & (PEER_ENDED | END_TOLD)) === PEER_ENDED && this.bytesBuffered === 0) this.#tellEnd();
    else this.#receiveAgain();
  }

  #await(reader: PendingRead, options: WaitOptions | undefined): void {
    this.#reader = reader;
    const { signal, timeoutMs = Number.POSITIVE_INFINITY } = options ?? {};
    if (signal !== undefined) {
      const onAbort = (): void => this.#endWait(reader, new AbortError(signal.reason));
      signal.addEventListener('abort', onAbort, { once: true });
      reader.forgetSignal = () => signal.removeEventListener('abort', onAbort);
    }
    if (timeoutMs !== Number.POSITIVE_INFINITY) {
      const { wheel } = this.settings.streams;
      reader.timeoutMs = timeoutMs;
      reader.deadline = wheel.after(timeoutMs);
      wheel.schedule(this, reader.deadline);
    }
    if (this.bytesBuffered > 0) this.#begun(0);
    this.#receiveAgain();
  }

  /** The waiting ends, not the stream: what came stays for the next read. */
  #endWait(reader: PendingRead, error: Error): void {
    if (this.#reader !== reader) return;
    this.#putBack(reader);
    this.#rejectReader(error);
    this.#deadlines?.readDone();
  }

  #putBack(reader: PendingRead): void {
    if (reader.framing.abandon === undefined) return;
    this.#input ??= new ReadBuffer();
    const input = this.#input;
    this.#counted(input, () => reader.framing.abandon?.(input));
  }

  #resolveReader(reader: PendingRead, result: unknown): void {
    this.#reader = null;
    reader.forgetSignal?.();
    reader.resolve(result);
  }

  #rejectReader(error: Error): void {
    const reader = this.#reader;
    this.#reader = null;
    reader?.forgetSignal?.();
    reader?.reject(error);
  }

  /** Receives what is there, as far as somebody wants it. `over`: an error waits, or both halves have ended. */
  #receive(over: boolean): void {
    for (let i = 0; i < MAX_RECEIVES; i++) {
      if (!this.#takesMore()) {
        // What nobody takes would be told for ever.
        if (over) this.#want(Interest.READ | Interest.WRITE, false);
        else this.#want(Interest.READ, false);
        return;
      }
      const target = this.bytesBuffered === 0 ? (this.#reader?.framing.target ?? null) : null;
      const room = target ?? this.settings.streams.slab;
      const count = this.readFromFd(room);
      if (count <= 0) {
        if (count === 0) this.#peerEnded();
        else if (count !== EAGAIN) this.#fail(this.errorOf(count, 'recv'));
        return;
      }
      this.#bytesRead += count;
      if (target !== null) this.#receivedInto(count);
      else this.#received(room as Chunk, count);
      if (count < room.length && !this.readsInPieces) return;
    }
    this.readMore();
  }

  #takesMore(): boolean {
    const state = this.#state;
    if ((state & LINGERING) !== 0) return (state & (PEER_ENDED | CLOSED)) === 0;
    if ((state & (PEER_ENDED | CLOSED | DEAF | PAUSED | LISTENER_BUSY | CLOSE_DUE)) !== 0) return false;
    if (!this.settings.streams.mayReceive(this)) return false;
    return this.#reader !== null || this.#listener !== null || this.bytesBuffered < this.settings.readAhead;
  }

  /** Sees to it that what is wanted is received. */
  #receiveAgain(): void {
    if ((this.#interest & Interest.READ) === 0 && (this.#state & NO_MEMORY) === 0 && this.#takesMore())
      this.#want(Interest.READ, true);
  }

  #received(slab: Chunk, count: number): void {
    if ((this.#state & LINGERING) !== 0) {
      this.#drained += count;
      if (this.#drained > MAX_DRAINED) this.#dispose(null, false);
      return;
    }
    if (this.#listener !== null && this.bytesBuffered === 0) {
      this.#emit(
        count >= KEEPS_SLAB ? this.settings.streams.takeSlab().subarray(0, count) : copyOf(slab, count),
      );
    } else {
      this.#input ??= new ReadBuffer();
      if (count >= KEEPS_SLAB) this.#input.adopt(this.settings.streams.takeSlab(), count);
      else this.#input.append(slab, count);
      this.#count(count);
      this.#serve();
    }
    this.#begun(count);
  }

  #receivedInto(count: number): void {
    const reader = this.#reader;
    const result = reader?.framing.received?.(count);
    if (reader !== null && result !== undefined) {
      this.#deadlines?.readDone();
      this.#resolveReader(reader, result);
    }
    this.#begun(count);
  }

  /** `count` bytes have come: what that means for the deadlines. */
  #begun(count: number): void {
    const framing = this.#reader?.framing;
    if (framing instanceof UntilRegex)
      this.settings.streams.wheel.schedule(this, this.settings.streams.wheel.now() + 1);
    if (this.#deadlines === null) return;
    this.#deadlines.received(count, framing?.isFramed === true, this.loop.time());
    this.#schedule();
  }

  /** Gives what is buffered to whoever reads. */
  #serve(): void {
    const reader = this.#reader;
    if (reader !== null) this.#serveReader(reader);
    while (this.#listener !== null && this.bytesBuffered > 0 && (this.#state & NOT_DELIVERING) === 0) {
      const input = this.#input ?? NO_INPUT;
      this.#emit(this.#counted(input, () => input.takePiece(input.length)));
    }
    if ((this.#state & (PEER_ENDED | END_TOLD)) === PEER_ENDED && this.bytesBuffered === 0) this.#tellEnd();
    else this.#receiveAgain();
  }

  #serveReader(reader: PendingRead): void {
    if ((this.#state & PAUSED) !== 0) return;
    try {
      const result = this.#take(reader.framing);
      if (result !== undefined) this.#resolveReader(reader, result);
      else if (this.#isDry) this.#endWait(reader, this.#tellReaderEnd());
    } catch (error) {
      if (error instanceof Error) this.#rejectReader(error);
    }
  }

  /** Serves at the end of the turn, not within the caller's call. */
  #serveLater(): void {
    this.#state |= TO_SERVE;
    this.#unsettle();
  }

  #emit(chunk: Chunk): void {
    try {
      const result = this.#listener?.(chunk, this.self);
      if (result === undefined || result === SETTLED || !isPromise(result)) return;
      this.#state |= LISTENER_BUSY;
      this.hold();
      Promise.resolve(result).then(
        () => this.#listenerDone(),
        (error: unknown) => this.#listenerRejected(error),
      );
    } catch (error) {
      this.#listenerFailed(error);
    }
  }

  #listenerDone(): void {
    this.#state &= ~LISTENER_BUSY;
    this.release();
    this.#serve();
  }

  #listenerRejected(error: unknown): void {
    this.#state &= ~LISTENER_BUSY;
    this.release();
    this.#listenerFailed(error);
  }

  /** A listener threw: that ends this stream, and nothing else. */
  #listenerFailed(error: unknown): void {
    this.#report(error);
    this.#close(error instanceof Error ? error : null);
  }

  #report(error: unknown): void {
    // A peer that left is no error.
    if (IOLoopError.is(error, 'ERR_IOLOOP_STREAM_CLOSED') && 'stream' in error && error.stream === this)
      return;
    if (this.owner !== null) this.owner.streamFailed(this.self, error);
    else this.settings.streams.scheduler.caught(error);
  }

  #peerEnded(): void {
    this.#state |= PEER_ENDED;
    if ((this.#state & LINGERING) !== 0) this.#dispose(null, false);
    else this.#serve();
  }

  /** Tells that nothing more will come; the stream then closes by itself, unless our half may stay open. */
  #tellEnd(): void {
    if ((this.#state & END_TOLD) !== 0 || (this.#state & PEER_ENDED) === 0) return;
    this.#state |= END_TOLD;
    if ((this.#state & (HALF_OPEN | SHUT)) !== HALF_OPEN) {
      this.#state |= DONE;
      this.#unsettle();
    }
    this.#call(this.#endListener);
  }

  /** The error of a read that cannot be satisfied any more. */
  #tellReaderEnd(): IOLoopError {
    this.#tellEnd();
    return this.#refusal();
  }

  #expireRead(tick: number): number {
    const reader = this.#reader;
    if (reader === null) return NEVER;
    let next = reader.deadline;
    if (next !== NEVER && next <= tick) {
      this.#endWait(reader, new TimeoutError(`the read took more than ${reader.timeoutMs} ms`));
      return NEVER;
    }
    if (reader.framing instanceof UntilRegex && reader.framing.wantsRetry(this.bytesBuffered)) {
      if (reader.framing.isQuiet(this.bytesBuffered)) this.#serveReader(reader);
      else next = earlier(next, tick + 1);
    }
    return next;
  }

  // ---- writing

  /** What write() returns: settled when the caller's bytes are free again and the queue is low. */
  #writtenPromise(output: WriteQueue, borrowed: Outgoing | null): Promise<void> {
    if (borrowed !== null && !borrowed.hasLeft) {
      const written = borrowed.whenSent().then(() => {
        if (this.bytesQueued > this.settings.highWaterMark) return this.#output?.whenDrained();
        return undefined;
      });
      // Nobody has to wait for it.
      written.catch(() => {});
      return written;
    }
    if (this.#output !== output || output.bytes <= this.settings.highWaterMark) return SETTLED;
    return output.whenDrained();
  }

  /** Sends what the kernel takes; false: that failed, and the stream is over. */
  #transmit(): boolean {
    const output = this.#output;
    if (output !== null) {
      const before = output.bytes;
      const failed = this.#send(output);
      this.settings.streams.bytesQueued -= before - output.bytes;
      this.#bytesWritten += before - output.bytes;
      if (failed !== null) {
        this.#fail(failed);
        return false;
      }
      if (output.bytes <= this.settings.highWaterMark) output.drained();
      this.#deadlines?.sent(before - output.bytes, output.bytes, this.loop.time());
      this.#schedule();
      if (output.isEmpty) {
        this.#output = null;
        this.settings.streams.returnQueue(output);
      }
      if ((this.#state & UNREFERENCED) !== 0) this.#keepAlive();
    }
    if (this.#output === null) this.#allSent();
    return true;
  }

  /** Sends the front of `output` until it is empty, the kernel takes no more, or others have their turn. */
  #send(output: WriteQueue): Error | null {
    let left = MAX_SENT;
    for (let front = output.front; front !== undefined; front = output.front) {
      if (front.isGone)
        return new IOLoopError(
          'ERR_IOLOOP_INVALID_STATE',
          'a buffer was transferred or shrunk before it was sent',
        );
      const size = front.file !== null ? Math.min(front.file.remaining, left) : front.end - front.start;
      const count = this.#sendFront(output, front, left);
      if (count === EAGAIN || count === ENOBUFS) {
        this.#blocked();
        return null;
      }
      if (count < 0) return this.errorOf(count, front.file === null ? 'send' : 'sendfile');
      left -= count;
      if (front.file !== null) this.#sentOfFile(output, front.file, count);
      else output.advance(count);
      // Less than was offered: the kernel is full.
      if ((count < size && front.file === null) || left <= 0) {
        if (!output.isEmpty) this.#blocked();
        return null;
      }
    }
    return null;
  }

  #sendFront(output: WriteQueue, front: Outgoing, most: number): number {
    if (front.file !== null) return this.sendFileToFd(front.file, Math.min(front.file.remaining, most));
    if (!output.isMany) return this.writeToFd(front.bytes, front.start, front.end);
    return this.writeViewsToFd(output.views(MAX_VIEWS), front.start);
  }

  #sentOfFile(output: WriteQueue, file: OutgoingFile, count: number): void {
    file.offset += count;
    file.remaining -= count;
    this.#bytesWritten += count;
    // 0: the file is shorter than it was.
    if (count === 0 || file.remaining === 0) output.shift();
  }

  /** The kernel takes no more: it says when it does. */
  #blocked(): void {
    this.#state |= BLOCKED;
    this.#want(Interest.WRITE, true);
  }

  /** More was queued than may be: the stream is beyond saving, since no byte is left out of its middle. */
  #overflow(queued: number): Error {
    const { maxWriteBufferSize } = this.settings;
    const message = `${queued} bytes are queued, more than maxWriteBufferSize`;
    const error = new LimitError('ERR_IOLOOP_BUFFER_FULL', message, maxWriteBufferSize);
    this.abort(error);
    return error;
  }

  /** Nothing is queued: what waited for that. */
  #allSent(): void {
    if ((this.#state & (CLOSING | CLOSED | LINGERING)) === CLOSING) this.#finish();
    else if ((this.#state & (ENDING | SHUT | CLOSED)) === ENDING) this.#shut();
  }

  #shut(): void {
    this.#state |= SHUT;
    this.shutdownFd();
    if ((this.#state & END_TOLD) === 0) return;
    this.#state |= DONE;
    this.#unsettle();
  }

  // ---- ending

  #close(error: Error | null): void {
    this.#deafen();
    if ((this.#state & (CLOSING | CLOSED)) !== 0) return;
    this.#error ??= error;
    this.#state |= CLOSING;
    this.#unsettle();
  }

  /** Nobody reads any more. */
  #deafen(): void {
    if ((this.#state & DEAF) !== 0) return;
    this.#state |= DEAF;
    this.#state &= ~(CLOSE_DUE | ITERATING);
    this.#listener = null;
    this.#rejectReader(this.#refusal());
    const input = this.#input;
    if (input !== null) this.#counted(input, () => input.clear());
  }

  /** Everything has left: closes, at once if nobody can lose by it. */
  #finish(): void {
    if ((this.#state & PEER_ENDED) !== 0 || !this.mustLinger()) {
      this.#dispose(null, false);
      return;
    }
    this.#state |= LINGERING | SHUT;
    this.shutdownFd();
    this.#startDeadlines().lingering(this.loop.time());
    this.#schedule();
    this.#receiveAgain();
  }

  /** Reading or writing failed: the stream is over, but for what was received before. */
  #fail(error: Error): void {
    if ((this.#state & CLOSED) !== 0) return;
    // What the peer said before it left is still there to be read.
    if (this.#output !== null && (this.#state & CLOSING) === 0) this.#salvage();
    this.#dispose(error, false);
  }

  /** Receives what came before the failure, as far as the limits go. */
  #salvage(): void {
    while (this.#takesMore() && this.bytesBuffered < this.settings.maxBufferSize) {
      // Each time anew: a receive of many bytes has kept the one before.
      const { slab } = this.settings.streams;
      const count = this.readFromFd(slab);
      if (count <= 0) return;
      this.#bytesRead += count;
      this.#received(slab, count);
    }
  }

  #overdue(what: Overdue): void {
    const { settings } = this;
    switch (what) {
      case 'idle':
        this.#close(
          new IOLoopError('ERR_IOLOOP_IDLE', `nothing came or left for ${settings.idleTimeoutMs} ms`),
        );
        return;
      case 'write':
        this.abort(new TimeoutError(`no queued byte left for ${settings.writeTimeoutMs} ms`));
        return;
      case 'soft':
        this.abort(this.#overSoftLimit());
        return;
      case 'readRate':
        this.#close(tooSlow(`less than ${settings.minReadRate} bytes a second came`));
        return;
      case 'writeRate':
        this.abort(tooSlow(`less than ${settings.minWriteRate} bytes a second left`));
        return;
      case 'close':
        this.abort(new TimeoutError(`close() made no progress for ${settings.closeTimeoutMs} ms`));
        return;
      case 'linger':
        this.#dispose(null, false);
    }
  }

  #overSoftLimit(): LimitError {
    const { softWriteBufferSize, softWriteTimeoutMs } = this.settings;
    const message = `more than ${softWriteBufferSize} bytes were queued for ${softWriteTimeoutMs} ms`;
    return new LimitError('ERR_IOLOOP_BUFFER_FULL', message, softWriteBufferSize);
  }

  /** The descriptor goes; what was received stays, unless nobody may read it. */
  #dispose(error: Error | null, abort: boolean): void {
    if ((this.#state & CLOSED) !== 0) return;
    this.#error ??= error;
    this.#state |= CLOSED | CLOSING;
    const output = this.#output;
    this.#output = null;
    if (output !== null) {
      this.settings.streams.bytesQueued -= output.bytes;
      output.fail(this.#refusal());
    }
    this.forgetFd(true);
    this.closeFd(abort);
    this.#fd = -1;
    this.#serve();
    this.#gone();
  }

  /** The stream is over for all but its listeners, who hear of it when the turn ends. */
  #gone(): void {
    this.#deadlines = null;
    this.#state |= TO_NOTIFY;
    this.#keepAlive();
    this.settings.streams.remove(this);
    this.owner?.streamClosed(this.self);
    this.#unsettle();
  }

  #notify(): void {
    this.#state &= ~TO_NOTIFY;
    this.#whenClosed?.resolve();
    const listener = this.#closeListener;
    this.#closeListener = null;
    if (listener === null) return;
    try {
      listener(this.#error, this.self);
    } catch (error) {
      this.#report(error);
    }
  }

  /** Why nothing can be done with the stream. */
  #refusal(): IOLoopError {
    const state = this.#state;
    const error = this.#error;
    if (error !== null) return this.closedError(`the stream is closed: ${error.message}`, error);
    if ((state & DEAF) !== 0) return this.closedError('the stream was closed', null);
    if ((state & PEER_ENDED) !== 0) return this.closedError('the peer has ended the stream', null);
    return this.closedError((state & ENDING) !== 0 ? 'the stream was ended' : 'the stream is closed', null);
  }

  // ---- small parts

  get #isOver(): boolean {
    return (this.#state & (CLOSED | TO_NOTIFY)) === CLOSED;
  }

  #call(listener: ((stream: Self) => void) | null): void {
    if (listener === null) return;
    try {
      listener(this.self);
    } catch (error) {
      this.#listenerFailed(error);
    }
  }

  #want(bits: number, wanted: boolean): void {
    const interest = wanted ? this.#interest | bits : this.#interest & ~bits;
    if (interest === this.#interest) return;
    this.#interest = interest;
    this.setInterest(interest);
  }

  #unsettle(): void {
    if ((this.#state & UNSETTLED) !== 0) return;
    this.#state |= UNSETTLED;
    this.settings.streams.unsettle(this);
  }

  /** Counts the stream among what keeps the process alive, where no descriptor does. */
  #keepAlive(): void {
    const { handlers, scheduler } = this.settings.streams;
    const wanted =
      (this.#state & CLOSED) === 0 && ((this.#state & UNREFERENCED) === 0 || this.#output !== null);
    if (this.#record !== null) handlers.setReferenced(this.#fd, wanted);
    const byItself = wanted && this.#record === null;
    if (byItself === ((this.#state & KEEPS_ALIVE) !== 0)) return;
    this.#state ^= KEEPS_ALIVE;
    if (byItself) scheduler.reference();
    else scheduler.unreference();
  }

  #startDeadlines(): StreamDeadlines {
    this.#deadlines ??= new StreamDeadlines(this.settings, this.loop.time());
    this.#schedule();
    return this.#deadlines;
  }

  #schedule(): void {
    const tick = this.#deadlines?.nextTick() ?? NEVER;
    if (tick !== NEVER) this.settings.streams.wheel.schedule(this, tick);
  }
}

/** Puts `data` into `output`: a copy, or itself if it is large. */
function enqueue(output: WriteQueue, data: Uint8Array): Outgoing | null {
  if (data.length >= BORROWED_FROM) return output.borrow(data);
  if (data.length > 0) output.copy(data);
  return null;
}

function checkViews(data: unknown): readonly Uint8Array[] {
  if (Array.isArray(data) && data.every((view) => view instanceof Uint8Array)) return data;
  throw invalidArgument('data', 'a string, a Uint8Array or an array of those', data);
}

function copyOf(source: Uint8Array, count: number): Chunk {
  const copy = Buffer.allocUnsafe(count);
  copy.set(source.subarray(0, count));
  return copy;
}

/** A rejected promise that nobody has to handle. */
function quiet(error: Error): Promise<never> {
  const rejected = Promise.reject(error);
  rejected.catch(() => {});
  return rejected;
}

function readPending(): IOLoopError {
  return new IOLoopError('ERR_IOLOOP_READ_PENDING', 'somebody reads the stream already');
}

function overBuffer(name: string, value: number, maxBufferSize: number): LimitError {
  const message = `${name} is ${value}, more than maxBufferSize, ${maxBufferSize}`;
  return new LimitError('ERR_IOLOOP_READ_LIMIT', message, maxBufferSize);
}

function tooSlow(message: string): IOLoopError {
  return new IOLoopError('ERR_IOLOOP_TOO_SLOW', message);
}

/** The earlier of two ticks. */
function earlier(a: number, b: number): number {
  return a === NEVER ? b : b === NEVER ? a : Math.min(a, b);
}
