import { checkFunction, invalidArgument } from '../arguments.ts';
import { type Deferred, deferred } from '../deferred.ts';
import { IOLoopError, LimitError, SystemError, TimeoutError } from '../errors.ts';
import type { HandlerRecord } from '../handler.ts';
import { Interest, Ready } from '../interest.ts';
import type { IOLoop } from '../ioloop.ts';
import type { OutgoingFile } from './outgoing-file.ts';
import { type Overdue, StreamDeadlines } from './stream-deadlines.ts';
import type { StreamSettings } from './stream-options.ts';
import {
  BLOCKED,
  CLOSE_DUE,
  CLOSED,
  CLOSING,
  DEAF,
  DONE,
  END_TOLD,
  ENDING,
  HALF_OPEN,
  KEEPS_ALIVE,
  LINGERING,
  PEER_ENDED,
  RESET,
  SHARED,
  SHUT,
  TO_NOTIFY,
  TO_SERVE,
  UNREFERENCED,
  UNSETTLED,
  UNWATCHABLE,
} from './stream-state.ts';
import { earlier, NEVER } from './timeout-wheel.ts';

/** Who looks after a stream: the server that accepted it, the TLS stream that goes over it. */
export interface StreamOwner<S> {
  /** What the stream's listeners threw or rejected with. */
  streamFailed(stream: S, error: unknown): void;
  /** The stream is being ended for want of memory. */
  streamEvicted(stream: S): void;
  /** Its descriptor is gone. */
  streamClosed(stream: S): void;
}

/** What few streams have. */
class StreamExtras<Self> {
  onEnd: ((stream: Self) => void) | null = null;
  onClose: ((error: Error | null, stream: Self) => void) | null = null;
  whenClosed: Deferred | null = null;
  error: Error | null = null;
  /** Bytes that came while it lingered. */
  drained = 0;
}

/**
 * What a stream is made of before it reads or writes: the seam below it, its state, how it is watched,
 * how long it may take, and the ways it ends.
 */
// It is a LiveStream, a ReadyListener and a WheelEntry, which its declaration cannot say: those members
// are nobody's business.
export abstract class StreamCore<Self> {
  /** @internal */
  readonly settings: StreamSettings;
  /** @internal */
  owner: StreamOwner<Self> | null = null;
  /** @internal */
  wheelTick: number = NEVER;
  /** @internal */
  serial = 0;
  /** Bits of stream-state.ts. */
  protected state: number;
  protected deadlines: StreamDeadlines | null = null;
  #fd: number;
  #record: HandlerRecord | null = null;
  #extras: StreamExtras<Self> | null = null;
  /** Handlers at work. */
  #holds = 0;

  protected constructor(fd: number, settings: StreamSettings) {
    this.#fd = fd;
    this.settings = settings;
    this.state = settings.allowHalfOpen ? HALF_OPEN : 0;
  }

  /** Begins, when all of the stream is there. `interest`: 0 where it is told by others, and later. */
  protected open(interest: number): void {
    const { streams, timed } = this.settings;
    if (interest === 0) streams.unwatched.add(this);
    else this.setInterest(interest);
    if (timed) this.startDeadlines();
    this.serial = streams.add();
  }

  // ---- the seam

  /** The stream, as its listeners know it. */
  protected abstract get self(): Self;

  /** Bytes read into `target` from `start` on, 0 at the end of the stream, or -errno; EAGAIN: none yet. */
  protected abstract readFromFd(target: Uint8Array, start: number): number;

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

  // ---- what reads and writes

  /** Received bytes that wait. */
  abstract get bytesBuffered(): number;
  /** Bytes that wait to be sent. */
  abstract get bytesQueued(): number;
  /** @internal */
  abstract get bytesHeld(): number;
  /** @internal */
  abstract get isIdle(): boolean;
  /** @internal */
  abstract sendLast(): void;
  /** @internal */
  abstract holdForMemory(hold: boolean): void;
  /** Whether anything is queued. */
  protected abstract get isSending(): boolean;
  /** Receives what is there, as far as somebody wants it. `over`: an error waits, or both halves have ended. */
  protected abstract receive(over: boolean): void;
  /** Sees to it that what is wanted is received. */
  protected abstract receiveAgain(): void;
  /** Receives what came before a failure. */
  protected abstract salvage(): void;
  /** Whether a listener has yet to be given what came before the end. */
  protected abstract get isDelivering(): boolean;
  /** Gives what is buffered to whoever reads. */
  protected abstract serve(): void;
  /** Sees to the deadline of a read; the tick of the next one. */
  protected abstract expireRead(tick: number): number;
  /** Nobody reads any more: who was to be told of the end after what came before it is told now. */
  protected abstract deafen(): void;
  /** Sends what the kernel takes; false: that failed, and the stream is over. */
  protected abstract transmit(): boolean;
  /** Drops what is queued. */
  protected abstract dropQueued(): void;
  /** What is still buffered is its reader's from now on, and the loop's no longer. */
  protected abstract stopCounting(): void;

  /** What few streams have, for one that has. */
  protected get extras(): StreamExtras<Self> {
    this.#extras ??= new StreamExtras();
    return this.#extras;
  }

  /** Notes what ended the stream, unless that is known. */
  protected setError(error: Error | null): void {
    if (error !== null) this.extras.error ??= error;
  }

  /** Whether handlers are at work. */
  protected get isHeld(): boolean {
    return this.#holds > 0;
  }

  /** `stream` goes on in place of this one: the handlers at work here hold it, too. */
  protected holdAlike(stream: { hold(): void }): void {
    for (let holds = this.#holds; holds > 0; holds--) stream.hold();
  }

  /** Gives the descriptor up, and is over but for {@link whenClosed}. */
  protected letGo(): number {
    const fd = this.#fd;
    this.forgetFd(false);
    this.stopCounting();
    this.state |= CLOSED | CLOSING | DEAF;
    this.#fd = -1;
    this.extras.onClose = null;
    this.gone();
    return fd;
  }

  // ---- ending

  /** Calls `listener` when the peer has ended its half and everything before that was read. */
  onEnd(listener: ((stream: Self) => void) | null): void {
    if (listener !== null) checkFunction(listener, 'listener');
    this.extras.onEnd = listener;
  }

  /** Calls `listener` when the stream is closed: once, after everything else. */
  onClose(listener: ((error: Error | null, stream: Self) => void) | null): void {
    if (listener !== null) checkFunction(listener, 'listener');
    this.extras.onClose = listener;
  }

  /**
   * Reads no more, delivers what was written, and closes. Idempotent.
   *
   * Where bytes of the peer are unread or ours unacknowledged, it ends our half first and drains the
   * other for a while, since close(2) would reset the connection and destroy what was delivered. It
   * gives up after `closeTimeoutMs` without progress.
   */
  close(error?: Error): Promise<void> {
    if (error !== undefined && !(error instanceof Error)) throw invalidArgument('error', 'an Error', error);
    this.beginClose(error ?? null);
    return this.whenClosed;
  }

  /** Drops what is queued and resets the connection, at once. */
  abort(error?: Error): void {
    if (error !== undefined && !(error instanceof Error)) throw invalidArgument('error', 'an Error', error);
    // First of all: the read that waits is told of it.
    if ((this.state & CLOSED) === 0) this.setError(error ?? null);
    this.deafen();
    this.dispose(null, true);
  }

  /** Whether nothing can be written any more. */
  get closed(): boolean {
    return (this.state & (CLOSING | CLOSED)) !== 0;
  }

  /** Whether the peer has ended its half. */
  get ended(): boolean {
    return (this.state & PEER_ENDED) !== 0;
  }

  /** What ended the stream, null when nothing went wrong. */
  get error(): Error | null {
    return this.#extras?.error ?? null;
  }

  /** @internal Whether this side has reset the connection, and not closed it in order. */
  get wasReset(): boolean {
    return (this.state & RESET) !== 0;
  }

  /** Settles when the descriptor is gone; never rejects. */
  get whenClosed(): Promise<void> {
    const { extras } = this;
    if (extras.whenClosed === null) {
      extras.whenClosed = deferred();
      if ((this.state & (CLOSED | TO_NOTIFY)) === CLOSED) extras.whenClosed.resolve();
    }
    return extras.whenClosed.promise;
  }

  /** The descriptor, -1 once it is gone. A borrow. */
  get fd(): number {
    return this.#fd;
  }

  /** The loop it lives on. */
  get loop(): IOLoop {
    return this.settings.loop;
  }

  /** Keeps the process alive: the default. */
  ref(): this {
    this.state &= ~UNREFERENCED;
    this.countReference();
    return this;
  }

  /** Keeps the process alive no longer, but while bytes are queued. */
  unref(): this {
    this.state |= UNREFERENCED;
    this.countReference();
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
    if ((this.state & DONE) !== 0) this.unsettle();
  }

  /** @internal Whether the peer's end leaves our half open; as the option said, to begin with. */
  get allowHalfOpen(): boolean {
    return (this.state & HALF_OPEN) !== 0;
  }

  set allowHalfOpen(allowed: boolean) {
    if (allowed) this.state |= HALF_OPEN;
    else this.state &= ~HALF_OPEN;
  }

  /** @internal What is read goes into `read`; `events` are bits of Ready. */
  ready(_fd: number, events: number): void {
    const over = (events & (Ready.HANGUP | Ready.ERROR)) !== 0;
    if (over || (events & Ready.READ) !== 0) this.receive(over);
    if ((this.state & CLOSED) !== 0 || (!over && (events & Ready.WRITE) === 0)) return;
    if ((this.state & BLOCKED) !== 0) {
      this.state &= ~BLOCKED;
      this.unsettle();
    } else if (!this.isSending) {
      this.want(Interest.WRITE, false);
    }
  }

  /** @internal The end of the turn. */
  settle(): void {
    this.state &= ~UNSETTLED;
    if ((this.state & TO_SERVE) !== 0) {
      this.state &= ~TO_SERVE;
      this.serve();
    }
    if ((this.state & TO_NOTIFY) !== 0) {
      this.notify();
      return;
    }
    if ((this.state & UNWATCHABLE) !== 0) this.dispose(null, true);
    if ((this.state & CLOSE_DUE) !== 0) this.beginClose(this.error);
    if ((this.state & DONE) !== 0 && this.#holds === 0) this.startClosing();
    if ((this.state & (BLOCKED | CLOSED)) === 0) this.transmit();
  }

  /** @internal Gives what is queued `closeTimeoutMs` to make progress, as close() does: what goes over it closes. */
  limitClosing(): void {
    if ((this.state & CLOSED) !== 0) return;
    this.startDeadlines().closing(this.loop.time());
    this.scheduleDeadlines();
  }

  /** @internal Ends it for want of memory. */
  evict(error: Error): void {
    this.owner?.streamEvicted(this.self);
    this.abort(error);
  }

  /** @internal The wheel's call. */
  expire(tick: number): number {
    const next = this.expireRead(tick);
    const deadlines = this.deadlines;
    if (deadlines === null || (this.state & CLOSED) !== 0) return next;
    const overdue = deadlines.overdue(this.loop.time());
    if (overdue !== null) this.overdue(overdue);
    if ((this.state & CLOSED) !== 0) return NEVER;
    return earlier(next, deadlines.nextTick());
  }

  // ---- watching

  /**
   * Has {@link ready} called for the bits of `interest` as long as they are so; 0: not even for an error.
   */
  protected setInterest(interest: number): void {
    const { handlers, unwatched } = this.settings.streams;
    if (this.#record === null) {
      this.#record = handlers.add(this.#fd, this, interest, 'stream');
      unwatched.delete(this);
    } else if (interest !== 0) {
      handlers.update(this.#fd, interest);
    } else {
      this.forgetFd(false);
      unwatched.add(this);
    }
    this.countReference();
  }

  /** Watches no more; `closing`: the descriptor has no duplicate and is closed right afterwards. */
  protected forgetFd(closing: boolean): void {
    const { handlers, scheduler } = this.settings.streams;
    if (this.#record === null || scheduler.closed) return;
    if (closing) handlers.forget(this.#fd);
    else handlers.remove(this.#fd);
    this.#record = null;
  }

  /** What is watched. */
  protected get interest(): number {
    return this.#record?.interest ?? 0;
  }

  /** Watches for `bits` as well, or no more. */
  protected want(bits: number, wanted: boolean): void {
    const interest = wanted ? this.interest | bits : this.interest & ~bits;
    if (interest === this.interest) return;
    try {
      this.setInterest(interest);
    } catch (error) {
      // No memory for it (epoll_ctl(2)). Not at once: whoever called is in the middle of something.
      this.setError(error instanceof Error ? error : null);
      this.state |= UNWATCHABLE;
      this.unsettle();
    }
  }

  /** Has {@link settle} called when the turn ends; outside of one, when the current callback is done. */
  protected unsettle(): void {
    if ((this.state & UNSETTLED) !== 0) return;
    this.state |= UNSETTLED;
    this.settings.streams.unsettle(this);
  }

  /** Counts the stream among what keeps the process alive, where no descriptor does. */
  protected countReference(): void {
    const { handlers, scheduler } = this.settings.streams;
    const wanted = (this.state & CLOSED) === 0 && ((this.state & UNREFERENCED) === 0 || this.isSending);
    if (this.#record !== null) handlers.setReferenced(this.#fd, wanted);
    const byItself = wanted && this.#record === null;
    if (byItself === ((this.state & KEEPS_ALIVE) !== 0)) return;
    this.state ^= KEEPS_ALIVE;
    if (byItself) scheduler.reference();
    else scheduler.unreference();
  }

  // ---- ending

  /** {@link close}, with what ended it. */
  protected beginClose(error: Error | null): void {
    const begins = (this.state & (CLOSING | CLOSED)) === 0;
    // First of all: the read that waits is told of it.
    if (begins) this.setError(error);
    this.deafen();
    if (!begins) return;
    this.startClosing();
    this.unsettle();
  }

  private startClosing(): void {
    if ((this.state & (CLOSING | CLOSED)) !== 0) return;
    this.state |= CLOSING;
    if (this.isSending) this.limitClosing();
  }

  /** Everything has left: closes, at once if nobody can lose by it. */
  private finish(): void {
    if ((this.state & PEER_ENDED) !== 0 || !this.mustLinger()) {
      this.dispose(null, false);
      return;
    }
    this.state |= LINGERING | SHUT;
    this.shutdownFd();
    this.startDeadlines().lingering(this.loop.time());
    this.scheduleDeadlines();
    this.receiveAgain();
  }

  /** Reading or writing failed: the stream is over, but for what was received before. */
  protected fail(error: Error): void {
    if ((this.state & CLOSED) !== 0) return;
    // What the peer said before it left is still there to be read.
    if (this.isSending && (this.state & CLOSING) === 0) this.salvage();
    // Cut off in the middle: by a reset, or the peer would take what it has for all there is.
    this.dispose(error, this.isSending);
  }

  /** The descriptor goes; what was received stays, unless nobody may read it. */
  protected dispose(error: Error | null, abort: boolean): void {
    if ((this.state & CLOSED) !== 0) return;
    this.setError(error);
    this.stopCounting();
    this.state |= abort ? CLOSED | CLOSING | RESET : CLOSED | CLOSING;
    this.dropQueued();
    this.forgetFd((this.state & SHARED) === 0);
    this.closeFd(abort);
    this.#fd = -1;
    // Not within the caller's call, which may be a write of the listener.
    this.state |= TO_SERVE;
    this.gone();
  }

  /** The stream is over for all but its listeners, who hear of it when the turn ends. */
  protected gone(): void {
    this.deadlines = null;
    this.state |= TO_NOTIFY;
    this.countReference();
    this.settings.streams.wheel.forget(this);
    this.settings.streams.remove(this);
    this.owner?.streamClosed(this.self);
    this.unsettle();
  }

  private notify(): void {
    this.state &= ~TO_NOTIFY;
    const extras = this.#extras;
    extras?.whenClosed?.resolve();
    if (extras === null || extras.onClose === null) return;
    const { untold } = this.settings.streams;
    if (this.isDelivering) {
      untold.add(this);
      return;
    }
    untold.delete(this);
    const { onClose } = extras;
    extras.onClose = null;
    try {
      onClose(this.error, this.self);
    } catch (error) {
      this.report(error);
    }
  }

  /** Why nothing can be done with the stream. */
  protected refusal(): IOLoopError {
    const state = this.state;
    const { error } = this;
    if (error !== null) return this.closedError(`the stream is closed: ${error.message}`, error);
    if ((state & DEAF) !== 0) return this.closedError('the stream was closed', null);
    if ((state & PEER_ENDED) !== 0) return this.closedError('the peer has ended the stream', null);
    return this.closedError((state & ENDING) !== 0 ? 'the stream was ended' : 'the stream is closed', null);
  }

  private shut(): void {
    this.state |= SHUT;
    this.shutdownFd();
    if ((this.state & END_TOLD) === 0) return;
    this.state |= DONE;
    this.unsettle();
  }

  /** Nothing is queued: what waited for that. */
  protected allSent(): void {
    if ((this.state & (CLOSING | CLOSED | LINGERING)) === CLOSING) this.finish();
    else if ((this.state & (ENDING | SHUT | CLOSED)) === ENDING) this.shut();
  }

  /** Calls the listener of {@link onEnd}. */
  protected callEnd(): void {
    try {
      this.#extras?.onEnd?.(this.self);
    } catch (error) {
      this.listenerFailed(error);
    }
  }

  /** Says that a listener threw to whoever is to know. */
  protected report(error: unknown): void {
    // A peer that left is no error.
    if (IOLoopError.is(error, 'ERR_IOLOOP_STREAM_CLOSED') && 'stream' in error && error.stream === this)
      return;
    if (this.owner !== null) this.owner.streamFailed(this.self, error);
    else this.settings.streams.scheduler.caught(error);
  }

  /** @internal A listener threw: that ends this stream, and nothing else. */
  listenerFailed(error: unknown): void {
    this.report(error);
    const cause = error instanceof Error ? error : new Error('a listener threw no Error', { cause: error });
    this.beginClose(cause);
  }

  // ---- deadlines

  /** What keeps the times of this stream, which may have had none to keep. */
  protected startDeadlines(): StreamDeadlines {
    this.deadlines ??= new StreamDeadlines(this.settings, this.loop.time());
    this.scheduleDeadlines();
    return this.deadlines;
  }

  /** Has the wheel look at the earliest of them. */
  protected scheduleDeadlines(): void {
    const tick = this.deadlines?.nextTick() ?? NEVER;
    if (tick !== NEVER) this.settings.streams.wheel.schedule(this, tick);
  }

  private overdue(what: Overdue): void {
    const { settings } = this;
    switch (what) {
      case 'idle':
        this.beginClose(
          new IOLoopError('ERR_IOLOOP_IDLE', `nothing came or left for ${settings.idleTimeoutMs} ms`),
        );
        return;
      case 'write':
        this.abort(new TimeoutError(`no queued byte left for ${settings.writeTimeoutMs} ms`));
        return;
      case 'soft':
        this.abort(this.overSoftLimit());
        return;
      case 'readRate':
        this.beginClose(tooSlow(`less than ${settings.minReadRate} bytes a second came`));
        return;
      case 'writeRate':
        this.abort(tooSlow(`less than ${settings.minWriteRate} bytes a second left`));
        return;
      case 'close':
        this.abort(new TimeoutError(`close() made no progress for ${settings.closeTimeoutMs} ms`));
        return;
      case 'linger':
        this.dispose(null, false);
    }
  }

  private overSoftLimit(): LimitError {
    const { softWriteBufferSize, softWriteTimeoutMs } = this.settings;
    const message = `more than ${softWriteBufferSize} bytes were queued for ${softWriteTimeoutMs} ms`;
    return new LimitError('ERR_IOLOOP_BUFFER_FULL', message, softWriteBufferSize);
  }
}

function tooSlow(message: string): IOLoopError {
  return new IOLoopError('ERR_IOLOOP_TOO_SLOW', message);
}
