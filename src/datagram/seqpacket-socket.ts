import { type Address, toAddress } from '../address.ts';
import { checkBoolean, checkFd, checkFunction, checkOptions, invalidArgument } from '../arguments.ts';
import { IOLoopError, type SystemError } from '../errors.ts';
import type { WaitOptions } from '../ioloop.ts';
import { addon, closeStream, shutdownStream } from '../native.ts';
import { FLAG, ROW, WANT } from '../native-datagrams.ts';
import { explain } from '../native-error.ts';
import type { OwnedFd } from '../owned-fd.ts';
import type { PassedFd } from '../passed-fds.ts';
import type { PeerCredentials } from '../peer-credentials.ts';
import { LoopStreams } from '../stream/loop-streams.ts';
import type { Chunk } from '../stream/read-buffer.ts';
import { checkSocketPath } from '../stream/socket-file.ts';
import { checkWait, waitFor } from '../wait.ts';
import { connectSeqpacket } from './connect-seqpacket.ts';
import { type MessageOptions, type MessageSettings, messageSettings } from './message-options.ts';
import { MessageSocket } from './message-socket.ts';
import { adoptSocket, openPair, setBufferSizes } from './open-socket.ts';
import { checkBytes, checkData, readMessages } from './outgoing-messages.ts';
import { UnixMessageBatch } from './unix-batch.ts';

/** What a seqpacket socket may be told. */
export interface SeqpacketOptions extends MessageOptions {
  /** Whether descriptors that come with a message are taken; false: they are closed. */
  receiveFds?: boolean | undefined;
  /** Whether the peer's end leaves our half open; false: the socket then closes by itself. */
  allowHalfOpen?: boolean | undefined;
}

/** One message, with bytes of its own. */
export interface SeqpacketMessage {
  readonly data: Chunk;
  /** Whether it was longer than `maxPacketSize`, and its end is lost. */
  readonly truncated: boolean;
  /** Who sent it; null where the system does not tell. */
  readonly credentials: PeerCredentials | null;
  /** The descriptors that came with it, with `receiveFds`: each its taker's to close. */
  readonly fds: readonly OwnedFd[];
  /** Whether descriptors were lost that did not fit in our table. */
  readonly fdsTruncated: boolean;
}

/** After these the peer takes no more; what it sent before may still be there. */
const PEER_IS_GONE: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'ENOTCONN']);

/**
 * A connection in the Unix domain that keeps the borders of messages (SOCK_SEQPACKET, unix(7)):
 * reliable and in order, with an end on either side. What finds no room in an iteration's queue waits
 * in the kernel, and then with its sender; nothing is dropped.
 */
export class SeqpacketSocket extends MessageSocket<UnixMessageBatch, SeqpacketMessage> {
  readonly #allowHalfOpen: boolean;
  /** What the kernel tells once; readers hear of it after the messages that came before. */
  #reset: SystemError | null = null;
  /** A send has found the peer gone. */
  #isBroken = false;
  #isEnded = false;
  #hasEnded = false;
  /** Handlers at work. */
  #holds = 0;
  #onEnd: ((socket: SeqpacketSocket) => void) | null = null;
  #local: Address | null = null;
  #remote: Address | null = null;

  /** @internal Takes over a connected descriptor of this environment. */
  constructor(fd: number, options?: SeqpacketOptions) {
    const settings = seqpacketSettings(options);
    super(prepared(fd, settings), settings, options?.receiveFds === true);
    this.#allowHalfOpen = options?.allowHalfOpen === true;
  }

  /**
   * Connects to a path, or to an abstract name after a NUL; waits while the backlog there is full.
   *
   * @param options `timeoutMs`: 30,000.
   * @throws SystemError ECONNREFUSED: nobody listens; ENOENT, EACCES, EPROTOTYPE: of another type;
   *   {@link TimeoutError}, AbortError; `ERR_IOLOOP_CLOSED`: the loop was closed meanwhile.
   */
  static async connect(
    target: { path: string },
    options?: SeqpacketOptions & WaitOptions,
  ): Promise<SeqpacketSocket> {
    checkOptions(target ?? null, 'target');
    const { path } = target;
    checkSocketPath(path, 'target.path');
    const { loop } = seqpacketSettings(options);
    checkWait(options);
    const fd = await LoopStreams.of(loop).connecting(options?.signal, (signal) =>
      connectSeqpacket(loop, path, { ...options, signal }),
    );
    try {
      return new SeqpacketSocket(fd, options);
    } catch (error) {
      closeStream(fd);
      throw error;
    }
  }

  /** Two sockets that are connected to each other (socketpair(2)). */
  static pair(options?: SeqpacketOptions): [SeqpacketSocket, SeqpacketSocket] {
    const settings = seqpacketSettings(options);
    const [one, other] = openPair('seqpacket', (fd) => prepared(fd, settings));
    return [new SeqpacketSocket(one, options), new SeqpacketSocket(other, options)];
  }

  /**
   * A socket over a connected descriptor. Takes it over once it returns.
   *
   * @throws SystemError ENOTSOCK, EINVAL: no seqpacket socket; ENOTCONN; EBADF.
   */
  static fromFd(fd: number, options?: SeqpacketOptions): SeqpacketSocket {
    checkFd(fd);
    return adoptSocket(fd, ['seqpacket'], () => {
      explain({ detail: `fd ${fd}` }, () => addon().peerAddress(fd));
      return new SeqpacketSocket(fd, options);
    });
  }

  /**
   * The next message; null: the peer has ended. One reader at a time. It takes one message from the kernel,
   * and leaves what is behind it to whoever reads next; an iteration takes many at a time, and is faster.
   *
   * @throws `ERR_IOLOOP_READ_PENDING` while there is another reader; {@link SystemError} ECONNRESET: the
   *   peer has closed, and not read all that we sent; AbortError, {@link TimeoutError}: the message stays
   *   for the next call.
   */
  async receive(options?: WaitOptions): Promise<SeqpacketMessage | null> {
    checkWait(options);
    const next = this.nextMessage();
    let isTaken = false;
    try {
      const { done, value } = await waitFor(this.loop, next.promise, options, 'receive()');
      isTaken = true;
      return done ? null : value;
    } finally {
      next.end(isTaken);
    }
  }

  /**
   * Calls `listener` when the peer has ended, by a reset too; everything before that was received. Only a
   * socket that is read from finds out.
   */
  onEnd(listener: ((socket: SeqpacketSocket) => void) | null): void {
    if (listener !== null) checkFunction(listener, 'listener');
    this.#onEnd = listener;
  }

  /**
   * Sends one message: at once, if the peer has room, else as soon as it has. `data` is yours again when
   * the call returns.
   *
   * @returns Settles when it is in the peer's buffer. It rejects with SystemError EPIPE, ECONNRESET: the
   *   peer has gone, and what it sent before can still be read; EMSGSIZE (the message names the size);
   *   `ERR_IOLOOP_BUFFER_FULL`. A rejection that nobody waits for goes to `onError` instead.
   * @throws `ERR_IOLOOP_INVALID_STATE` after {@link end}.
   */
  send(data: string | Uint8Array): Promise<void> {
    checkData(data);
    this.#checkNotEnded();
    if (this.closed) return this.refusal();
    const queue = this.room(data, 0);
    return queue === null ? this.refusal() : this.leave(queue);
  }

  /**
   * Sends descriptors with a message (SCM_RIGHTS, unix(7)): they are duplicated, and yours again on return.
   *
   * @param fds 1 to 253; their numbers are others at the receiver, their order is not.
   * @returns As {@link send}; EBADF, EMFILE; ETOOMANYREFS: too many wait to be received.
   */
  sendFds(fds: readonly PassedFd[], data: string | Uint8Array): Promise<void> {
    checkData(data);
    this.#checkNotEnded();
    if (this.closed) return this.refusal();
    return this.leaveWithFds(fds, () => this.room(data, 0));
  }

  /** Sends many messages; a batch, which its listener has just been given, goes back as it is. */
  sendMany(messages: UnixMessageBatch | readonly Uint8Array[]): Promise<void> {
    this.#checkNotEnded();
    if (messages instanceof UnixMessageBatch) return this.sendBatch(messages);
    if (!Array.isArray(messages))
      throw invalidArgument('messages', 'a batch or an array of Uint8Array', messages);
    const sent: readonly Uint8Array[] = messages;
    const outgoing = readMessages(sent, (data, name) => {
      checkBytes(data, name);
      return data;
    });
    return this.sendAll(outgoing.length, (place) => {
      const data = outgoing[place];
      return data === undefined ? null : this.room(data, 0);
    });
  }

  /** Ends our half when all that was sent has left: the peer reads the end, and we go on reading. */
  async end(): Promise<void> {
    if (this.#hasEnded || this.closed) return;
    this.#hasEnded = true;
    await this.flush();
    if (this.fd >= 0) shutdownStream(this.fd);
  }

  /** Whether the peer has ended. */
  get ended(): boolean {
    return this.#isEnded;
  }

  /** Who has connected, or listened: as it was then (SO_PEERCRED, unix(7)). */
  peerCredentials(): PeerCredentials {
    return explain({ detail: `fd ${this.fd}` }, () => addon().peerCredentials(this.openFd));
  }

  /** Where it is bound. */
  get local(): Address {
    if (this.#local !== null) return this.#local;
    const address = toAddress(explain({ detail: `fd ${this.fd}` }, () => addon().socketAddress(this.openFd)));
    if (isNamed(address)) this.#local = address;
    return address;
  }

  /** Whom it is connected to; path '': one that is not bound. */
  get remote(): Address {
    if (this.#remote !== null) return this.#remote;
    const address = toAddress(explain({ detail: `fd ${this.fd}` }, () => addon().peerAddress(this.openFd)));
    if (isNamed(address)) this.#remote = address;
    return address;
  }

  // ---- for those who look after it

  /** @internal Keeps the socket from closing by itself while a handler is at work. */
  hold(): void {
    this.#holds++;
  }

  /** @internal The end of {@link hold}. */
  release(): void {
    this.#holds--;
    if (this.#isEnded) this.#closeAfterPeer();
  }

  /** @internal Whether it is closed, or the peer known to be gone: what fails then is no news. */
  get isOver(): boolean {
    return this.closed || this.#isEnded || this.#isBroken || this.#reset !== null;
  }

  /** @internal Whether nothing is under way: all that came was answered, as far as can be seen. */
  get isIdle(): boolean {
    return !this.hasUnread && !this.isSending && (this.#holds === 0 || this.isAwaited);
  }

  protected override makeBatch(count: number): UnixMessageBatch {
    return new UnixMessageBatch(this, count);
  }

  protected override makeMessage(batch: UnixMessageBatch, i: number): SeqpacketMessage {
    return {
      data: batch.copy(i),
      truncated: batch.truncated(i),
      credentials: batch.credentials(i),
      fds: batch.fds(i),
      fdsTruncated: batch.fdsTruncated(i),
    };
  }

  protected override discard({ fds }: SeqpacketMessage): void {
    for (const fd of fds) fd.close();
  }

  protected override addressReply(): void {}

  protected override destinationOf(): string {
    return 'the peer';
  }

  protected override get isBlockedUnseen(): boolean {
    return false;
  }

  protected override get waitsForRoom(): boolean {
    return true;
  }

  protected override isFatal(code: string): boolean {
    return PEER_IS_GONE.has(code) || super.isFatal(code);
  }

  /** A message, even an empty one, says who sent it; the end says nothing. */
  protected override messagesIn(received: number): number {
    const { rows } = this.datagrams;
    for (let row = 0; row < received; row++)
      if (rows.get(row, ROW.SIZE) === 0 && !rows.has(row, FLAG.CREDENTIALS)) return row;
    return received;
  }

  protected override get isEnded(): boolean {
    return this.#isEnded;
  }

  /** A reset waited. */
  protected override noticed(error: SystemError): void {
    if (PEER_IS_GONE.has(error.code)) this.#reset ??= error;
    else super.noticed(error);
  }

  protected override sendingFailed(error: SystemError): void {
    if (!PEER_IS_GONE.has(error.code)) {
      super.sendingFailed(error);
      return;
    }
    this.#isBroken = true;
    // EPIPE is no more than the end that is still to be read.
    if (error.code !== 'EPIPE') this.#reset ??= error;
    this.dropQueued(error);
  }

  protected override receivingFailed(error: SystemError): void {
    if (this.#reset === null && PEER_IS_GONE.has(error.code)) this.#reset = error;
    else super.receivingFailed(error);
  }

  protected override endOfMessages(): void {
    this.#isEnded = true;
    super.endOfMessages(this.#reset);
    try {
      this.#onEnd?.(this);
    } catch (error) {
      this.listenerFailed(error);
    } finally {
      if (this.#reset === null) this.#closeAfterPeer();
      else this.dispose(this.#reset);
    }
  }

  /** The peer has ended: so do we, when all handlers are done. */
  #closeAfterPeer(): void {
    if (!this.#allowHalfOpen && this.#holds === 0 && !this.closed) this.closeInOrder();
  }

  #checkNotEnded(): void {
    if (this.#hasEnded) throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the socket has ended its half');
  }
}

/**
 * Checks `options` and fills in the defaults of all sockets.
 *
 * @throws `ERR_IOLOOP_INVALID_ARGUMENT`; `ERR_IOLOOP_CLOSED`.
 */
export function seqpacketSettings(options: SeqpacketOptions | undefined): MessageSettings {
  const settings = messageSettings(options);
  checkBoolean(options?.receiveFds, 'options.receiveFds');
  checkBoolean(options?.allowHalfOpen, 'options.allowHalfOpen');
  return settings;
}

/** `fd`, with what can be set before it is used. */
function prepared(fd: number, settings: MessageSettings): number {
  setBufferSizes(fd, settings);
  addon().wantControl(fd, WANT.CREDENTIALS);
  return fd;
}

/** Whether it has a name for good: SO_PASSCRED has the kernel give one to an unnamed socket that sends. */
function isNamed(address: Address): boolean {
  return String(address) !== '';
}
