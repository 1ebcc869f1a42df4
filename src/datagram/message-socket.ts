import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { checkFunction, invalidArgument } from '../arguments.ts';
import { type Deferred, deferred } from '../deferred.ts';
import { IOLoopError, LimitError, SystemError } from '../errors.ts';
import type { HandlerRecord } from '../handler.ts';
import { Interest, Ready } from '../interest.ts';
import type { IOLoop } from '../ioloop.ts';
import { addon, closeStream, receiveDatagrams, receiveError, sendDatagrams } from '../native.ts';
import { FLAG, ROW } from '../native-datagrams.ts';
import type { OwnedFd } from '../owned-fd.ts';
import { OutgoingFds } from '../stream/outgoing-fds.ts';
import { getOption, setOption } from '../stream/socket-options.ts';
import { SETTLED } from '../stream/wait.ts';
import type { TimerHandle } from '../timer.ts';
import { Inbox } from './inbox.ts';
import { LoopDatagrams, MAX_BATCH_WITH_FDS, slotSize } from './loop-datagrams.ts';
import type { MessageBatch, Origin } from './message-batch.ts';
import type { MessageSettings } from './message-options.ts';
import type { SendQueue } from './send-queue.ts';
import { Sending } from './sending.ts';

/** Receives of one turn: then others have theirs. */
const MAX_RECEIVES = 4;
/** Errors that one turn takes: an ICMP message costs a peer less than it costs us. */
const MAX_ERRORS = 64;
/** What is queued in a turn leaves before its end when it is as much. */
const FLUSH_BYTES = 64 * 1024;
const FIRST_RETRY_MS = 1;
const LAST_RETRY_MS = 100;

const EAGAIN = -constants.errno.EAGAIN;
const ENOBUFS = -constants.errno.ENOBUFS;
const EBADF = -constants.errno.EBADF;
const ECANCELED = -constants.errno.ECANCELED;
const NOTHING_IS_THERE = new Set(['EBADF', 'ENOTSOCK']);
/** An answer cannot leave from where the question went: that was a group's address, or is ours no more. */
const NOT_FROM_THERE = new Set(['EINVAL', 'EADDRNOTAVAIL', 'ENETUNREACH']);

/**
 * A socket that keeps message borders: how it is watched, receives into the loop's slab, sends what
 * was queued, and ends. What a message says beside its bytes its kinds know.
 */
export abstract class MessageSocket<Batch extends MessageBatch, Message> {
  /** @internal */
  readonly datagrams: LoopDatagrams;
  /** @internal */
  readonly settings: MessageSettings;
  protected readonly inbox: Inbox<Message>;
  /** Messages received at a time, and the rows for them. */
  readonly #batch: number;
  readonly #rows: Int32Array;
  /** Whether descriptors that come with a message are wanted. */
  readonly #takesFds: boolean;
  #fd: number;
  #record: HandlerRecord | null = null;
  #listener: ((batch: Batch) => void) | null = null;
  #iterations = 0;
  #queue: SendQueue | null = null;
  #isReadAhead = false;
  #isPaused = false;
  #isBlocked = false;
  #isUnsettled = false;
  #isReferenced = true;
  #keepsAlive = false;
  #retry: TimerHandle | null = null;
  #retryMs = FIRST_RETRY_MS;
  #droppedHere = 0;
  #droppedByKernel = 0;
  #lastReported = '';
  #closed: Deferred | null = null;
  readonly #flushed: Deferred[] = [];

  /** `fd` is on the environment's list, and the socket's once this returns. */
  protected constructor(fd: number, settings: MessageSettings, takesFds = false) {
    const { maxQueueSize, maxQueueLength } = settings;
    this.#fd = fd;
    this.settings = settings;
    this.inbox = new Inbox(maxQueueSize, maxQueueLength);
    this.datagrams = LoopDatagrams.of(settings.loop);
    this.#takesFds = takesFds;
    this.#batch = batchSize(settings, takesFds);
    this.#rows = this.datagrams.rows.words.subarray(0, this.#batch * ROW.WORDS);
    this.datagrams.add(this);
  }

  // ---- what its kinds say

  protected abstract makeBatch(count: number): Batch;

  /** Message `i` of a batch, for as long as its taker likes. */
  protected abstract makeMessage(batch: Batch, i: number): Message;

  /** Drops a message that nobody will take. */
  protected abstract discard(message: Message): void;

  /** For people: where row `row` of the send queue goes. */
  protected abstract destinationOf(queue: SendQueue, row: number): string;

  /** Whether a full destination is one that readiness does not tell of: then it is tried again in time. */
  protected abstract get isBlockedUnseen(): boolean;

  /** How many of the received rows are messages; fewer than all: the peer has ended after them. */
  protected messagesIn(received: number): number {
    return received;
  }

  /** Whether a failure of this code ends the socket. */
  protected isFatal(code: string): boolean {
    return NOTHING_IS_THERE.has(code);
  }

  /** Whether what finds no room waits in the kernel, instead of being dropped. */
  protected get waitsForRoom(): boolean {
    return false;
  }

  /** Sends rows of the queue, from its first on: how many were taken, or -errno. */
  protected sendRows(queue: SendQueue): number {
    return sendDatagrams(this.#fd, queue.data, queue.rows.words, queue.first, queue.length, queue.fds);
  }

  // ---- receiving

  /**
   * Calls `listener` with what each receive brings, until it is null again. The batch, and all views
   * that it gave out, are valid during the call.
   *
   * @throws `ERR_IOLOOP_READ_PENDING` while an iteration is under way.
   */
  onMessages(listener: ((batch: Batch) => void) | null): void {
    if (listener !== null) {
      checkFunction(listener, 'listener');
      this.checkOpen();
      if (this.#iterations > 0)
        throw new IOLoopError('ERR_IOLOOP_READ_PENDING', 'an iteration over the socket is under way');
    }
    this.#listener = listener;
    this.#watch();
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
    this.beginReading();
    let isOver = false;
    const finish = (): void => {
      if (isOver) return;
      isOver = true;
      this.endReading();
      if (this.#iterations === 0) this.inbox.dismiss();
    };
    const iteration: AsyncIterableIterator<Message> = {
      next: async () => {
        if (isOver) return { done: true, value: undefined };
        const next = await this.inbox.next();
        this.taken();
        if (next.done) finish();
        return next;
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
    this.#watch();
  }

  /** The end of {@link pause}. */
  resume(): void {
    this.#isPaused = false;
    this.#watch();
  }

  /** Messages dropped so far: by the kernel (SO_RXQ_OVFL, socket(7)), and those that found no room here. */
  get dropped(): number {
    if (this.#fd >= 0) this.#droppedByKernel = addon().droppedByKernel(this.#fd);
    return this.#droppedHere + this.#droppedByKernel;
  }

  // ---- sending

  /** Settles when all that was sent so far has left, or was refused. */
  flush(): Promise<void> {
    if (this.#queue === null) return SETTLED;
    const flushed = deferred();
    this.#flushed.push(flushed);
    this.#transmit();
    return flushed.promise;
  }

  /** Bytes that wait to be sent. */
  get bytesQueued(): number {
    return this.#queue?.bytes ?? 0;
  }

  /** Bytes that were received, and wait for the iteration. */
  get bytesBuffered(): number {
    return this.inbox.bytes;
  }

  // ---- the socket

  /** Sets an option by its name (socket(7), ip(7), udp(7) ...), or by level, number and bytes. */
  setOption(name: string, value: number | boolean | string): void;
  setOption(level: number, name: number, value: Uint8Array): void;
  setOption(nameOrLevel: string | number, valueOrName: number | boolean | string, bytes?: Uint8Array): void {
    setOption(this.openFd, nameOrLevel, valueOrName, bytes);
  }

  /** An option that is a number. */
  getOption(name: string): number {
    return getOption(this.openFd, name);
  }

  /** The descriptor, -1 once it is gone. A borrow. */
  get fd(): number {
    return this.#fd;
  }

  /** The loop it lives on. */
  get loop(): IOLoop {
    return this.settings.loop;
  }

  /** Whether nothing can be sent any more. */
  get closed(): boolean {
    return this.#closed !== null;
  }

  /** Keeps the process alive while it is read from: the default. */
  ref(): this {
    this.#isReferenced = true;
    this.#countReference();
    return this;
  }

  /** Keeps the process alive no longer, but while messages are queued. */
  unref(): this {
    this.#isReferenced = false;
    this.#countReference();
    return this;
  }

  /**
   * Receives no more, sends what is queued, and closes; what has not left after `closeTimeoutMs` is
   * dropped. Idempotent; settles when the descriptor is gone.
   */
  close(): Promise<void> {
    const closed = this.#closed ?? this.closeInOrder();
    for (const message of this.inbox.clear()) this.discard(message);
    return closed.promise;
  }

  /** {@link close} */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ---- for the loop, and for batches

  /** @internal */
  ready(_fd: number, events: number): void {
    const failed = (events & (Ready.ERROR | Ready.HANGUP)) !== 0;
    if ((events & Ready.ERROR) !== 0) this.#takeErrors();
    if (failed || (events & Ready.READ) !== 0) this.#receive();
    if (!this.#isBlocked || (!failed && (events & Ready.WRITE) === 0)) return;
    this.#isBlocked = false;
    this.#transmit();
    this.#watch();
  }

  /** @internal The end of the turn. */
  settle(): void {
    this.#isUnsettled = false;
    if (!this.#isBlocked) this.#transmit();
  }

  /** @internal */
  sendLast(): void {
    this.#transmit();
  }

  /** @internal Closes at once. */
  abort(): void {
    this.#closed ??= deferred();
    this.dispose(null);
    for (const message of this.inbox.clear()) this.discard(message);
  }

  /** @internal */
  get maxPacketSize(): number {
    return this.settings.maxPacketSize;
  }

  /** @internal */
  get isJoining(): boolean {
    return false;
  }

  /** @internal */
  reply(row: number, data: string | Uint8Array): void {
    checkData(data);
    this.checkOpen();
    const { rows, names } = this.datagrams;
    const queue = this.#addReply(data, { rows, row, names });
    if (queue === null) this.report(this.#fullError());
    else this.leaveLater(queue);
  }

  /** @internal {@link reply} after the batch is over; settles as a send. */
  answer(origin: Origin, data: string | Uint8Array): Promise<void> {
    checkData(data);
    const queue = this.closed ? null : this.#addReply(data, origin);
    return queue === null ? this.refusal() : this.leave(queue);
  }

  #addReply(data: string | Uint8Array, origin: Origin): SendQueue | null {
    const queue = this.room(data, this.replyNameSize(origin));
    if (queue !== null) this.addressReply(queue, queue.last, origin);
    return queue;
  }

  /** The bytes of `origin`'s name. */
  protected replyNameSize(_origin: Origin): number {
    return 0;
  }

  /** Addresses row `row` of the queue to `origin`. */
  protected addressReply(queue: SendQueue, row: number, origin: Origin): void {
    queue.rows.setAnswer(row, origin.rows, origin.row);
  }

  // ---- for its kinds

  /** Sends what is queued, and closes; what was received may still be taken. */
  protected closeInOrder(): Deferred {
    const closed = deferred();
    this.#closed = closed;
    this.#listener = null;
    this.inbox.end(null);
    this.#transmit();
    if (this.#queue === null) {
      this.dispose(null);
    } else {
      this.#watch();
      const timer = this.loop.callLater(this.settings.closeTimeoutMs, () => this.dispose(null));
      void closed.promise.then(() => timer.cancel());
    }
    return closed;
  }

  /** One reader more. */
  private beginReading(): void {
    this.#iterations++;
    this.#watch();
  }

  /** One less. */
  private endReading(): void {
    this.#iterations--;
    this.#watch();
  }

  /**
   * The next message; `end` tells that it was taken, or is not waited for any more. From now on messages
   * are received ahead.
   *
   * @throws `ERR_IOLOOP_READ_PENDING`.
   */
  protected nextMessage(): {
    readonly promise: Promise<IteratorResult<Message>>;
    end(isTaken: boolean): void;
  } {
    this.#checkUnread();
    this.#isReadAhead = true;
    this.beginReading();
    const promise = this.inbox.next();
    return {
      promise,
      end: (isTaken) => {
        if (isTaken) this.taken();
        else this.inbox.withdraw(promise);
        this.endReading();
      },
    };
  }

  /** A message was taken from the {@link inbox}. */
  private taken(): void {
    this.inbox.taken();
    if (this.waitsForRoom) this.#watch();
  }

  #checkUnread(): void {
    if (this.#listener !== null || this.#iterations > 0)
      throw new IOLoopError('ERR_IOLOOP_READ_PENDING', 'the socket has a reader');
  }

  /** The peer will send no more. */
  protected endOfMessages(): void {
    this.inbox.end(null);
    this.#watch();
  }

  /** Whether the end of the peer's messages was seen. */
  protected get isEnded(): boolean {
    return false;
  }

  /** @throws `ERR_IOLOOP_CLOSED`. */
  protected checkOpen(): void {
    if (this.#closed !== null) throw new IOLoopError('ERR_IOLOOP_CLOSED', 'the socket is closed');
  }

  protected get openFd(): number {
    this.checkOpen();
    return this.#fd;
  }

  /** The queue, with `data` added; null: it is full. */
  protected room(data: string | Uint8Array, nameSize: number): SendQueue | null {
    this.#queue ??= this.datagrams.takeQueue();
    const queue = this.#queue;
    const { maxQueueSize, maxQueueLength } = this.settings;
    // What is queued before the call counts, so that one message may be of any size.
    if (queue.length > 0 && (queue.bytes >= maxQueueSize || queue.length >= maxQueueLength)) return null;
    queue.add(data, nameSize);
    return queue;
  }

  /** Sends what was just added to `queue` as soon as it can be: settles when it has left. */
  protected leave(queue: SendQueue): Promise<void> {
    let refusal: SystemError | null = null;
    if (!this.#isBlocked) {
      refusal = this.#transmit(true);
      if (refusal === null && this.#queue === null) return SETTLED;
    }
    const sending = new Sending(1, this.report);
    if (refusal === null) queue.wait(queue.last, sending);
    else sending.failed(refusal);
    return sending.promise;
  }

  /** Sends what was just added to `queue` at the end of the turn; before, when that is much. */
  protected leaveLater(queue: SendQueue): void {
    if (this.#isBlocked) return;
    if (queue.length >= this.settings.maxBatch || queue.bytes >= FLUSH_BYTES) this.#transmit();
    else if (!this.#isUnsettled) {
      this.#isUnsettled = true;
      this.datagrams.unsettle(this);
    }
  }

  /** {@link leave} of the message that `add` adds (null: the queue is full), with duplicates of `fds`. */
  protected leaveWithFds(fds: readonly (number | OwnedFd)[], add: () => SendQueue | null): Promise<void> {
    const duplicates = OutgoingFds.duplicate(fds);
    const queue = add();
    if (queue !== null) {
      queue.addFds(queue.last, duplicates.numbers);
      return this.leave(queue);
    }
    duplicates.close();
    return this.refusal();
  }

  /** Sends a batch back where it came from, its first messages without a copy if that can be. */
  protected sendBatch(batch: MessageBatch): Promise<void> {
    if (batch.owner !== this) throw invalidArgument('messages', 'a batch of this socket', batch);
    if (this.closed) return this.refusal();
    const gone = this.#sendRowsBack(batch);
    return this.sendAll(batch.length - gone, (place) => {
      const { rows, names } = this.datagrams;
      return this.#addReply(batch.data(gone + place), { rows, row: batch.rowOf(gone + place), names });
    });
  }

  /**
   * Sends `count` messages, which `add` adds to the queue one by one (null: it is full): settles when
   * all of them have left, or were refused.
   */
  protected sendAll(count: number, add: (place: number) => SendQueue | null): Promise<void> {
    if (count === 0) return SETTLED;
    const sending = new Sending(count, this.report);
    for (let place = 0; place < count; place++) {
      const queue = this.#fd < 0 ? null : add(place);
      if (queue === null) {
        sending.failed(this.#fd < 0 ? this.#closedError() : this.#fullError());
        continue;
      }
      queue.wait(queue.last, sending);
      const isMuch = queue.length >= this.settings.maxBatch || queue.bytes >= FLUSH_BYTES;
      if (isMuch && !this.#isBlocked) this.#transmit();
    }
    if (!this.#isBlocked) this.#transmit();
    return sending.promise;
  }

  /** Sends the rows of a batch as they were received: how many were taken. */
  #sendRowsBack(batch: MessageBatch): number {
    const rows = batch.plainRows;
    // A name in the Unix domain stands elsewhere in what is sent.
    if (rows === null || this.#queue !== null || rows.get(0, ROW.FAMILY) === 1) return 0;
    const slab = this.datagrams.slab(this.maxPacketSize, this.#batch);
    return Math.max(0, sendDatagrams(this.#fd, slab, rows.words, 0, batch.length, undefined));
  }

  /** The answer to a send that found the queue full, or the socket closed. */
  protected refusal(): Promise<void> {
    const sending = new Sending(1, this.report);
    sending.failed(this.closed ? this.#closedError() : this.#fullError());
    return sending.promise;
  }

  #closedError(): SystemError {
    return new SystemError(EBADF, 'send', { detail: 'the socket is closed' });
  }

  #fullError(): LimitError {
    const { maxQueueSize, maxQueueLength } = this.settings;
    const message = `${this.bytesQueued} bytes are queued: maxQueueSize is ${maxQueueSize}, maxQueueLength ${maxQueueLength}`;
    return new LimitError('ERR_IOLOOP_BUFFER_FULL', message, maxQueueSize);
  }

  /** Tells onError what nobody waits for: when what is under way here is done. */
  protected readonly report = (error: Error): void => {
    queueMicrotask(() => {
      const { onError = this.#print, loop } = this.settings;
      try {
        onError(error instanceof SystemError ? error : asSystemError(error));
      } catch (thrown) {
        loop.scheduler.caught(thrown);
      }
    });
  };

  /** The descriptor goes, and with it what waits. */
  protected dispose(error: Error | null): void {
    const fd = this.#fd;
    if (fd < 0) return;
    this.#closed ??= deferred();
    this.#listener = null;
    this.#droppedByKernel = addon().droppedByKernel(fd);
    this.#retry?.cancel();
    if (this.#record !== null && !this.datagrams.scheduler.closed) this.datagrams.handlers.forget(fd);
    this.#record = null;
    this.#fd = -1;
    closeStream(fd);
    this.#dropQueued(error);
    this.inbox.end(error);
    this.datagrams.remove(this);
    this.#countReference();
    this.#closed.resolve();
  }

  #dropQueued(error: Error | null): void {
    const queue = this.#queue;
    if (queue === null) return;
    while (queue.length > 0) {
      const detail = `to ${this.destinationOf(queue, queue.first)}: the socket was closed`;
      const dropped = error ?? new SystemError(ECANCELED, 'send', { detail });
      if (!queue.refuse(dropped)) this.report(dropped);
    }
    this.#allSent();
  }

  #allSent(): void {
    const queue = this.#queue;
    this.#queue = null;
    this.#isBlocked = false;
    this.#retryMs = FIRST_RETRY_MS;
    if (queue !== null) this.datagrams.returnQueue(queue);
    if (this.#flushed.length > 0) for (const flushed of this.#flushed.splice(0)) flushed.resolve();
    if (!this.#isReferenced) this.#countReference();
    if (this.#closed !== null && this.#fd >= 0) this.dispose(null);
  }

  get #isReading(): boolean {
    const isWanted = this.#listener !== null || this.#iterations > 0 || this.#isReadAhead;
    return isWanted && this.#closed === null && !this.isEnded;
  }

  #receive(): void {
    const { datagrams } = this;
    const fds = this.#takesFds ? datagrams.fds : undefined;
    for (let receives = 0; receives < MAX_RECEIVES && this.#wantsMore; receives++) {
      const slab = datagrams.slab(this.maxPacketSize, this.#batch);
      const slot = slotSize(this.maxPacketSize);
      const count = receiveDatagrams(this.#fd, slab, slot, this.#rows, datagrams.names, fds);
      if (count === EAGAIN) return;
      if (count < 0) {
        if (!this.#failed(count, 'recvmmsg')) return;
        continue;
      }
      const messages = this.messagesIn(count);
      if (messages > 0) this.#deliver(messages);
      if (messages < count) this.endOfMessages();
      if (count < this.#batch) return;
    }
  }

  get #wantsMore(): boolean {
    return (
      this.#isReading &&
      !this.#isPaused &&
      !(this.waitsForRoom && this.#listener === null && !this.inbox.hasRoom(0))
    );
  }

  #deliver(count: number): void {
    const batch = this.makeBatch(count);
    try {
      if (this.#listener !== null) this.#listener(batch);
      else this.#store(batch);
    } finally {
      batch.end();
    }
  }

  #store(batch: Batch): void {
    for (let i = 0; i < batch.length; i++) {
      const size = batch.data(i).length;
      if (this.waitsForRoom || this.inbox.hasRoom(size)) this.inbox.push(this.makeMessage(batch, i), size);
      else this.#droppedHere++;
    }
    if (this.waitsForRoom) this.#watch();
  }

  /**
   * Sends what the kernel takes of the queue.
   *
   * @param isLeaving Whether nobody waits yet for the last message: why it was refused is then the
   *   answer, instead of a report.
   */
  #transmit(isLeaving = false): SystemError | null {
    const queue = this.#queue;
    if (queue === null || this.#fd < 0) return null;
    let refusal: SystemError | null = null;
    let hasRetried = false;
    while (queue.length > 0) {
      const taken = this.sendRows(queue);
      if (taken > 0) {
        queue.advance(taken);
        hasRetried = false;
      } else if (taken === EAGAIN) {
        this.#blocked();
        return null;
      } else if (hasRetried || !this.#mayTryAgain(queue, taken)) {
        hasRetried = false;
        refusal = this.#refused(queue, taken, isLeaving);
        if (this.#fd < 0) return refusal;
      } else {
        hasRetried = true;
      }
    }
    this.#allSent();
    return refusal;
  }

  /**
   * Whether the first message deserves another attempt: it was told of an error that earlier ones had
   * caused (ICMP errors answer whatever comes next), or it cannot leave from where it should.
   */
  #mayTryAgain(queue: SendQueue, result: number): boolean {
    if (this.#takeErrors() > 0) return true;
    if (!queue.rows.has(queue.first, FLAG.LOCAL) || !NOT_FROM_THERE.has(getSystemErrorName(result)))
      return false;
    queue.rows.set(queue.first, ROW.FLAGS, 0);
    return true;
  }

  #refused(queue: SendQueue, result: number, isLeaving: boolean): SystemError | null {
    const isAnswer = isLeaving && queue.length === 1;
    const size = queue.rows.get(queue.first, ROW.SIZE);
    const detail = `${size} bytes to ${this.destinationOf(queue, queue.first)}`;
    const error = new SystemError(result, 'send', { detail });
    if (!queue.refuse(error) && !isAnswer) this.report(error);
    if (this.isFatal(error.code)) this.dispose(error);
    return isAnswer ? error : null;
  }

  /** The kernel takes no more: it says when it does, or we look again. */
  #blocked(): void {
    this.#isBlocked = true;
    if (!this.isBlockedUnseen) {
      this.#watch();
      return;
    }
    this.#retry?.cancel();
    this.#retry = this.loop.callLater(this.#retryMs, () => {
      this.#retry = null;
      this.#isBlocked = false;
      this.#transmit();
    });
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
    this.#countReference();
  }

  /** Takes the errors that wait and tells of them; how many there were. */
  #takeErrors(): number {
    const { rows } = this.datagrams;
    for (let count = 0; count < MAX_ERRORS; count++) {
      if (this.#fd < 0 || receiveError(this.#fd, rows.words) <= 0) return count;
      this.report(this.pendingError(-rows.get(0, ROW.SIZE)));
    }
    return MAX_ERRORS;
  }

  /** The error in row 0. */
  protected pendingError(errno: number): SystemError {
    return new SystemError(errno, 'send');
  }

  /** A receive failed; false: for good. */
  #failed(result: number, call: string): boolean {
    const error = new SystemError(result, call, { detail: `fd ${this.#fd}` });
    if (this.isFatal(error.code)) {
      this.report(error);
      this.dispose(error);
      return false;
    }
    this.#takeErrors();
    this.report(error);
    return true;
  }

  /** Watches for what is wanted now. */
  #watch(): void {
    if (this.#fd < 0) return;
    const { handlers } = this.datagrams;
    const reads = this.#wantsMore ? Interest.READ : 0;
    const interest = this.#isBlocked && this.#retry === null ? reads | Interest.WRITE : reads;
    if (interest === (this.#record?.interest ?? 0)) {
      this.#countReference();
      return;
    }
    if (this.#record === null) {
      this.#record = handlers.add(this.#fd, this, interest, 'datagrams');
    } else if (interest !== 0) {
      handlers.update(this.#fd, interest);
    } else {
      handlers.remove(this.#fd);
      this.#record = null;
    }
    this.#countReference();
  }

  /** Counts the socket among what keeps the process alive. */
  #countReference(): void {
    const { handlers, scheduler } = this.datagrams;
    if (scheduler.closed) return;
    const isNeeded = this.#queue !== null || (this.#isReferenced && this.#isReading);
    const wanted = this.#fd >= 0 && isNeeded;
    if (this.#record !== null) handlers.setReferenced(this.#fd, wanted);
    const byItself = wanted && this.#record === null;
    if (byItself === this.#keepsAlive) return;
    this.#keepsAlive = byItself;
    if (byItself) scheduler.reference();
    else scheduler.unreference();
  }

  readonly #print = (error: SystemError): void => {
    if (error.code === this.#lastReported) return;
    this.#lastReported = error.code;
    console.error(`ioloop: socket ${this.#fd}: ${error.message}`);
  };
}

/** What batches receive into takes no more memory than this, however large messages may be. */
const MAX_SLAB = 8 * 1024 * 1024;

/** How many messages a socket receives at a time. */
function batchSize({ maxBatch, maxPacketSize }: MessageSettings, takesFds: boolean): number {
  const slots = Math.max(1, Math.floor(MAX_SLAB / slotSize(maxPacketSize)));
  return Math.min(maxBatch, slots, takesFds ? MAX_BATCH_WITH_FDS : maxBatch);
}

/** What is no error of the kernel, as the kernel would put it: there is no room for it. */
function asSystemError(cause: Error): SystemError {
  const error = new SystemError(ENOBUFS, 'send', { detail: cause.message });
  error.cause = cause;
  return error;
}

/** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
export function checkData(data: unknown): asserts data is string | Uint8Array {
  if (typeof data !== 'string' && !(data instanceof Uint8Array))
    throw invalidArgument('data', 'a string or a Uint8Array', data);
}
