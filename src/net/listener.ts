import { AsyncResource } from 'node:async_hooks';
import { getSystemErrorName } from 'node:util';
import { type Address, toAddress } from '../address.ts';
import { SystemError } from '../errors.ts';
import { Interest } from '../interest.ts';
import type { IOLoop } from '../ioloop.ts';
import { acceptStream, addon, closeStream, readPeer } from '../native.ts';
import { explain } from '../native-error.ts';
import { EAGAIN } from '../raw.ts';
import type { TimerHandle } from '../timer.ts';

/** Why a client was closed unserved: there are enough connections, or no descriptors left. */
export type ShedReason = 'connections' | 'descriptors';

/** Whom a listener works for: a server. What these throw goes to onError and ends nothing. */
export interface ListenerOwner {
  /** Whether one more connection is wanted. */
  hasRoom(): boolean;
  /** The descriptor is the owner's from the call on, thrown or not. */
  onConnection(fd: number, remote: Address): void;
  /** A client was closed at once. */
  onDrop(reason: ShedReason, remote: Address): void;
  onError(error: unknown): void;
}

const FIRST_BATCH = 16;
/** A queue that yields this many errors and no end is not the clients' fault. */
const MAX_ERRORS = 64;
const FIRST_RETRY_MS = 10;
const LAST_RETRY_MS = 1_000;
const MANUAL_DESTROY = { requireManualDestroy: true };

/**
 * What became of one client and says nothing of the others: errors that were waiting on its
 * connection, and a firewall's no. accept(2), "Error handling".
 */
const CLIENT_ERRORS: ReadonlySet<string> = new Set([
  'ECONNABORTED',
  'EPERM',
  'EPROTO',
  'ENOPROTOOPT',
  'EOPNOTSUPP',
  'ENETDOWN',
  'ENETUNREACH',
  'ENONET',
  'EHOSTDOWN',
  'EHOSTUNREACH',
]);
/** The process or the system is full, and the client still waits. */
const EXHAUSTED: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']);

/**
 * Accepts what comes to one listening descriptor.
 *
 * A turn accepts a batch: until the queue is empty, which costs one more call to hear (EAGAIN), or
 * until the batch is full, which costs none. A full batch doubles the next one and an empty queue
 * halves it, from 1 to `maxBatch`, so that single clients are accepted with one call each every other time,
 * and a burst of thousands in a few turns that leave the connections of others their share.
 *
 * Without descriptors (EMFILE and the like) the clients that wait are closed at once: accepted on the
 * number of a descriptor held in reserve. When not even that is left, because another thread took the
 * number, the queue is looked at again after 10 ms, 20 ms ... 1 s, and not watched meanwhile.
 */
export class Listener {
  /** Where it listens. */
  readonly address: Address;
  readonly #loop: IOLoop;
  readonly #owner: ListenerOwner;
  #fd: number;
  #spare = -1;
  readonly #defaultMaxBatch: number;
  #maxBatch: number;
  #batch: number;
  #shed = 0;
  #referenced = true;
  #isAccepting = true;
  /** Runs while the queue is not watched for a while. */
  #retry: TimerHandle | undefined;
  #retryMs = FIRST_RETRY_MS;

  /**
   * Takes `fd` over once it returns.
   *
   * @param maxBatch Clients of one turn at most.
   * @throws {@link SystemError} of addHandler().
   */
  constructor(loop: IOLoop, fd: number, owner: ListenerOwner, maxBatch = 256) {
    this.#defaultMaxBatch = maxBatch;
    this.#maxBatch = maxBatch;
    this.#batch = Math.min(FIRST_BATCH, maxBatch);
    this.address = toAddress(explain({ detail: `fd ${fd}` }, () => addon().socketAddress(fd)));
    this.#loop = loop;
    this.#owner = owner;
    this.#fd = fd;
    this.#startWatching();
    this.#reserve();
  }

  /** The descriptor; -1 once stopped. */
  get fd(): number {
    return this.#fd;
  }

  /** How many clients were closed unserved. */
  get shed(): number {
    return this.#shed;
  }

  get isAccepting(): boolean {
    return this.#isAccepting;
  }

  /** Accepts up to `maxBatch` clients a turn, those in the queue first: the default. Throws SystemError. */
  accept(maxBatch: number = this.#defaultMaxBatch): void {
    this.#maxBatch = maxBatch;
    this.#batch = Math.min(this.#batch, maxBatch);
    if (this.#isAccepting || this.#fd < 0) return;
    this.#startWatching();
    this.#isAccepting = true;
  }

  /** Leaves clients in the queue. At once, also from within a call of its owner. */
  rest(): void {
    if (!this.#isAccepting) return;
    this.#isAccepting = false;
    this.#retry?.cancel();
    this.#retry = undefined;
    this.#loop.removeHandler(this.#fd);
  }

  /** Keeps the process alive while it accepts: the default. */
  ref(): void {
    this.#setReferenced(true);
  }

  /** Does not keep the process alive. */
  unref(): void {
    this.#setReferenced(false);
  }

  /** Closes: who waits in the queue is reset. At once, also from within a call of its owner. */
  stop(): void {
    if (this.#fd < 0) return;
    this.rest();
    closeStream(this.#fd);
    this.#fd = -1;
    this.#giveUpReserve();
  }

  readonly #acceptBatch = (): void => {
    if (this.#spare < 0) this.#reserve();
    let errors = 0;
    for (let accepted = 0; accepted < this.#batch; ) {
      const fd = acceptStream(this.#fd);
      if (fd < 0) {
        if (isOf(CLIENT_ERRORS, fd) && ++errors < MAX_ERRORS) continue;
        this.#stopAt(fd);
        return;
      }
      accepted++;
      this.#call(this.#serve, fd, toAddress(readPeer()));
      // Stopped by its owner, and the rest of the queue with it; or wanted was this one.
      if (!this.#isAccepting) return;
    }
    this.#retryMs = FIRST_RETRY_MS;
    this.#batch = Math.min(this.#batch * 2, this.#maxBatch);
  };

  /** The batch ends, full or not, at what accept(2) answered. */
  #stopAt(result: number): void {
    if (result === EAGAIN) {
      this.#retryMs = FIRST_RETRY_MS;
      this.#batch = Math.max(this.#batch >> 1, 1);
    } else if (isOf(EXHAUSTED, result)) {
      if (!this.#shedWaiting()) this.#retryLater();
    } else {
      this.#owner.onError(new SystemError(result, 'accept', { detail: this.address.toString() }));
      this.#retryLater();
    }
  }

  readonly #serve = (fd: number, remote: Address): void => {
    if (this.#owner.hasRoom()) {
      this.#owner.onConnection(fd, remote);
    } else {
      closeStream(fd);
      this.#drop('connections', remote);
    }
  };

  readonly #drop = (reason: ShedReason, remote: Address): void => {
    this.#shed++;
    this.#owner.onDrop(reason, remote);
  };

  /** Closes those that wait, on the number of the reserve. False: it could not take even one. */
  #shedWaiting(): boolean {
    if (this.#spare < 0) return false;
    const clients: Address[] = [];
    this.#giveUpReserve();
    let fd = EAGAIN;
    while (clients.length < this.#maxBatch) {
      fd = acceptStream(this.#fd);
      if (fd < 0) break;
      clients.push(toAddress(readPeer()));
      closeStream(fd);
    }
    // Before anybody is told, who may open something.
    this.#reserve();
    for (const remote of clients) this.#call(this.#drop, 'descriptors', remote);
    if (clients.length === 0 && isOf(EXHAUSTED, fd)) return false;
    this.#retryMs = FIRST_RETRY_MS;
    return true;
  }

  #reserve(): void {
    try {
      this.#spare = addon().openSpare();
    } catch {
      // There are none left; tried again with the next batch.
    }
  }

  #giveUpReserve(): void {
    if (this.#spare >= 0) closeStream(this.#spare);
    this.#spare = -1;
  }

  /** Looks away for a while: level-triggered readiness would call again at once, and for nothing. */
  #retryLater(): void {
    if (!this.#isAccepting) return;
    this.#loop.removeHandler(this.#fd);
    this.#retry = this.#loop.callLater(this.#retryMs, this.#watch);
    if (!this.#referenced) this.#retry.unref();
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
  }

  readonly #watch = (): void => {
    this.#retry = undefined;
    try {
      this.#startWatching();
    } catch (error) {
      this.#owner.onError(error);
      this.#retryLater();
    }
  };

  #startWatching(): void {
    this.#loop.addHandler(this.#fd, this.#acceptBatch, Interest.READ);
    this.#loop.setHandlerRef(this.#fd, this.#referenced);
  }

  /** Calls out, in an async context of its own: what one client's handler enters reaches no other's. */
  #call<A extends readonly unknown[]>(call: (...args: A) => void, ...args: A): void {
    try {
      new AsyncResource('IOLoopConnection', MANUAL_DESTROY).runInAsyncScope(call, undefined, ...args);
    } catch (error) {
      this.#owner.onError(error);
    }
  }

  #setReferenced(referenced: boolean): void {
    this.#referenced = referenced;
    if (!this.#isAccepting) return;
    if (this.#retry === undefined) this.#loop.setHandlerRef(this.#fd, referenced);
    else if (referenced) this.#retry.ref();
    else this.#retry.unref();
  }
}

function isOf(names: ReadonlySet<string>, errno: number): boolean {
  return names.has(getSystemErrorName(errno));
}
