import { constants } from 'node:os';
import { type Deferred, deferred } from '../deferred.ts';
import { IOLoopError, SystemError } from '../errors.ts';
import type { HandlerRecord } from '../handler.ts';
import type { IOLoop } from '../ioloop.ts';
import { addon, closeStream, receiveError } from '../native.ts';
import { ROW } from '../native-datagrams.ts';
import type { SocketOptions } from '../stream/socket-option-table.ts';
import { getOption, getOptionText, setOption } from '../stream/socket-options.ts';
import { LoopDatagrams } from './loop-datagrams.ts';
import type { MessageSettings } from './message-options.ts';

/** Errors that one turn takes: an ICMP message costs a peer less than it costs us. */
const MAX_ERRORS = 64;
const ENOBUFS = -constants.errno.ENOBUFS;
const NOTHING_IS_THERE: ReadonlySet<string> = new Set(['EBADF', 'ENOTSOCK']);

/** Who looks after a socket: the server that made it. */
export interface SocketOwner<Socket> {
  /** An error that nobody waits for; true: that was all, and `onError` is not told. */
  socketErred?(socket: Socket, error: SystemError): boolean;
  /** What the socket's listener threw. */
  socketFailed(socket: Socket, error: unknown): void;
  /** Its reader waits for a message, or all has left that it was to send. */
  socketRests(socket: Socket): void;
  /** Its descriptor is gone. */
  socketClosed(socket: Socket): void;
}

/**
 * What a socket that keeps message borders is made of before it sends or receives: its descriptor, how
 * that is watched, what it tells of errors, and its end.
 */
export abstract class SocketCore {
  /** @internal */
  readonly datagrams: LoopDatagrams;
  /** @internal */
  readonly settings: MessageSettings;
  /** @internal */
  owner: SocketOwner<this> | null = null;
  /** Settles when the descriptor is gone; null: nobody has ended it. */
  protected ending: Deferred | null = null;
  #fd: number;
  #record: HandlerRecord | null = null;
  #isReferenced = true;
  #keepsAlive = false;
  #droppedByKernel = 0;
  /** Codes of errors that were printed. */
  readonly #printed = new Set<string>();

  /** `fd` is on the environment's list, and the socket's once this returns. */
  protected constructor(fd: number, settings: MessageSettings) {
    this.#fd = fd;
    this.settings = settings;
    this.datagrams = LoopDatagrams.of(settings.loop);
    this.datagrams.add(this);
  }

  // ---- what sends and receives

  /** @internal */
  abstract ready(fd: number, events: number): void;
  /** @internal The end of the turn. */
  abstract settle(): void;
  /** @internal */
  abstract sendLast(): void;
  /** Bytes that wait to be sent. */
  abstract get bytesQueued(): number;
  /** Bytes that were received, and wait for the iteration. */
  abstract get bytesBuffered(): number;
  /** @internal Closes at once. */
  abstract abort(): void;
  /**
   * Receives no more, sends what is queued, and closes; what has not left after `closeTimeoutMs` is
   * dropped. Idempotent; settles when the descriptor is gone.
   */
  abstract close(): Promise<void>;
  /** Bits of Interest that are waited for now. */
  protected abstract get interest(): number;
  /** Whether something is queued. */
  protected abstract get isSending(): boolean;
  /** Whether somebody reads. */
  protected abstract get isReading(): boolean;
  /** The descriptor is gone: drops what waits. */
  protected abstract drop(error: Error | null): void;

  /** Whether a failure of this code ends the socket. */
  protected isFatal(code: string): boolean {
    return NOTHING_IS_THERE.has(code);
  }

  // ---- the socket

  /** Messages that the kernel has dropped for want of room (SO_RXQ_OVFL, socket(7)). */
  get dropped(): number {
    if (this.#fd >= 0) this.#droppedByKernel = addon().droppedByKernel(this.#fd);
    return this.#droppedByKernel;
  }

  /**
   * Sets a socket option, by its name or by level, number and bytes (setsockopt(2)); before bind() too.
   * {@link SocketOptions} documents the common ones.
   *
   * @throws SystemError EPERM: of a capability that this process lacks; EINVAL, ENOPROTOOPT ...;
   *   `ERR_IOLOOP_INVALID_ARGUMENT`: this system has none of that name.
   */
  setOption<Name extends keyof SocketOptions>(name: Name, value: NonNullable<SocketOptions[Name]>): void;
  setOption(name: string, value: number | boolean | string): void;
  setOption(level: number, name: number, value: Uint8Array): void;
  setOption(nameOrLevel: string | number, valueOrName: number | boolean | string, bytes?: Uint8Array): void {
    setOption(this.openFd, nameOrLevel, valueOrName, bytes);
  }

  /** An option that is a number. */
  getOption(name: string): number {
    return getOption(this.openFd, name);
  }

  /** A socket option that is a text: 'SO_BINDTODEVICE' (getsockopt(2)). */
  getOptionText(name: string): string {
    return getOptionText(this.openFd, name);
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
    return this.ending !== null;
  }

  /** Keeps the process alive while it is read from: the default. */
  ref(): this {
    this.#isReferenced = true;
    this.countReference();
    return this;
  }

  /** Keeps the process alive no longer, but while messages are queued. */
  unref(): this {
    this.#isReferenced = false;
    this.countReference();
    return this;
  }

  /** {@link close} */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @throws `ERR_IOLOOP_CLOSED`. */
  protected checkOpen(): void {
    if (this.ending !== null) throw new IOLoopError('ERR_IOLOOP_CLOSED', 'the socket is closed');
  }

  protected get openFd(): number {
    this.checkOpen();
    return this.#fd;
  }

  // ---- errors

  /** Tells onError what nobody waits for: when what is under way here is done. */
  protected readonly report = (error: Error): void => {
    queueMicrotask(() => {
      const { onError = this.#print, loop } = this.settings;
      const told = error instanceof SystemError ? error : asSystemError(error);
      try {
        if (this.owner?.socketErred?.(this, told) !== true) onError(told);
      } catch (thrown) {
        loop.scheduler.caught(thrown);
      }
    });
  };

  /** An error waited that answers no call of ours. */
  protected noticed(error: SystemError): void {
    this.report(error);
  }

  /** Takes the errors that wait and tells of them; how many there were. */
  protected takeErrors(): number {
    // Rows of its own: a batch may be under way.
    const { errors } = this.datagrams;
    for (let count = 0; count < MAX_ERRORS; count++) {
      if (this.#fd < 0 || receiveError(this.#fd, errors.words) <= 0) return count;
      this.noticed(this.pendingError(-errors.get(0, ROW.SIZE)));
    }
    return MAX_ERRORS;
  }

  /** The error that {@link takeErrors} has just taken. */
  protected pendingError(errno: number): SystemError {
    return new SystemError(errno, 'send');
  }

  readonly #print = (error: SystemError): void => {
    if (this.#printed.has(error.code)) return;
    this.#printed.add(error.code);
    console.error(`ioloop: socket ${this.#fd}: ${error.message}`);
  };

  // ---- watching

  /** Watches for what is wanted now. */
  protected watch(): void {
    if (this.#fd < 0) return;
    const { handlers } = this.datagrams;
    const { interest } = this;
    if (interest !== (this.#record?.interest ?? 0)) {
      if (this.#record === null) {
        this.#record = handlers.add(this.#fd, this, interest, 'datagrams');
      } else if (interest !== 0) {
        handlers.update(this.#fd, interest);
      } else {
        handlers.remove(this.#fd);
        this.#record = null;
      }
    }
    this.countReference();
  }

  /** Counts the socket among what keeps the process alive. */
  protected countReference(): void {
    const { handlers, scheduler } = this.datagrams;
    if (scheduler.closed) return;
    const wanted = this.#fd >= 0 && (this.isSending || (this.#isReferenced && this.isReading));
    if (this.#record !== null) handlers.setReferenced(this.#fd, wanted);
    const byItself = wanted && this.#record === null;
    if (byItself === this.#keepsAlive) return;
    this.#keepsAlive = byItself;
    if (byItself) scheduler.reference();
    else scheduler.unreference();
  }

  /** The descriptor goes, and with it what waits. */
  protected dispose(error: Error | null): void {
    const fd = this.#fd;
    if (fd < 0) return;
    this.ending ??= deferred();
    this.#droppedByKernel = addon().droppedByKernel(fd);
    if (this.#record !== null && !this.datagrams.scheduler.closed) this.datagrams.handlers.forget(fd);
    this.#record = null;
    this.#fd = -1;
    closeStream(fd);
    this.drop(error);
    this.datagrams.remove(this);
    this.owner?.socketClosed(this);
    this.countReference();
    this.ending.resolve();
  }
}

/** What is no error of the kernel, as the kernel would put it: there is no room for it. */
function asSystemError(cause: Error): SystemError {
  const error = new SystemError(ENOBUFS, 'send', { detail: cause.message });
  error.cause = cause;
  return error;
}
