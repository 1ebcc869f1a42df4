import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { invalidArgument } from '../arguments.ts';
import { type Deferred, deferred } from '../deferred.ts';
import { IOLoopError, LimitError, SystemError } from '../errors.ts';
import { closeStream, sendDatagrams } from '../native.ts';
import { FLAG, ROW } from '../native-datagrams.ts';
import { duplicateFds, type PassedFd } from '../passed-fds.ts';
import { SETTLED } from '../stream/wait.ts';
import type { TimerHandle } from '../timer.ts';
import type { MessageBatch, Origin } from './message-batch.ts';
import { checkData } from './outgoing-messages.ts';
import type { SendQueue } from './send-queue.ts';
import { Sending } from './sending.ts';
import { SocketCore } from './socket-core.ts';

/** What is queued in a turn leaves before its end when it is as much. */
const FLUSH_BYTES = 64 * 1024;
/** How long to wait before a receiver that was full is tried again, at first and at most. */
const FIRST_RETRY_MS = 1;
const LAST_RETRY_MS = 100;

const EAGAIN = -constants.errno.EAGAIN;
const EBADF = -constants.errno.EBADF;
const ECANCELED = -constants.errno.ECANCELED;
/** An answer cannot leave from where the question went: that was a group's address, or is ours no more. */
const NOT_FROM_THERE: ReadonlySet<string> = new Set(['EINVAL', 'EADDRNOTAVAIL', 'ENETUNREACH']);

/**
 * The half of a message socket that sends: what the kernel does not take at once waits in a queue, and
 * the replies of a turn leave together.
 */
export abstract class SendingSocket extends SocketCore {
  #queue: SendQueue | null = null;
  #isBlocked = false;
  #isUnsettled = false;
  #retry: TimerHandle | null = null;
  #retryMs = FIRST_RETRY_MS;
  readonly #flushed: Deferred[] = [];

  // ---- what its kinds say

  /** For people: where row `row` of the send queue goes. */
  protected abstract destinationOf(queue: SendQueue, row: number): string;

  /** Whether a full destination is one that readiness does not tell of: then it is tried again in time. */
  protected abstract get isBlockedUnseen(): boolean;

  /** Sends rows of the queue, from its first on: how many were taken, or -errno. */
  protected sendRows(queue: SendQueue): number {
    return sendDatagrams(this.fd, queue.data, queue.rows.words, queue.first, queue.length, queue.fds);
  }

  /** The bytes of `origin`'s name. */
  protected replyNameSize(_origin: Origin): number {
    return 0;
  }

  /** Addresses row `row` of the queue to `origin`. */
  protected addressReply(queue: SendQueue, row: number, origin: Origin): void {
    queue.rows.setAnswer(row, origin.rows, origin.row);
  }

  /** All that was queued has left, or was refused. */
  protected hasSent(): void {}

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

  /** @internal The end of the turn. */
  settle(): void {
    this.#isUnsettled = false;
    if (!this.#isBlocked) this.#transmit();
  }

  /** @internal */
  sendLast(): void {
    this.#transmit();
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

  protected override get isSending(): boolean {
    return this.#queue !== null;
  }

  /** Whether the kernel tells when it takes more. */
  protected get waitsToWrite(): boolean {
    return this.#isBlocked && this.#retry === null;
  }

  /** Sends what waits for room, if it waits: there may be some. */
  protected unblock(): void {
    if (!this.#isBlocked) return;
    this.#isBlocked = false;
    this.#transmit();
    this.watch();
  }

  /** Sends at once what can be sent; false: some of it waits. */
  protected sendAllNow(): boolean {
    this.#transmit();
    return this.#queue === null;
  }

  /**
   * What was sent to whom the socket is connected to goes to nobody else.
   *
   * @throws `ERR_IOLOOP_INVALID_STATE` while some of it waits.
   */
  protected checkAllSent(): void {
    if (this.sendAllNow()) return;
    const message = `${this.bytesQueued} bytes are queued for whom the socket is connected to: see flush()`;
    throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', message);
  }

  /** The queue, with `data` added; null: it is full. */
  protected room(data: string | Uint8Array, nameSize: number): SendQueue | null {
    const queue = this.#queue ?? this.datagrams.takeQueue();
    const { maxQueueSize, maxQueueLength } = this.settings;
    // What is queued before the call counts, so that one message may be of any size.
    if (queue.length > 0 && (queue.bytes >= maxQueueSize || queue.length >= maxQueueLength)) return null;
    queue.add(data, nameSize);
    this.#queue = queue;
    return queue;
  }

  /** Sends what was just added to `queue` as soon as it can be: settles when it has left. */
  protected leave(queue: SendQueue): Promise<void> {
    const isAlone = queue.length === 1 && !this.#isBlocked;
    const refusal = isAlone ? this.#transmit(true) : null;
    if (isAlone && refusal === null && this.#queue === null) return SETTLED;
    const sending = new Sending(1, this.report);
    if (refusal === null) queue.wait(queue.last, sending);
    else sending.failed(refusal);
    if (!isAlone && !this.#isBlocked) this.#transmit();
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
  protected leaveWithFds(fds: readonly PassedFd[], add: () => SendQueue | null): Promise<void> {
    let duplicates: number[];
    try {
      duplicates = duplicateFds(fds, this.datagrams.handlers);
    } catch (error) {
      if (error instanceof SystemError) return this.refusal(error);
      throw error;
    }
    let queue: SendQueue | null = null;
    try {
      queue = add();
    } finally {
      if (queue === null) for (const fd of duplicates) closeStream(fd);
    }
    if (queue === null) return this.refusal();
    queue.addFds(queue.last, duplicates);
    return this.leave(queue);
  }

  /** Sends a batch back where it came from, its first messages without a copy if that can be. */
  protected sendBatch(batch: MessageBatch): Promise<void> {
    if (!this.#owns(batch)) throw invalidArgument('messages', 'a batch of this socket', batch);
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
      const queue = this.closed ? null : add(place);
      if (queue === null) {
        sending.failed(this.closed ? this.#closedError() : this.#fullError());
        continue;
      }
      queue.wait(queue.last, sending);
      const isMuch = queue.length >= this.settings.maxBatch || queue.bytes >= FLUSH_BYTES;
      if (isMuch && !this.#isBlocked) this.#transmit();
    }
    if (!this.#isBlocked) this.#transmit();
    return sending.promise;
  }

  #owns({ owner }: { readonly owner: object }): boolean {
    return owner === this;
  }

  /** Sends the rows of a batch as they were received: how many were taken. */
  #sendRowsBack(batch: MessageBatch): number {
    const rows = batch.plainRows;
    if (rows === null || this.#queue !== null) return 0;
    // A name in the Unix domain stands elsewhere in what is sent.
    for (let row = 0; row < batch.length; row++) if (rows.get(row, ROW.FAMILY) === 1) return 0;
    const { received } = this.datagrams;
    return Math.max(0, sendDatagrams(this.fd, received, rows.words, 0, batch.length, undefined));
  }

  /** The answer to a send that `error` has kept from the queue: it is full, or the socket is closed. */
  protected refusal(error: Error = this.closed ? this.#closedError() : this.#fullError()): Promise<void> {
    const sending = new Sending(1, this.report);
    sending.failed(error);
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

  protected override drop(error: Error | null): void {
    this.dropQueued(error);
  }

  /** A send has failed for good. */
  protected sendingFailed(error: SystemError): void {
    this.dispose(error);
  }

  /** Refuses what is queued. */
  protected dropQueued(error: Error | null): void {
    this.#retry?.cancel();
    this.#retry = null;
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
    this.#retry?.cancel();
    this.#retry = null;
    this.#retryMs = FIRST_RETRY_MS;
    if (queue !== null) this.datagrams.returnQueue(queue);
    if (this.#flushed.length > 0) for (const flushed of this.#flushed.splice(0)) flushed.resolve();
    if (this.#isBlocked) {
      this.#isBlocked = false;
      this.watch();
    }
    this.hasSent();
    if (this.ending === null) this.owner?.socketRests(this);
    else if (this.fd >= 0) this.dispose(null);
  }

  /**
   * Sends what the kernel takes of the queue.
   *
   * @param isLeaving Whether it holds one message, for which nobody waits yet: why that was refused is
   *   then the answer, instead of a report.
   */
  #transmit(isLeaving = false): SystemError | null {
    const queue = this.#queue;
    if (queue === null || this.fd < 0) return null;
    let refusal: SystemError | null = null;
    let hasRetried = false;
    while (queue.length > 0) {
      const taken = this.sendRows(queue);
      if (taken > 0) {
        queue.advance(taken);
        this.#retryMs = FIRST_RETRY_MS;
        hasRetried = false;
      } else if (taken === EAGAIN) {
        this.#blocked();
        return null;
      } else if (hasRetried || !this.#mayTryAgain(queue, taken)) {
        hasRetried = false;
        refusal = this.#refused(queue, taken, isLeaving);
        if (this.#queue === null) return refusal;
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
    if (this.takeErrors() > 0) return true;
    if (!queue.rows.has(queue.first, FLAG.LOCAL) || !NOT_FROM_THERE.has(getSystemErrorName(result)))
      return false;
    queue.rows.set(queue.first, ROW.FLAGS, 0);
    return true;
  }

  #refused(queue: SendQueue, result: number, isLeaving: boolean): SystemError | null {
    const size = queue.rows.get(queue.first, ROW.SIZE);
    const detail = `${size} bytes to ${this.destinationOf(queue, queue.first)}`;
    const error = new SystemError(result, 'send', { detail });
    if (!queue.refuse(error) && !isLeaving) this.report(error);
    if (this.isFatal(error.code)) this.sendingFailed(error);
    return isLeaving ? error : null;
  }

  /** The kernel takes no more: it says when it does, or we look again. */
  #blocked(): void {
    this.#isBlocked = true;
    if (!this.isBlockedUnseen && this.#isWatched()) return;
    this.#retry?.cancel();
    this.#retry = this.loop.callLater(this.#retryMs, () => {
      this.#retry = null;
      this.unblock();
    });
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
    this.countReference();
  }

  /** Watches it, if its loop can: there may be no memory, or its number be too high for select(2). */
  #isWatched(): boolean {
    try {
      this.watch();
      return true;
    } catch {
      return false;
    }
  }
}
