import { type Address, toAddress } from '../address.ts';
import { checkBoolean, checkFd, checkFunction, checkOptions, invalidArgument } from '../arguments.ts';
import { AbortError, IOLoopError, SystemError, TimeoutError } from '../errors.ts';
import type { WaitOptions } from '../ioloop.ts';
import { addon, closeStream, shutdownStream } from '../native.ts';
import { FLAG, ROW, WANT } from '../native-datagrams.ts';
import { explain } from '../native-error.ts';
import type { OwnedFd } from '../owned-fd.ts';
import type { PassedFd } from '../passed-fds.ts';
import type { PeerCredentials } from '../peer-credentials.ts';
import type { Chunk } from '../stream/read-buffer.ts';
import { checkSocketPath } from '../stream/socket-file.ts';
import { checkWait, waitFor } from '../stream/wait.ts';
import { type MessageOptions, type MessageSettings, messageSettings } from './message-options.ts';
import { MessageSocket } from './message-socket.ts';
import { adoptSocket, openSocket, setBufferSizes } from './open-socket.ts';
import { checkData } from './sending-socket.ts';
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

/** After these the connection is no more. */
const ENDED: ReadonlySet<string> = new Set(['EBADF', 'ENOTSOCK', 'ECONNRESET', 'EPIPE', 'ENOTCONN']);
const CONNECT_TIMEOUT_MS = 30_000;
/** How long to wait for room in a full backlog, at first and at most. */
const FIRST_RETRY_MS = 1;
const LAST_RETRY_MS = 100;

/**
 * A connection in the Unix domain that keeps the borders of messages (SOCK_SEQPACKET, unix(7)):
 * reliable and in order, with an end on either side. What finds no room in an iteration's queue waits
 * in the kernel, and then with its sender; nothing is dropped.
 */
export class SeqpacketSocket extends MessageSocket<UnixMessageBatch, SeqpacketMessage> {
  readonly #allowHalfOpen: boolean;
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
   *   {@link TimeoutError}, AbortError.
   */
  static async connect(
    target: { path: string },
    options?: SeqpacketOptions & WaitOptions,
  ): Promise<SeqpacketSocket> {
    checkOptions(target ?? null, 'target');
    const { path } = target;
    checkSocketPath(path, 'target.path');
    const { loop } = messageSettings(options);
    checkWait(options);
    const { signal, timeoutMs = CONNECT_TIMEOUT_MS } = options ?? {};
    const fd = openSocket('seqpacket', () => {});
    try {
      const deadline = loop.time() + timeoutMs;
      for (
        let retryMs = FIRST_RETRY_MS;
        !connects(fd, path);
        retryMs = Math.min(retryMs * 2, LAST_RETRY_MS)
      ) {
        if (loop.time() >= deadline)
          throw new TimeoutError(`connecting to ${path} took more than ${timeoutMs} ms`);
        const delayMs = Math.min(retryMs, deadline - loop.time());
        await waitFor(
          loop,
          new Promise<void>((resolve) => loop.callLater(delayMs, resolve)),
          { signal },
          'connecting',
        );
      }
      if (signal?.aborted) throw new AbortError(signal.reason);
      return new SeqpacketSocket(fd, options);
    } catch (error) {
      closeStream(fd);
      throw error;
    }
  }

  /** Two sockets that are connected to each other (socketpair(2)). */
  static pair(options?: SeqpacketOptions): [SeqpacketSocket, SeqpacketSocket] {
    messageSettings(options);
    const [one, other] = explain({}, () => addon().openDatagramPair('seqpacket'));
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
   * The next message; null: the peer has ended. One reader at a time.
   *
   * @throws `ERR_IOLOOP_READ_PENDING` while there is another reader; {@link SystemError} ECONNRESET;
   *   AbortError, {@link TimeoutError}: the message stays for the next call.
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

  /** Calls `listener` when the peer has ended; everything before that was received. */
  onEnd(listener: ((socket: SeqpacketSocket) => void) | null): void {
    if (listener !== null) checkFunction(listener, 'listener');
    this.#onEnd = listener;
  }

  /**
   * Sends one message: at once, if the peer has room, else as soon as it has. `data` is yours again when
   * the call returns.
   *
   * @returns Settles when it is in the peer's buffer. It rejects with SystemError EPIPE, ECONNRESET: the
   *   peer has gone; EMSGSIZE (the message names the size); `ERR_IOLOOP_BUFFER_FULL`. A rejection that
   *   nobody waits for goes to `onError` instead.
   */
  send(data: string | Uint8Array): Promise<void> {
    checkData(data);
    this.#checkNotEnded();
    if (this.closed) return this.refusal();
    const queue = this.room(data, 0);
    return queue === null ? this.refusal() : this.leave(queue);
  }

  /** Sends descriptors with a message (SCM_RIGHTS): they are duplicated, and yours again on return. */
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
    if (!Array.isArray(messages) || !messages.every((data) => data instanceof Uint8Array))
      throw invalidArgument('messages', 'a batch or an array of Uint8Array', messages);
    if (this.closed) return this.refusal();
    const sent: readonly Uint8Array[] = messages;
    return this.sendAll(sent.length, (place) => this.room(sent[place] ?? NOTHING, 0));
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
    this.#local ??= toAddress(explain({ detail: `fd ${this.fd}` }, () => addon().socketAddress(this.openFd)));
    return this.#local;
  }

  /** Whom it is connected to; path '': one that is not bound. */
  get remote(): Address {
    this.#remote ??= toAddress(explain({ detail: `fd ${this.fd}` }, () => addon().peerAddress(this.openFd)));
    return this.#remote;
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
    return ENDED.has(code);
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

  protected override endOfMessages(): void {
    this.#isEnded = true;
    super.endOfMessages();
    this.#onEnd?.(this);
    this.#closeAfterPeer();
  }

  /** The peer has ended: so do we, when all handlers are done. */
  #closeAfterPeer(): void {
    if (!this.#allowHalfOpen && this.#holds === 0 && !this.closed) this.closeInOrder();
  }

  #checkNotEnded(): void {
    if (this.#hasEnded) throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the socket has ended its half');
  }
}

const NOTHING = new Uint8Array(0);

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

/** connect(2); false: the backlog is full. */
function connects(fd: number, path: string): boolean {
  try {
    explain({ path }, () => addon().connectDatagram(fd, path, '', 0));
    return true;
  } catch (error) {
    if (error instanceof SystemError && error.code === 'EAGAIN') return false;
    throw error;
  }
}
