import { AsyncResource } from 'node:async_hooks';
import { SystemError } from './errors.ts';
import { ALWAYS_REPORTED, Interest } from './interest.ts';
import type { NativePoller, TurnTables } from './native.ts';
import type { Scheduler } from './scheduler.ts';

/** What is called when a descriptor is ready; `events` are bits of {@link Ready}. */
export type Handler = (fd: number, events: number) => void | Promise<void>;

/** An object that is told instead, for those of which there are many: it costs no closure. */
export interface ReadyListener {
  ready(fd: number, events: number): void;
}

/** What kind of thing watches a descriptor: said by resources() and by slow-callback warnings. */
export type HandlerKind = 'handler' | 'waker' | 'stream' | 'server' | 'datagrams';

const MANUAL_DESTROY = { requireManualDestroy: true };
const EBADF = -9;

const KINDS: readonly HandlerKind[] = ['handler', 'waker', 'stream', 'server', 'datagrams'];
// The bits of a record's flags below its kind.
const UNREFERENCED = 1;
const PENDING = 2;
const PAUSED = 4;
const SPENT = 8;
const DUPLICATED = 16;
const KIND_SHIFT = 5;

/**
 * One registration; the async context of its making is that of its calls.
 *
 * There is one for each connection of a server, so what it knows is packed.
 */
export class HandlerRecord extends AsyncResource {
  readonly fd: number;
  /** What is called, or told. */
  readonly target: Handler | ReadyListener;
  generation = 0;
  interest: number;
  #flags: number;

  constructor(fd: number, target: Handler | ReadyListener, interest: number, kind: HandlerKind) {
    super('IOLoopHandler', MANUAL_DESTROY);
    this.fd = fd;
    this.target = target;
    this.interest = interest;
    this.#flags = KINDS.indexOf(kind) << KIND_SHIFT;
  }

  get kind(): HandlerKind {
    return KINDS[this.#flags >> KIND_SHIFT] ?? 'handler';
  }

  /** The function that is called: what slow-callback warnings name. */
  get callback(): Handler {
    return typeof this.target === 'function' ? this.target : this.target.ready;
  }

  /** Whether it keeps the process alive. */
  get referenced(): boolean {
    return (this.#flags & UNREFERENCED) === 0;
  }
  set referenced(value: boolean) {
    this.set(UNREFERENCED, !value);
  }

  /** Whether a promise of the handler is pending. */
  get pending(): boolean {
    return (this.#flags & PENDING) !== 0;
  }
  set pending(value: boolean) {
    this.set(PENDING, value);
  }

  /** Whether the kernel watches nothing meanwhile. */
  get paused(): boolean {
    return (this.#flags & PAUSED) !== 0;
  }
  set paused(value: boolean) {
    this.set(PAUSED, value);
  }

  /** Whether it is one-shot and has been told: silent until update(), also in a set that was built anew. */
  get spent(): boolean {
    return (this.#flags & SPENT) !== 0;
  }
  set spent(value: boolean) {
    this.set(SPENT, value);
  }

  /** Whether the descriptor may have a duplicate. */
  get duplicated(): boolean {
    return (this.#flags & DUPLICATED) !== 0;
  }
  set duplicated(value: boolean) {
    this.set(DUPLICATED, value);
  }

  private set(flag: number, value: boolean): void {
    if (value) this.#flags |= flag;
    else this.#flags &= ~flag;
  }
}

/** Who watches which descriptor of one loop, and the one place where a stale event is dropped. */
export class HandlerTable {
  readonly #poller: NativePoller;
  readonly #tables: TurnTables;
  readonly #scheduler: Scheduler;
  readonly #systemCall: string;
  readonly #records: (HandlerRecord | undefined)[] = [];
  readonly #pausing: HandlerRecord[] = [];
  /** How many there are. */
  size = 0;
  /** Events dropped because their registration no longer stood, or no longer wanted them. */
  staleEvents = 0;

  constructor(scheduler: Scheduler, systemCall: string) {
    this.#poller = scheduler.poller;
    this.#tables = scheduler.tables;
    this.#scheduler = scheduler;
    this.#systemCall = systemCall;
  }

  /** Watches `fd`. Throws a SystemError: EEXIST, EBADF, EPERM, EINVAL, ENOTSUP ... */
  add(fd: number, target: Handler | ReadyListener, interest: number, kind: HandlerKind): HandlerRecord {
    const generation = this.#poller.add(fd, interest);
    if (generation < 0) throw this.#refused(generation, 'addHandler', fd);
    const record = new HandlerRecord(fd, target, interest, kind);
    // The words of a turn are signed.
    record.generation = generation | 0;
    // Dense, so that a lookup by number stays an index.
    while (this.#records.length < fd && fd < 0x10000) this.#records.push(undefined);
    const replaced = this.#records[fd];
    this.#records[fd] = record;
    this.#scheduler.reference();
    // The number was closed behind our back and came again: the old registration is gone.
    if (replaced === undefined) this.size++;
    else if (replaced.referenced) this.#scheduler.unreference();
    return record;
  }

  /** Changes what `fd` is watched for. Throws a SystemError: ENOENT, EBADF ... */
  update(fd: number, interest: number): void {
    const record = this.#records[fd];
    if (record === undefined) throw this.#refused(-2, 'updateHandler', fd);
    const result = this.#poller.modify(fd, interest);
    if (result < 0) throw this.#refused(result, 'updateHandler', fd);
    // The kernel has said whether it takes it; it counts when the promise has settled.
    if (record.paused) this.#poller.modify(fd, 0);
    record.interest = interest;
    record.spent = false;
  }

  /** Forgets `fd`; false: it was unknown. */
  remove(fd: number): boolean {
    const record = this.#records[fd];
    if (record === undefined) return false;
    this.#poller.remove(fd);
    this.#drop(record);
    return true;
  }

  /** Notes that `fd` has a duplicate: the kernel watches it until it is told, closed or not. */
  noteDuplicate(fd: number): void {
    const record = this.#records[fd];
    if (record !== undefined) record.duplicated = true;
  }

  /** Forgets `fd`, which its owner closes right afterwards; it has no duplicate, unless that was noted. */
  forget(fd: number): void {
    const record = this.#records[fd];
    if (record === undefined) return;
    if (record.duplicated) this.#poller.remove(fd);
    else this.#poller.forget(fd);
    this.#drop(record);
  }

  /** Throws a SystemError: ENOENT. */
  setReferenced(fd: number, referenced: boolean): void {
    const record = this.#records[fd];
    if (record === undefined) throw this.#refused(-2, 'setHandlerRef', fd);
    if (record.referenced === referenced) return;
    record.referenced = referenced;
    if (referenced) this.#scheduler.reference();
    else this.#scheduler.unreference();
  }

  /** Calls `run` for each descriptor that this turn found ready and whose registration still stands. */
  dispatch(run: (record: HandlerRecord, events: number) => void): void {
    const tables = this.#tables;
    const count = tables.readyCount;
    for (let row = 0; row < count && !this.#scheduler.closed; row++) {
      const record = this.#records[tables.readyFd(row)];
      const events =
        record === undefined || record.spent || record.generation !== tables.readyGeneration(row)
          ? 0
          : tables.readyBits(row) & (record.interest | ALWAYS_REPORTED);
      if (record === undefined || events === 0) {
        this.staleEvents++;
        continue;
      }
      if ((record.interest & Interest.ONESHOT) !== 0) record.spent = true;
      run(record, events);
    }
  }

  /**
   * Notes that `record`'s handler returned a promise: unless that settles within the turn, the
   * descriptor pauses until it does, since a level-triggered one would be told again at once.
   */
  await(record: HandlerRecord, promise: PromiseLike<unknown>): void {
    record.pending = true;
    this.#pausing.push(record);
    this.#scheduler.wantWork();
    // Resolved first: what is merely like a promise may settle twice, or throw here.
    Promise.resolve(promise).then(
      () => this.#resume(record),
      (error: unknown) => {
        this.#resume(record);
        this.#scheduler.caught(error);
      },
    );
  }

  /** Pauses what is still pending at the end of the turn. */
  settle(): void {
    for (let record = this.#pausing.pop(); record !== undefined; record = this.#pausing.pop()) {
      if (!record.pending || record.paused || !this.#stands(record)) continue;
      // Spent: silent as it is. Refused: closed by its handler, which has yet to remove it.
      if (record.spent || this.#poller.modify(record.fd, 0) === 0) record.paused = true;
    }
  }

  /** All of them. */
  *[Symbol.iterator](): Iterator<HandlerRecord> {
    // Not by number: those of a simulated network begin in the millions.
    for (const record of Object.values(this.#records)) if (record !== undefined) yield record;
  }

  /** Forgets all of them. */
  clear(): void {
    this.#records.length = 0;
    this.#pausing.length = 0;
    this.size = 0;
  }

  #drop(record: HandlerRecord): void {
    this.#records[record.fd] = undefined;
    this.size--;
    if (record.referenced) this.#scheduler.unreference();
  }

  #resume(record: HandlerRecord): void {
    record.pending = false;
    if (!record.paused || !this.#stands(record)) return;
    record.paused = false;
    // Watching anew would arm it again, which is update()'s to do.
    if (record.spent) return;
    const result = this.#poller.modify(record.fd, record.interest);
    // Closed while it was paused, and never removed: its owner should hear of it.
    if (result < 0) this.#scheduler.caught(this.#refused(result, 'resuming', record.fd));
  }

  #stands(record: HandlerRecord): boolean {
    return !this.#scheduler.closed && this.#records[record.fd] === record;
  }

  #refused(errno: number, what: string, fd: number): SystemError {
    const syscall = errno === EBADF ? 'fcntl' : this.#systemCall;
    return new SystemError(errno, syscall, { detail: `${what}, fd ${fd}` });
  }
}
