import { constants } from 'node:os';
import { type Address, toAddress } from '../address.ts';
import { SystemError, type SystemErrorSubject } from '../errors.ts';
import { Interest, Ready } from '../interest.ts';
import type { IOLoop } from '../ioloop.ts';
import {
  abortStream,
  addon,
  closeStream,
  type NativeAddress,
  type NativePreset,
  type NativeTarget,
} from '../native.ts';
import type { TimerHandle } from '../timer.ts';
import { explainPresets } from './socket-options.ts';

/** A connected descriptor and whom it is connected to. */
export interface Connection {
  readonly fd: number;
  readonly remote: Address;
}

/** Where a connection comes from: '' and 0 leave it to the kernel. */
export interface LocalEnd {
  readonly address: string;
  readonly port: number;
  /** Set on its socket before it is bound and connected. */
  readonly presets: readonly NativePreset[];
}

const { ECONNREFUSED, ENOTCONN } = constants.errno;
const FIRST_RETRY_MS = 1;
const LAST_RETRY_MS = 128;

/** Whom an attempt tells how it ended: once, unless it is cancelled. */
export interface ConnectObserver {
  /** The descriptor is the observer's from now on. */
  onConnected(connection: Connection, attempt: ConnectAttempt): void;
  onFailed(error: unknown, attempt: ConnectAttempt): void;
}

/** One connect(2), from its call to its decision. */
export class ConnectAttempt {
  readonly #loop: IOLoop;
  readonly #target: NativeTarget;
  readonly #local: LocalEnd;
  readonly #observer: ConnectObserver;
  #fd = -1;
  #retry: TimerHandle | undefined;
  #retryMs = FIRST_RETRY_MS;

  constructor(loop: IOLoop, target: NativeTarget, local: LocalEnd, observer: ConnectObserver) {
    this.#loop = loop;
    this.#target = target;
    this.#local = local;
    this.#observer = observer;
  }

  /** Begins. What is refused at once is decided within this call. */
  start(): void {
    const { path, host, port } = this.#target;
    const { address, port: localPort, presets } = this.#local;
    try {
      this.#fd = explainPresets(presets, this.#subject, () =>
        addon().connectStream(path, host, port, address, localPort, presets),
      );
      this.#loop.addHandler(this.#fd, this.#decide, Interest.WRITE);
    } catch (error) {
      if (this.#isBacklogFull(error)) this.#startLater();
      else this.#fail(error, closeStream);
    }
  }

  /** Closes what is open, and decides nothing any more. */
  cancel(): void {
    this.#retry?.cancel();
    this.#close(closeStream);
  }

  /** What errors name. */
  get #subject(): SystemErrorSubject {
    const { path, host, port } = this.#target;
    if (path !== undefined) return { path };
    const subject = { address: host, port };
    const { address: from, port: localPort } = this.#local;
    if (from === '' && localPort === 0) return subject;
    return { ...subject, detail: `${toAddress(subject)}, from ${from}:${localPort}` };
  }

  /** connect(2) answers EAGAIN for a Unix socket whose backlog is full, and nothing tells when it is not. */
  #isBacklogFull(error: unknown): boolean {
    return error instanceof SystemError && error.code === 'EAGAIN' && this.#target.path !== undefined;
  }

  #startLater(): void {
    this.#retry = this.#loop.callLater(this.#retryMs, () => this.start());
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
  }

  readonly #decide = (fd: number, events: number): void => {
    const errno = addon().socketError(fd);
    const ends = errno === 0 ? endsOf(fd) : undefined;
    // Readiness is a hint: not connected yet, and nothing that says it never will be.
    if (errno === 0 && ends === undefined && (events & (Ready.ERROR | Ready.HANGUP)) === 0) return;
    if (ends === undefined) {
      this.#fail(new SystemError(errno || -ENOTCONN, 'connect', this.#subject), closeStream);
    } else if (isSame(ends.local, ends.remote)) {
      // The port was free and became our own end's, which then met itself (simultaneous open, RFC 9293
      // section 3.5). Reset, so that no TIME_WAIT keeps the port from whom it was meant for.
      this.#fail(new SystemError(-ECONNREFUSED, 'connect', this.#subject), abortStream);
    } else {
      this.#loop.removeHandler(fd);
      this.#fd = -1;
      this.#observer.onConnected({ fd, remote: toAddress(ends.remote) }, this);
    }
  };

  #fail(error: unknown, close: (fd: number) => number): void {
    this.#close(close);
    this.#observer.onFailed(error, this);
  }

  #close(close: (fd: number) => number): void {
    if (this.#fd < 0) return;
    this.#loop.removeHandler(this.#fd);
    close(this.#fd);
    this.#fd = -1;
  }
}

/** Whose the two ends of a connection are; undefined: it is not connected. */
function endsOf(fd: number): { local: NativeAddress; remote: NativeAddress } | undefined {
  try {
    return { local: addon().socketAddress(fd), remote: addon().peerAddress(fd) };
  } catch {
    return undefined;
  }
}

function isSame(one: NativeAddress, other: NativeAddress): boolean {
  return 'port' in one && 'port' in other && one.port === other.port && one.address === other.address;
}
