import { constants } from 'node:os';
import { checkFd, checkFunction, invalidArgument } from '../arguments.ts';
import { SystemError } from '../errors.ts';
import { Interest, Ready } from '../interest.ts';
import { IOLoop } from '../ioloop.ts';
import { ConnectionAborted, ConnectionDone, ConnectionLost, type Reason } from './reasons.ts';

/** An object that has a descriptor, which is its own to close. */
export interface FileDescriptor {
  /** The number; -1: it has none any more. */
  fileno(): number;
  /** It is watched no longer, because of what its own method said or threw: called once. */
  connectionLost(reason: Reason): void;
  /** A name for messages. */
  logPrefix?(): string;
}

/** One that is told when there is something to read. */
export interface ReadDescriptor extends FileDescriptor {
  /**
   * There are bytes, a connection, the end, or an error. It is called again as long as that is so.
   *
   * @returns An error ends the watching, for writing as well: {@link ConnectionDone}, {@link ConnectionLost},
   *   or what becomes the cause of one. So does a throw, which is also reported to `onError` of the loop.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: a method may have no return
  doRead(): Error | undefined | void;
  /** In place of {@link connectionLost} after {@link ConnectionDone}: it may go on writing. */
  readConnectionLost?(reason: ConnectionDone): void;
}

/** One that is told when there is room to write. */
export interface WriteDescriptor extends FileDescriptor {
  /** There is room, or an error. @returns As {@link ReadDescriptor.doRead}. */
  // biome-ignore lint/suspicious/noConfusingVoidType: a method may have no return
  doWrite(): Error | undefined | void;
}

/**
 * Calls `reader.doRead()` while its descriptor is readable. No effect when it does already.
 *
 * The loop watches level-triggered, and borrows the descriptor: {@link removeReader} comes before its close.
 *
 * @throws SystemError of {@link IOLoop.addHandler}; EEXIST: another object reads there;
 *   `ERR_IOLOOP_INVALID_ARGUMENT`.
 */
export function addReader(reader: ReadDescriptor, loop: IOLoop = IOLoop.current()): void {
  checkDescriptor(reader, 'reader');
  checkFunction(reader.doRead, 'reader.doRead');
  Descriptors.of(loop).addReader(reader);
}

/** Calls `writer.doWrite()` while its descriptor is writable. As {@link addReader}. */
export function addWriter(writer: WriteDescriptor, loop: IOLoop = IOLoop.current()): void {
  checkDescriptor(writer, 'writer');
  checkFunction(writer.doWrite, 'writer.doWrite');
  Descriptors.of(loop).addWriter(writer);
}

/** The end of {@link addReader}, at once: what this turn has found is not told. No effect when it does not read. */
export function removeReader(reader: ReadDescriptor, loop: IOLoop = IOLoop.current()): void {
  Descriptors.of(loop).removeReader(reader);
}

/** The end of {@link addWriter}, at once. No effect when it does not write. */
export function removeWriter(writer: WriteDescriptor, loop: IOLoop = IOLoop.current()): void {
  Descriptors.of(loop).removeWriter(writer);
}

/** Removes all readers and writers, which are told nothing. @returns Them, each once. */
export function removeAll(loop: IOLoop = IOLoop.current()): (ReadDescriptor | WriteDescriptor)[] {
  return Descriptors.of(loop).removeAll();
}

/** Who reads. */
export function getReaders(loop: IOLoop = IOLoop.current()): ReadDescriptor[] {
  return Descriptors.of(loop).readers;
}

/** Who writes. */
export function getWriters(loop: IOLoop = IOLoop.current()): WriteDescriptor[] {
  return Descriptors.of(loop).writers;
}

/** Who is told of one descriptor. */
interface Watched {
  readonly fd: number;
  reader: ReadDescriptor | null;
  writer: WriteDescriptor | null;
  /** What the loop watches it for. */
  interest: number;
}

const EEXIST = -constants.errno.EEXIST;

/** The readers and writers of one loop. */
class Descriptors {
  readonly #loop: IOLoop;
  readonly #watched = new Map<number, Watched>();
  readonly #reading = new Map<FileDescriptor, Watched>();
  readonly #writing = new Map<FileDescriptor, Watched>();

  static of(loop: IOLoop): Descriptors {
    if (!(loop instanceof IOLoop)) throw invalidArgument('loop', 'an IOLoop', loop);
    let descriptors = all.get(loop);
    if (descriptors === undefined) {
      descriptors = new Descriptors(loop);
      all.set(loop, descriptors);
    }
    return descriptors;
  }

  private constructor(loop: IOLoop) {
    this.#loop = loop;
  }

  get readers(): ReadDescriptor[] {
    return [...this.#reading.values()].flatMap(({ reader }) => reader ?? []);
  }

  get writers(): WriteDescriptor[] {
    return [...this.#writing.values()].flatMap(({ writer }) => writer ?? []);
  }

  addReader(reader: ReadDescriptor): void {
    const fd = numberOf(reader, 'reader');
    if (this.#reading.get(reader)?.fd === fd) return;
    this.removeReader(reader);
    const watched = this.#at(fd);
    if (watched.reader !== null) throw taken(fd, 'addReader');
    this.#watch(watched, watched.interest | Interest.READ);
    watched.reader = reader;
    this.#reading.set(reader, watched);
  }

  addWriter(writer: WriteDescriptor): void {
    const fd = numberOf(writer, 'writer');
    if (this.#writing.get(writer)?.fd === fd) return;
    this.removeWriter(writer);
    const watched = this.#at(fd);
    if (watched.writer !== null) throw taken(fd, 'addWriter');
    this.#watch(watched, watched.interest | Interest.WRITE);
    watched.writer = writer;
    this.#writing.set(writer, watched);
  }

  removeReader(reader: FileDescriptor): void {
    const watched = this.#reading.get(reader);
    if (watched === undefined) return;
    this.#reading.delete(reader);
    watched.reader = null;
    this.#watchNoMore(watched, Interest.READ);
  }

  removeWriter(writer: FileDescriptor): void {
    const watched = this.#writing.get(writer);
    if (watched === undefined) return;
    this.#writing.delete(writer);
    watched.writer = null;
    this.#watchNoMore(watched, Interest.WRITE);
  }

  removeAll(): (ReadDescriptor | WriteDescriptor)[] {
    const removed = new Set([...this.readers, ...this.writers]);
    for (const descriptor of removed) this.#remove(descriptor);
    return [...removed];
  }

  #remove(descriptor: FileDescriptor): void {
    this.removeReader(descriptor);
    this.removeWriter(descriptor);
  }

  /** Who is told of `fd`; whose number that was before, and is no more, is told that it went away. */
  #at(fd: number): Watched {
    const known = this.#watched.get(fd);
    for (const descriptor of new Set([known?.reader, known?.writer]))
      if (descriptor && descriptor.fileno() !== fd) {
        this.#remove(descriptor);
        this.#loop.addCallback(() => descriptor.connectionLost(wentAway(descriptor)));
      }
    return this.#watched.get(fd) ?? { fd, reader: null, writer: null, interest: 0 };
  }

  #watch(watched: Watched, interest: number): void {
    const { fd } = watched;
    if (watched.interest !== 0) {
      this.#loop.updateHandler(fd, interest);
    } else {
      this.#loop.addHandler(fd, (_, events) => this.#ready(watched, events), interest);
      this.#watched.set(fd, watched);
    }
    watched.interest = interest;
  }

  #watchNoMore(watched: Watched, bit: number): void {
    const interest = watched.interest & ~bit;
    if (interest === 0) {
      this.#loop.removeHandler(watched.fd);
      this.#watched.delete(watched.fd);
      watched.interest = 0;
      return;
    }
    try {
      this.#watch(watched, interest);
    } catch {
      // It was closed before, or the loop was: nothing is told of there.
      watched.interest = interest;
    }
  }

  #ready({ fd, reader, writer }: Watched, events: number): void {
    const failed = (events & (Ready.ERROR | Ready.HANGUP)) !== 0;
    if (reader !== null && (failed || (events & Ready.READ) !== 0)) this.#read(reader, fd);
    // Whoever reads may have removed who writes.
    if (writer === null || this.#writing.get(writer)?.fd !== fd) return;
    if (failed || (events & Ready.WRITE) !== 0) this.#write(writer, fd);
    // Nothing can be written ever again, and nobody reads who would hear of it.
    const isOver = (events & Ready.HANGUP) !== 0 && reader === null;
    if (isOver && this.#writing.get(writer)?.fd === fd) this.#disconnect(writer, new ConnectionLost());
  }

  #read(reader: ReadDescriptor, fd: number): void {
    const why = this.#ask(reader, fd, () => reader.doRead());
    if (why === null) return;
    if (!(why instanceof ConnectionDone) || reader.readConnectionLost === undefined) {
      this.#disconnect(reader, why);
      return;
    }
    this.removeReader(reader);
    this.#tell(() => reader.readConnectionLost?.(why));
  }

  #write(writer: WriteDescriptor, fd: number): void {
    const why = this.#ask(writer, fd, () => writer.doWrite());
    if (why !== null) this.#disconnect(writer, why);
  }

  /** Why `descriptor` is watched no longer; null: it is. */
  #ask(descriptor: FileDescriptor, fd: number, call: () => unknown): Reason | null {
    try {
      if (descriptor.fileno() !== fd) return wentAway(descriptor);
      const why = call();
      return why instanceof Error ? toReason(why) : null;
    } catch (error) {
      this.#loop.scheduler.caught(error);
      return new ConnectionLost(undefined, { cause: error });
    }
  }

  #disconnect(descriptor: FileDescriptor, reason: Reason): void {
    this.#remove(descriptor);
    this.#tell(() => descriptor.connectionLost(reason));
  }

  #tell(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#loop.scheduler.caught(error);
    }
  }
}

const all = new WeakMap<IOLoop, Descriptors>();

function numberOf(descriptor: FileDescriptor, name: string): number {
  const fd = descriptor.fileno();
  checkFd(fd, `${name}.fileno()`);
  return fd;
}

function checkDescriptor(value: unknown, name: string): void {
  if (typeof value !== 'object' || value === null)
    throw invalidArgument(name, 'an object with a descriptor', value);
  for (const method of ['fileno', 'connectionLost'])
    checkFunction(Reflect.get(value, method), `${name}.${method}`);
}

function taken(fd: number, what: string): SystemError {
  return new SystemError(EEXIST, what, { detail: `fd ${fd}` });
}

function wentAway(descriptor: FileDescriptor): ConnectionLost {
  return new ConnectionLost(`the descriptor of ${descriptor.logPrefix?.() ?? 'an object'} went away`);
}

function toReason(error: Error): Reason {
  const isReason =
    error instanceof ConnectionDone || error instanceof ConnectionLost || error instanceof ConnectionAborted;
  return isReason ? error : new ConnectionLost(undefined, { cause: error });
}
