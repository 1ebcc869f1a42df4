import { getSystemErrorMap } from 'node:util';

/** The stable codes of this package's errors; part of the interface. */
export type IOLoopErrorCode =
  | 'ERR_IOLOOP_STREAM_CLOSED'
  | 'ERR_IOLOOP_READ_PENDING'
  | 'ERR_IOLOOP_TIMEOUT'
  | 'ERR_IOLOOP_IDLE'
  | 'ERR_IOLOOP_TOO_SLOW'
  | 'ERR_IOLOOP_READ_LIMIT'
  | 'ERR_IOLOOP_BUFFER_FULL'
  | 'ERR_IOLOOP_MEMORY_BUDGET'
  | 'ERR_IOLOOP_UNKNOWN_BACKEND'
  | 'ERR_IOLOOP_CLOSED'
  | 'ERR_IOLOOP_REENTRANT'
  | 'ERR_IOLOOP_INVALID_ARGUMENT'
  | 'ERR_IOLOOP_INVALID_STATE';

// Under a registered symbol, so that two copies of the package know each other's errors.
const BRAND = Symbol.for('ioloop.error');

/** An error of this package's own making; `code` says which. What the kernel refused is a {@link SystemError}. */
export class IOLoopError extends Error {
  override readonly name: string = 'IOLoopError';
  /** One of the stable codes. */
  readonly code: IOLoopErrorCode;

  constructor(code: IOLoopErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    Object.defineProperty(this, BRAND, { value: true });
  }

  /**
   * Whether `error` is one of ours, of `code` where that is given.
   *
   * Unlike `instanceof` it also holds across two copies of the package.
   */
  static is(error: unknown, code?: IOLoopErrorCode): error is IOLoopError {
    if (typeof error !== 'object' || error === null || !(BRAND in error)) return false;
    return code === undefined || ('code' in error && error.code === code);
  }
}

/** A wait that took longer than its `timeoutMs`. It ended the waiting, not what was waited for. */
export class TimeoutError extends IOLoopError {
  override readonly name = 'TimeoutError';

  constructor(message: string, options?: ErrorOptions) {
    super('ERR_IOLOOP_TIMEOUT', message, options);
  }
}

/** Something grew over its limit. */
export class LimitError extends IOLoopError {
  override readonly name = 'LimitError';
  /** The limit, in the unit of what is limited. */
  readonly limit: number;

  constructor(code: IOLoopErrorCode, message: string, limit: number, options?: ErrorOptions) {
    super(code, message, options);
    this.limit = limit;
  }
}

/** The signal of a wait was aborted; `cause` is the signal's reason. */
export class AbortError extends Error {
  override readonly name = 'AbortError';
  readonly code = 'ABORT_ERR';

  constructor(reason: unknown) {
    super('The operation was aborted', { cause: reason });
  }
}

/** What a {@link SystemError} happened to. */
export interface SystemErrorSubject {
  readonly address?: string | undefined;
  readonly port?: number | undefined;
  readonly path?: string | undefined;
  /** Said in the message, for people. */
  readonly detail?: string | undefined;
}

/** What the kernel refused: its errno, by number and by name, and the system call that said so. */
export class SystemError extends Error {
  override readonly name = 'SystemError';
  /** The errno's name, `'EADDRINUSE'`; errno(3). */
  readonly code: string;
  /** Negative, as in Node. */
  readonly errno: number;
  /** The system call, or the function of this package that stands for it. */
  readonly syscall: string;
  /** The IP address that it happened to. */
  declare readonly address?: string;
  /** The port that it happened to. */
  declare readonly port?: number;
  /** The path that it happened to. */
  declare readonly path?: string;

  constructor(errno: number, syscall: string, subject: SystemErrorSubject = {}) {
    const [code, text] = getSystemErrorMap().get(errno) ?? [`E${-errno}`, 'unknown error'];
    const where = subject.detail ?? subject.path ?? endpoint(subject);
    super(`${syscall} ${code}: ${text}${where === undefined ? '' : ` (${where})`}`);
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
    if (subject.address !== undefined) this.address = subject.address;
    if (subject.port !== undefined) this.port = subject.port;
    if (subject.path !== undefined) this.path = subject.path;
  }
}

function endpoint({ address, port }: SystemErrorSubject): string | undefined {
  if (address === undefined) return undefined;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
