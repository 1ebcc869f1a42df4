import { Buffer } from 'node:buffer';
import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import { checkInteger, invalidArgument } from '../arguments.ts';
import { AbortError, IOLoopError, LimitError } from '../errors.ts';
import { Interest } from '../interest.ts';
import type { WaitOptions } from '../ioloop.ts';
import { EAGAIN } from '../raw.ts';
import { checkWait, waitFor } from '../wait.ts';
import { memoryBudget } from './memory-budget.ts';
import type { OutgoingFds } from './outgoing-fds.ts';
import { type OutgoingFile, openFile } from './outgoing-file.ts';
import type { Chunk } from './read-buffer.ts';
import { ReadingStream } from './reading-stream.ts';
import type { StreamSettings } from './stream-options.ts';
import { BLOCKED, CLOSED, CLOSING, CORKED, ENDING, PAUSED, SHUT, UNREFERENCED } from './stream-state.ts';
import { isView } from './view-slab.ts';
import { SETTLED } from './wait.ts';
import { BORROWED_FROM, type Outgoing, type WriteQueue } from './write-queue.ts';

/** What can be written; strings are UTF-8. */
export type Bytes = string | Uint8Array | readonly Uint8Array[];

/** The kernel is short of memory for now (send(2)): it takes no more, and tells no better time than EAGAIN's. */
const ENOBUFS = -constants.errno.ENOBUFS;
/** Queued bytes that do not wait for the end of the turn. */
const SEND_AT_ONCE = 64 * 1024;
/** Views of one sendmsg(2); IOV_MAX is 1024. */
const MAX_VIEWS = 64;

/**
 * Framed reads and buffered writes over something that bytes can be read from and written to.
 *
 * What that is, the protected methods say: a socket, a pipe, a TLS session. All else, limits, order,
 * backpressure and the way a stream ends, is here and the same for all of them.
 */
export abstract class BaseIOStream<Self> extends ReadingStream<Self> {
  #output: WriteQueue | null = null;
  #bytesWritten = 0;

  /** @param interest What is watched from the start; 0: nothing, where the stream is told by others. */
  protected constructor(fd: number, settings: StreamSettings, interest: number) {
    super(fd, settings);
    this.open(interest);
  }

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
    if ((this.state & (ENDING | CLOSING | CLOSED)) !== 0) return quiet(this.refusal());
    const views = typeof data === 'string' || data instanceof Uint8Array ? null : checkViews(data);
    const { settings } = this;
    this.#output ??= settings.streams.takeQueue();
    const output = this.#output;
    const before = output.bytes;
    if (before > settings.maxWriteBufferSize) return quiet(this.overflow(before));
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
    if ((this.state & BLOCKED) === 0) {
      if (borrowed === null && output.bytes <= SEND_AT_ONCE) {
        if ((this.state & CORKED) === 0) this.unsettle();
      } else if (!this.transmit()) {
        return quiet(this.refusal());
      }
    }
    // What waits may have overdrawn the budget, and nothing else would have that looked at.
    if ((this.state & BLOCKED) !== 0 && memoryBudget.isHigh) this.unsettle();
    return this.writtenPromise(output, borrowed);
  }

  /**
   * Sends a file, or bytes `start` to `end` of it (half open, as slice() counts), behind all that was
   * written before, without taking it into memory (sendfile(2)). Pages that are not in the page cache
   * are read while the loop waits.
   *
   * @param source A path, or a descriptor, which stays the caller's, and open until all of it has left: a
   *   waiting that ends sooner does not end the sending.
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
    if (options?.signal?.aborted) throw new AbortError(options.signal.reason);
    if ((this.state & (ENDING | CLOSING | CLOSED)) !== 0) throw this.refusal();
    const file = openFile(source, start, end);
    this.#output ??= this.settings.streams.takeQueue();
    const sent = this.#output.addFile(file);
    if (typeof source === 'string') {
      // Not when the waiting ends: the queue goes on sending.
      const close = (): void => closeSync(file.fd);
      sent.then(close, close);
    }
    if ((this.state & BLOCKED) === 0) this.unsettle();
    await waitFor(this.loop, sent, options, 'sendFile()');
    return file.offset - start;
  }

  /** Sends what is queued now, and settles when all of it is in the kernel. */
  async flush(options?: WaitOptions): Promise<void> {
    checkWait(options);
    if ((this.state & CLOSED) !== 0) throw this.refusal();
    if ((this.state & BLOCKED) === 0 && !this.transmit()) throw this.refusal();
    const output = this.#output;
    if (output !== null) await waitFor(this.loop, output.flushed(), options, 'flush()');
  }

  /** Ends our half when everything has left, `data` last; reading goes on. */
  end(data?: Bytes): Promise<void> {
    const isRepeated = (this.state & ENDING) !== 0 && data === undefined;
    // Over before our half had ended: not all of it has left.
    if (isRepeated && (this.state & (CLOSED | SHUT)) !== CLOSED) return this.#output?.flushed() ?? SETTLED;
    if ((this.state & (ENDING | CLOSING | CLOSED)) !== 0) return quiet(this.refusal());
    if (data !== undefined) void this.write(data);
    if ((this.state & CLOSED) !== 0) return quiet(this.refusal());
    this.state |= ENDING;
    if ((this.state & BLOCKED) === 0 && !this.transmit()) return quiet(this.refusal());
    return this.#output?.flushed() ?? SETTLED;
  }

  /** Bytes that the kernel has taken so far. */
  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  /** Bytes written and not yet taken by the kernel. */
  override get bytesQueued(): number {
    return this.#output?.bytes ?? 0;
  }

  // ---- for those who look after it

  /** @internal Whether nothing is under way: all that came was answered, as far as can be seen. */
  override get isIdle(): boolean {
    // Over, and its reader takes nothing: nobody waits for it.
    if ((this.state & (CLOSED | PAUSED)) === (CLOSED | PAUSED)) return true;
    return this.bytesBuffered === 0 && this.#output === null && (!this.isHeld || this.isWaiting);
  }

  /** @internal */
  override get bytesHeld(): number {
    return this.bytesBuffered + (this.#output?.copied ?? 0);
  }

  /** @internal */
  override sendLast(): void {
    // Blocked or not: that was the last time somebody looked.
    if (this.#output !== null && (this.state & CLOSED) === 0) this.transmit();
  }

  /** Writes `data`, which is kept by reference, with descriptors on its first byte; settles when all of it has left. */
  protected writeWithFds(data: Uint8Array, fds: OutgoingFds): Promise<void> {
    if ((this.state & (ENDING | CLOSING | CLOSED)) !== 0) {
      fds.close();
      return quiet(this.refusal());
    }
    const { settings } = this;
    this.#output ??= settings.streams.takeQueue();
    const output = this.#output;
    if (output.bytes > settings.maxWriteBufferSize) {
      fds.close();
      return quiet(this.overflow(output.bytes));
    }
    settings.streams.bytesQueued += data.length;
    const sent = output.addWithFds(data, fds);
    if ((this.state & BLOCKED) === 0 || memoryBudget.isHigh) this.unsettle();
    return sent;
  }

  /** Gives the descriptor up, with what was received and not read. */
  protected giveUp(): { fd: number; unread: Chunk } {
    if (this.closed || this.isRead || this.isSending || (this.state & ENDING) !== 0) {
      const why = this.closed ? 'closed' : this.isRead ? 'being read' : 'not flushed, or ended';
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', `a stream that is ${why} cannot be detached`);
    }
    const unread = this.takeAll();
    return { fd: this.letGo(), unread };
  }

  // ---- sending

  /** As `writeToFd` of all of `source`, with descriptors on its first byte. */
  protected abstract writeWithFdsToFd(source: Uint8Array, fds: Int32Array): number;

  /** What write() returns: settled when the caller's bytes are free again and the queue is low. */
  private writtenPromise(output: WriteQueue, borrowed: Outgoing | null): Promise<void> {
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
  protected override transmit(): boolean {
    const output = this.#output;
    if (output !== null) {
      const before = output.bytes;
      const writtenBefore = this.#bytesWritten;
      const failed = this.send(output);
      this.settings.streams.bytesQueued -= before - output.bytes;
      this.#bytesWritten += before - output.bytes;
      if (failed !== null) {
        this.fail(failed);
        return false;
      }
      if (output.bytes <= this.settings.highWaterMark) output.drained();
      const written = this.#bytesWritten - writtenBefore;
      this.deadlines?.sent(written, output.bytes, !output.isEmpty, this.loop.time());
      this.scheduleDeadlines();
      if (output.isEmpty) {
        this.#output = null;
        this.settings.streams.returnQueue(output);
      }
      if ((this.state & UNREFERENCED) !== 0) this.countReference();
    }
    if (this.#output === null) this.allSent();
    return true;
  }

  /** Sends the front of `output` until it is empty, the kernel takes no more, or others have their turn. */
  private send(output: WriteQueue): Error | null {
    let left = this.settings.maxWritePerTurn;
    for (let front = output.front; front !== null; front = output.front) {
      if (front.isGone)
        return new IOLoopError(
          'ERR_IOLOOP_INVALID_STATE',
          'a buffer was transferred or shrunk before it was sent',
        );
      const size = front.file !== null ? Math.min(front.file.remaining, left) : front.end - front.start;
      const count = this.sendFront(output, front, left);
      if (count === EAGAIN || count === ENOBUFS) {
        this.blocked();
        return null;
      }
      if (count < 0) return this.errorOf(count, front.file === null ? 'send' : 'sendfile');
      left -= count;
      if (front.file !== null) this.sentOfFile(output, front.file, count);
      else output.advance(count);
      // Less than was offered: the kernel is full.
      if ((count < size && front.file === null) || left <= 0) {
        if (!output.isEmpty) this.blocked();
        return null;
      }
    }
    return null;
  }

  private sendFront(output: WriteQueue, front: Outgoing, most: number): number {
    if (front.file !== null) return this.sendFileToFd(front.file, Math.min(front.file.remaining, most));
    if (front.fds !== null) return this.sendFdsOf(front, front.fds);
    if (!output.isMany) return this.writeToFd(front.bytes, front.start, front.end);
    return this.writeViewsToFd(output.views(MAX_VIEWS), front.start);
  }

  private sendFdsOf(front: Outgoing, fds: OutgoingFds): number {
    const count = this.writeWithFdsToFd(front.bytes, fds.numbers);
    if (count > 0) front.closeFds();
    return count;
  }

  private sentOfFile(output: WriteQueue, file: OutgoingFile, count: number): void {
    file.offset += count;
    file.remaining -= count;
    this.#bytesWritten += count;
    // 0: the file is shorter than it was.
    if (count === 0 || file.remaining === 0) output.shift();
  }

  /** The kernel takes no more: it says when it does. */
  private blocked(): void {
    this.state |= BLOCKED;
    this.want(Interest.WRITE, true);
  }

  /** More was queued than may be: the stream is beyond saving, since no byte is left out of its middle. */
  private overflow(queued: number): Error {
    const { maxWriteBufferSize } = this.settings;
    const message = `${queued} bytes are queued, more than maxWriteBufferSize`;
    const error = new LimitError('ERR_IOLOOP_BUFFER_FULL', message, maxWriteBufferSize);
    this.abort(error);
    return error;
  }

  protected override get isSending(): boolean {
    return this.#output !== null;
  }

  protected override dropQueued(): void {
    const output = this.#output;
    this.#output = null;
    if (output === null) return;
    this.settings.streams.bytesQueued -= output.bytes;
    output.fail(this.refusal());
  }
}

/** Puts `data` into `output`: a copy, or itself if it is large and lasts. */
function enqueue(output: WriteQueue, data: Uint8Array): Outgoing | null {
  if (data.length >= BORROWED_FROM) return output.borrow(isView(data) ? Buffer.from(data) : data);
  if (data.length > 0) output.copy(data);
  return null;
}

/** An array of views, or `ERR_IOLOOP_INVALID_ARGUMENT`. */
export function checkViews(data: unknown): readonly Uint8Array[] {
  if (Array.isArray(data) && data.every((view) => view instanceof Uint8Array)) return data;
  throw invalidArgument('data', 'a string, a Uint8Array or an array of those', data);
}

/** A rejected promise that nobody has to handle. */
function quiet(error: Error): Promise<never> {
  const rejected = Promise.reject(error);
  rejected.catch(() => {});
  return rejected;
}
