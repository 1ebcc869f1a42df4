import { constants } from 'node:os';

import { type Addon, addon } from '../../src/native.ts';

/** An entry of the table of system calls, native/core/sys.h. */
export type SystemCall =
  | 'accept4'
  | 'close'
  | 'connect'
  | 'epollCtl'
  | 'epollPwait2'
  | 'epollWait'
  | 'getsockopt'
  | 'ioctl'
  | 'poll'
  | 'recv'
  | 'recvmmsg'
  | 'recvmsg'
  | 'recvmsg'
  | 'select'
  | 'send'
  | 'sendfile'
  | 'sendmmsg'
  | 'sendmsg'
  | 'setsockopt'
  | 'shutdown'
  | 'socket';

/** native/binding/fault_functions.cc. */
interface FaultFunctions {
  install(seed: number): void;
  remove(): void;
  failCalls(call: string, probability: number, errno: number): void;
  shortenCalls(call: string, probability: number): void;
  reorderEvents(call: string, probability: number): void;
  repeatEvents(call: string, probability: number): void;
  countCalls(call: string): { readonly calls: number; readonly faults: number };
}

function hasFaults(loaded: Addon): loaded is Addon & { readonly faults: FaultFunctions } {
  return 'faults' in loaded;
}

/** The fault functions of a test build of the addon; the others do not have them. */
function faultFunctions(): FaultFunctions {
  const loaded = addon();
  if (!hasFaults(loaded))
    throw new Error('IOLOOP_ADDON names no addon built with IOLOOP_FAULTS: see "faults" in .ci/run');
  return loaded.faults;
}

/** Calls made, and how many of them were made to fail, to do less, or to report what was not so. */
export interface CallCounts {
  readonly calls: number;
  readonly faults: number;
}

/**
 * Faults between the addon and the system calls of this process, until it is removed; one at a time.
 *
 * One seed gives one sequence of draws. What a call does beside failing is in native/test/fault_injector.h.
 */
export class Faults {
  readonly #functions: FaultFunctions = faultFunctions();

  constructor(seed: number) {
    this.#functions.install(seed);
  }

  /** Each call fails with the errno of that name with `probability`, 0 to 1. Up to four for one call. */
  fail(call: SystemCall, probability: number, code: keyof typeof constants.errno): this {
    this.#functions.failCalls(call, probability, constants.errno[code]);
    return this;
  }

  /** Each call moves only some of its bytes with `probability`. */
  shorten(call: SystemCall, probability: number): this {
    this.#functions.shortenCalls(call, probability);
    return this;
  }

  /** Each wait reports what is ready in another order with `probability`. */
  reorder(wait: 'epollWait' | 'epollPwait2', probability: number): this {
    this.#functions.reorderEvents(wait, probability);
    return this;
  }

  /** Each wait reports somebody as ready, with `probability`, who was so before and may not be now. */
  repeat(wait: 'epollWait' | 'epollPwait2', probability: number): this {
    this.#functions.repeatEvents(wait, probability);
    return this;
  }

  /** Since it was made, of these calls together. */
  count(...calls: readonly SystemCall[]): CallCounts {
    const total = { calls: 0, faults: 0 };
    for (const call of calls) {
      const { calls: made, faults } = this.#functions.countCalls(call);
      total.calls += made;
      total.faults += faults;
    }
    return total;
  }

  /** The system calls are as they were. Idempotent. */
  remove(): void {
    this.#functions.remove();
  }
}
