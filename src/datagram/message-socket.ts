import { constants } from 'node:os';
import { checkFunction } from '../arguments.ts';
import { type Deferred, deferred } from '../deferred.ts';
import { IOLoopError, SystemError } from '../errors.ts';
import { Interest, Ready } from '../interest.ts';
import { receiveDatagrams } from '../native.ts';
import { BatchListener } from './batch-listener.ts';
import { Inbox } from './inbox.ts';
import { MAX_BATCH_WITH_FDS, slotSize } from './loop-datagrams.ts';
import type { MessageBatch } from './message-batch.ts';
import { MAX_BATCH, type MessageSettings } from './message-options.ts';
import { SendingSocket } from './sending-socket.ts';

/** Receives of one turn: then others have theirs. */
const MAX_RECEIVES = 4;
const FIRST_BATCH = 8;
/** What batches receive into takes no more memory than this, however large messages may be. */
const MAX_SLAB = 8 * 1024 * 1024;
const EAGAIN = -constants.errno.EAGAIN;

/**
 * A socket that keeps message borders: it receives batches into the loop's slab for a listener, or
 * copies of messages for an iteration. What a message says beside its bytes its kinds know.
 */
export abstract class MessageSocket<Batch extends MessageBatch, Message> extends SendingSocket {
  /** @internal The most messages of one receive, where its listener wants fewer than there is room for. */
  maxMessages: number = MAX_BATCH;
  readonly #inbox: Inbox<Message>;
  /** Messages received at a time, at most. */
  readonly #maxBatch: number;
  /** And now: room that is not used costs some nanoseconds a message. */
  #batch: number;
  /** Whether descriptors that come with a message are wanted. */
  readonly #takesFds: boolean;
  #listener: BatchListener<Batch> | null = null;
  #iterations = 0;
  /** Whether the reader wants one message, and leaves the next to the kernel. */
  #wantsOne = false;
  /** Whether it is watched for the next such reader, who saves two system calls if it comes soon. */
  #isLingering = false;
  #isPaused = false;
  #droppedHere = 0;

  /** `fd` is on the environment's list, and the socket's once this returns. */
  protected constructor(fd: number, settings: MessageSettings, takesFds = false) {
    super(fd, settings);
    this.#inbox = new Inbox(settings.maxQueueSize, settings.maxQueueLength);
    this.#takesFds = takesFds;
    this.#maxBatch = batchSize(settings, takesFds);
    this.#batch = Math.min(FIRST_BATCH, this.#maxBatch);
  }

  // ---- what its kinds say

  protected abstract makeBatch(count: number): Batch;

  /** Message `i` of a batch, for as long as its taker likes. */
  protected abstract makeMessage(batch: Batch, i: number): Message;

  /** Drops a message that nobody will take. */
  protected abstract discard(message: Message): void;

  /** How many of the received rows are messages; fewer than all: the peer has ended after them. */
  protected messagesIn(received: number): number {
    return received;
  }

  /** Whether what finds no room waits in the kernel, instead of being dropped. */
  protected get waitsForRoom(): boolean {
    return false;
  }

  /** Whether the end of the peer's messages was seen. */
  protected get isEnded(): boolean {
    return false;
  }

  // ---- receiving

  /**
   * Calls `listener` with what each receive brings, until it is null again, in the async context of this
   * call. The batch, and all views that it gave out, are valid during the call. What an iteration has left
   * behind stays for the next one.
   *
   * @throws `ERR_IOLOOP_READ_PENDING` while an iteration is under way; {@link SystemError} of addHandler().
   */
  onMessages(listener: ((batch: Batch) => void) | null): void {
    if (listener !== null) {
      checkFunction(listener, 'listener');
      this.checkOpen();
      if (this.#iterations > 0)
        throw new IOLoopError('ERR_IOLOOP_READ_PENDING', 'an iteration over the socket is under way');
    }
    const before = this.#listener;
    this.#listener = listener === null ? null : new BatchListener(listener);
    this.#watchOr(() => {
      this.#listener = before;
    });
  }

  /**
   * Messages one by one, each with bytes of its own. They are received from this call on: as many as
   * `maxQueueSize` and `maxQueueLength` allow wait until they are asked for. It ends when the socket is
   * closed; leaving it leaves the socket open, and what waits to the next one.
   *
   * @throws `ERR_IOLOOP_READ_PENDING` while there is a listener, or another iteration.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message> {
    this.#checkUnread();
    this.#setReading(1);
    let isOver = false;
    const finish = (): void => {
      if (isOver) return;
      isOver = true;
      this.#setReading(-1);
      if (this.#iterations === 0) this.#inbox.dismiss();
    };
    const iteration: AsyncIterableIterator<Message> = {
      next: async () => {
        if (isOver) return { done: true, value: undefined };
        try {
          const next = await this.#awaitNext();
          this.#taken();
          if (next.done) finish();
          return next;
        } catch (error) {
          finish();
          throw error;
        }
      },
      return: async () => {
        finish();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]: () => iteration,
    };
    return iteration;
  }

  /** Takes no more until {@link resume}: the kernel keeps what its buffer holds, and drops the rest. */
  pause(): void {
    this.#isPaused = true;
    this.watch();
  }

  /** The end of {@link pause}. */
  resume(): void {
    this.#isPaused = false;
    this.#watchOr(() => {
      this.#isPaused = true;
    });
  }

  /** Messages dropped so far: by the kernel (SO_RXQ_OVFL, socket(7)), and those that found no room here. */
  override get dropped(): number {
    return super.dropped + this.#droppedHere;
  }

  override get bytesBuffered(): number {
    return this.#inbox.bytes;
  }

  override close(): Promise<void> {
    const ending = this.ending ?? this.closeInOrder();
    this.#discardAll();
    return ending.promise;
  }

  /** @internal */
  override ready(_fd: number, events: number): void {
    if (this.#isLingering && !this.#wantsMore) {
      this.#isLingering = false;
      this.watch();
    }
    const failed = (events & (Ready.ERROR | Ready.HANGUP)) !== 0;
    if ((events & (Ready.ERROR | Ready.PRIORITY)) !== 0) this.takeErrors();
    if (failed || (events & Ready.READ) !== 0) this.#receive();
    if (failed || (events & Ready.WRITE) !== 0) this.unblock();
  }

  /** @internal */
  override abort(): void {
    this.dispose(null);
    this.#discardAll();
  }

  /** @internal Whether somebody reads, or will be told of what comes. */
  get isRead(): boolean {
    return this.#listener !== null || this.#iterations > 0;
  }

  /** Whether messages have come that nobody has taken. */
  protected get hasUnread(): boolean {
    return this.#inbox.length > 0;
  }

  /** Whether a reader waits for a message. */
  protected get isAwaited(): boolean {
    return this.#inbox.isAwaited;
  }

  protected override get interest(): number {
    const reads = this.#wantsMore || (this.#isLingering && !this.#isPaused && !this.isEnded);
    return (reads ? Interest.READ : 0) | (this.waitsToWrite ? Interest.WRITE : 0);
  }

  protected override drop(error: Error | null): void {
    this.#listener = null;
    super.drop(error);
    this.#inbox.end(error);
    this.#inbox.disown();
  }

  // ---- for its kinds

  /** Sends what is queued, and closes; what was received may still be taken. */
  protected closeInOrder(): Deferred {
    const ending = deferred();
    this.ending = ending;
    this.#listener = null;
    this.#inbox.end(null);
    if (this.sendAllNow()) {
      this.dispose(null);
    } else {
      this.watch();
      const timer = this.loop.callLater(this.settings.closeTimeoutMs, () => this.dispose(null));
      void ending.promise.then(() => timer.cancel());
    }
    return ending;
  }

  /**
   * The next message; `end` tells that it was taken, or is not waited for any more. None is received ahead:
   * those behind it are for whoever reads next.
   *
   * @throws `ERR_IOLOOP_READ_PENDING`.
   */
  protected nextMessage(): {
    readonly promise: Promise<IteratorResult<Message>>;
    end(isTaken: boolean): void;
  } {
    this.#checkUnread();
    this.#wantsOne = true;
    this.#isLingering = true;
    this.#iterations++;
    const promise = this.#awaitNext();
    this.watch();
    return {
      promise,
      end: (isTaken) => {
        if (isTaken) this.#taken();
        else this.#inbox.withdraw(promise);
        this.#wantsOne = false;
        this.#setReading(-1);
      },
    };
  }

  /** The next message: there is room for one that is waited for, however little memory is left. */
  #awaitNext(): Promise<IteratorResult<Message>> {
    const next = this.#inbox.next();
    if (this.waitsForRoom) this.watch();
    if (this.#inbox.isAwaited) this.owner?.socketRests(this);
    return next;
  }

  /** A message was taken from the {@link inbox}. */
  #taken(): void {
    this.#inbox.taken();
    if (this.waitsForRoom) this.watch();
  }

  /** One reader more, or one less. */
  #setReading(change: 1 | -1): void {
    this.#iterations += change;
    this.#watchOr(() => {
      this.#iterations -= change;
    });
  }

  /** Watches for what is wanted now; when the loop cannot, that is not wanted after all. */
  #watchOr(undo: () => void): void {
    try {
      this.watch();
    } catch (error) {
      undo();
      throw error;
    }
  }

  #checkUnread(): void {
    if (this.#listener !== null || this.#iterations > 0)
      throw new IOLoopError('ERR_IOLOOP_READ_PENDING', 'the socket has a reader');
  }

  /** The peer will send no more: because of `error`, of which a reader hears, or else onError. */
  protected endOfMessages(error: SystemError | null): void {
    if (error !== null && this.#listener !== null) this.report(error);
    this.#inbox.end(error);
    this.watch();
  }

  /** A listener threw: that is for who looks after the socket, or for the loop. */
  protected listenerFailed(error: unknown): void {
    if (this.owner === null) throw error;
    this.owner.socketFailed(this, error);
  }

  /** A receive has failed for good. */
  protected receivingFailed(error: SystemError): void {
    this.report(error);
    this.dispose(error);
  }

  protected override get isReading(): boolean {
    return this.isRead && this.ending === null && !this.isEnded;
  }

  #receive(): void {
    const { datagrams } = this;
    const fds = this.#takesFds ? datagrams.fds : undefined;
    const { receiveSize } = this.settings;
    const slot = slotSize(receiveSize);
    for (let receives = 0; receives < MAX_RECEIVES && this.#wantsMore; receives++) {
      const slab = datagrams.slab(receiveSize, this.#maxBatch);
      const rows = datagrams.firstRows(this.#wantsOne ? 1 : Math.min(this.#batch, this.maxMessages));
      const count = receiveDatagrams(this.fd, slab, slot, rows, datagrams.names, fds);
      if (count === EAGAIN) {
        // To select(2) errors that wait are the same as messages.
        if (receives === 0) this.takeErrors();
        return;
      }
      if (count < 0) {
        this.#failed(count);
        continue;
      }
      const messages = this.messagesIn(count);
      if (messages > 0) this.#deliver(messages);
      if (messages < count && !this.closed) this.endOfMessages(null);
      if (this.#wantsOne || !this.#isFull(count)) return;
    }
  }

  /** Whether there may be more than the `count` that have come; the next batch is sized by how full this one was. */
  #isFull(count: number): boolean {
    const isFull = count === this.#batch;
    if (isFull) this.#batch = Math.min(this.#batch * 2, this.#maxBatch);
    else if (count <= this.#batch >> 2) this.#batch >>= 1;
    return isFull;
  }

  get #wantsMore(): boolean {
    if (!this.isReading || this.#isPaused) return false;
    if (this.#wantsOne) return this.#inbox.isAwaited;
    return !this.waitsForRoom || this.#listener !== null || this.#inbox.hasRoom(0);
  }

  #failed(result: number): void {
    const error = new SystemError(result, 'recvmmsg', { detail: `fd ${this.fd}` });
    if (this.isFatal(error.code)) this.receivingFailed(error);
    // Errors that wait say more.
    else if (this.takeErrors() === 0) this.report(error);
  }

  #deliver(count: number): void {
    const batch = this.makeBatch(count);
    try {
      if (this.#listener !== null) this.#listener.call(batch);
      else this.#store(batch);
    } catch (error) {
      this.listenerFailed(error);
    } finally {
      batch.end();
    }
  }

  #store(batch: Batch): void {
    for (let i = 0; i < batch.length; i++) {
      const size = batch.weight(i);
      if (this.waitsForRoom || this.#inbox.hasRoom(size)) this.#inbox.push(this.makeMessage(batch, i), size);
      else this.#droppedHere++;
    }
    if (this.waitsForRoom) this.watch();
  }

  #discardAll(): void {
    for (const message of this.#inbox.clear()) this.discard(message);
  }
}

/** How many messages a socket receives at a time. */
function batchSize({ maxBatch, receiveSize }: MessageSettings, takesFds: boolean): number {
  const slots = Math.max(1, Math.floor(MAX_SLAB / slotSize(receiveSize)));
  return Math.min(maxBatch, slots, takesFds ? MAX_BATCH_WITH_FDS : maxBatch);
}
