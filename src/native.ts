import { constants } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { DatagramAddon } from './native-datagrams.ts';
import type { TcpInfo } from './tcp-info.ts';

/**
 * The only door to the C++ addon: every native name is declared and documented here, and the memory
 * that both sides share never leaves this file.
 *
 * Functions that may fail return a negative errno and throw nothing, unless they say so.
 */
export interface Addon extends StreamAddon, DatagramAddon {
  /** The backends of this build on this system, best first. */
  readonly backends: readonly string[];
  /** Whether Node's own loop can give us our turns. */
  readonly hasLibuv: boolean;
  readonly Poller: new (
    backend: string | NativeSimNetwork,
    drive: 'node' | 'thread' | 'manual',
    words: Int32Array,
    maxEvents: number,
    dispatch: () => void,
    settle: () => void,
    onClosed: () => void,
  ) => NativePoller;
  readonly SimNetwork: new (
    seed: number,
    bufferSize: number,
    minDelayMs: number,
    maxDelayMs: number,
    shortRead: number,
    shortWrite: number,
    spuriousAgain: number,
    interrupt: number,
    shuffleReady: boolean,
  ) => NativeSimNetwork;

  /** Makes a waker; its id. Throws. */
  createWaker(): number;
  /** From any thread; false when there is no such waker any more. */
  wake(id: number): boolean;
  /** Takes the wakes so far. */
  drainWaker(id: number): void;
  /** The descriptor to watch for READ, -1 when it is gone. */
  wakerFd(id: number): number;
  /** The descriptor for native code to write to: the same where it is an eventfd. -1 when it is gone. */
  wakerWriteFd(id: number): number;
  closeWaker(id: number): void;

  /** Throws. */
  listenSocket(
    path: string | undefined,
    host: string,
    port: number,
    backlog: number,
    reusePort: boolean,
  ): number;
  /** Throws. */
  connectSocket(path: string | undefined, host: string, port: number): number;
  acceptSocket(listener: number): number;
  /** Throws. */
  socketAddress(fd: number): NativeAddress;
  /** Throws. */
  peerAddress(fd: number): NativeAddress;
  socketError(fd: number): number;
  /** Leaves bytes or -errno in `result`; all of `target` where no range is given. */
  recv(fd: number, target: Uint8Array, offset?: number, length?: number): void;
  /** Leaves bytes or -errno in `result`. */
  send(fd: number, source: Uint8Array, offset?: number, length?: number): void;
  /** One word: making a number costs a third of a hot call, and reading a word costs nothing. */
  readonly result: Int32Array;
  /** Throws. */
  shutdownFd(fd: number): void;
  /** Throws. */
  closeFd(fd: number): void;

  /** An inotify(7) descriptor. Throws, ENOSYS where the system has none. */
  inotifyInit(): number;
  /** The watch descriptor, or -errno. */
  inotifyAddWatch(fd: number, path: string, mask: number): number;

  /** Hands an error to the process as an uncaught exception. */
  reportFatal(error: unknown): void;
}

/**
 * Descriptors for streams and their servers: non-blocking, close-on-exec, never a SIGPIPE.
 *
 * Those made or adopted here belong to this environment, which closes what is left of them when it
 * ends; {@link closeStream}, {@link abortStream} and {@link releaseStream} end that. What answers
 * `void` leaves a count, a descriptor or -errno in {@link Addon.result}: the functions of the same
 * names at the end of this file return it.
 */
interface StreamAddon {
  acceptStream(listener: number): void;
  /** What {@link readPeer} reads. */
  readonly peer: Int32Array;
  /** The name of a network interface, its number where it has none (if_indextoname(3)). */
  interfaceName(index: number): string;

  /**
   * A listening socket. At a path its mode is set before anybody can connect; -1 leaves what
   * umask(2) made of it. A path that exists is EADDRINUSE, whether somebody listens there or not.
   * "::" takes IPv4 too, unless `ipv6Only`. What {@link setSocketOption} sets on it, accepted
   * sockets inherit (Linux, tcp(7)). Throws; what is refused of `presets` with its name as the call.
   */
  listenStream(
    path: string | undefined,
    host: string,
    port: number,
    backlog: number,
    reusePort: boolean,
    ipv6Only: boolean,
    mode: number,
    presets?: readonly NativePreset[],
  ): number;
  /**
   * Begins to connect: writable when it is decided, {@link Addon.socketError} then tells how. From
   * `localAddress` (an IP literal, '' for any) and `localPort` (0 for any; then the port is chosen
   * for the whole four-tuple, IP_BIND_ADDRESS_NO_PORT of ip(7)). Throws what is refused at once;
   * ECONNREFUSED of a path: nobody listens there any more; EAGAIN of a path: its backlog is full; what
   * is refused of `presets` with its name as the call.
   */
  connectStream(
    path: string | undefined,
    host: string,
    port: number,
    localAddress: string,
    localPort: number,
    presets?: readonly NativePreset[],
  ): number;
  /** /dev/null, held in reserve against EMFILE. Throws. */
  openSpare(): number;

  /** Takes over a connected stream socket. Throws ENOTSOCK, EINVAL (of another type), ENOTCONN. */
  adoptSocket(fd: number): void;
  /** Takes over a listening stream socket. Throws ENOTSOCK, EINVAL (of another type, or not listening). */
  adoptListener(fd: number): void;
  /**
   * Takes over a pipe, FIFO, terminal, character device or socket: its status flags as they were
   * (F_GETFL of fcntl(2)), for {@link openDirections} and {@link restoreFlags}. Throws EPERM for a
   * regular file or a directory, which are never not ready.
   */
  adoptPipe(fd: number): number;
  /** Sets the status flags (F_SETFL): what another process sees of a shared file, too. 0 or -errno. */
  restoreFlags(fd: number, flags: number): number;

  closeStream(fd: number): void;
  abortStream(fd: number): void;
  /** The descriptor is its taker's from now on. */
  releaseStream(fd: number): void;
  shutdownStream(fd: number): void;

  readPipe(fd: number, target: Uint8Array, offset?: number, length?: number): void;
  writePipe(fd: number, source: Uint8Array, offset?: number, length?: number): void;
  sendVector(fd: number, views: readonly Uint8Array[], first: number, count: number, skip: number): void;
  sendFile(socket: number, file: number, offset: number, count: number): void;
  unreadBytes(fd: number): void;
  unsentBytes(fd: number): void;

  /** A duplicate, close-on-exec (F_DUPFD_CLOEXEC of fcntl(2)). Throws. */
  duplicate(fd: number): number;
  sendWithFds(fd: number, source: Uint8Array, start: number, length: number, fds: Int32Array): void;
  recvWithFds(fd: number, target: Uint8Array, start: number, length: number, fds: Int32Array): void;

  /** The option of that name in this system's headers ('SO_RCVBUF', 'TCP_NODELAY' ...), null: it has none. */
  socketOption(name: string): NativeOption | null;
  /** setsockopt(2): 0 or -errno. */
  setSocketOption(fd: number, level: number, name: number, value: Uint8Array): number;
  /** getsockopt(2): the bytes filled in, or -errno. */
  getSocketOption(fd: number, level: number, name: number, target: Uint8Array): number;
  /** TCP_INFO, as much of it as this kernel tells. Throws, ENOTSUP where the system has none. */
  tcpInfo(fd: number): TcpInfo;

  /** Which file `path` names, links not followed; for {@link unlinkPath} alone. Throws. */
  fileIdentity(path: string): string;
  /** Unlinks `path` if it still names that file: 0 or -errno, ESTALE: it names another. */
  unlinkPath(path: string, identity: string): number;

  /** The limit on what streams hold in memory, in bytes for the whole process, 0: none set. Sets it first, if given. */
  memoryBudget(limit?: number): number;
  /**
   * Adds bytes to what streams hold, takes them away if negative: the total of the process. What an
   * environment has added is taken away when it ends.
   */
  memoryAdd(delta: number): number;
}

/** Level and number for {@link StreamAddon.setSocketOption}, and what its value is in C. */
export type NativeOption = readonly [level: number, name: number, kind: 'int' | 'linger' | 'string'];

/**
 * An option that is set right after socket(2), where some have to be, by its name for people. Those of
 * IPv6 are left out on sockets of IPv4.
 */
export type NativePreset = readonly [name: string, level: number, number: number, value: Uint8Array];

/**
 * A path, or else an IP literal with a port. It crosses as three arguments, because an object's
 * properties cannot be read in an environment that is ending, where calls still come from.
 */
export interface NativeTarget {
  readonly path: string | undefined;
  readonly host: string;
  readonly port: number;
}
/**
 * Who was accepted: the numbers of an address, whose text is made when somebody reads it.
 *
 * A word is four bytes of it, the first in the highest bits; IPv4 has all in the first.
 */
export interface NativePeer {
  readonly family: 4 | 6;
  readonly port: number;
  /** The interface of a link-local address, for {@link StreamAddon.interfaceName}; else 0. */
  readonly scope: number;
  readonly word0: number;
  readonly word1: number;
  readonly word2: number;
  readonly word3: number;
}
// native/core/socket.h has the same list.
type PeerWords = readonly [family: 0 | 4 | 6, port: number, scope: number, number, number, number, number];
/** What the kernel says of a socket. */
export type NativeAddress = { address: string; port: number } | { path: string };

/** The native half of a loop: native/binding/poller_wrap.h. */
export interface NativePoller {
  /** The registration's generation, more than 0, or -errno. */
  add(fd: number, interest: number): number;
  modify(fd: number, interest: number): number;
  remove(fd: number): boolean;
  /**
   * remove() of a descriptor that is closed right afterwards and has no duplicate: epoll(7) and
   * kqueue(2) drop it by themselves then, so no system call is spent on it.
   */
  forget(fd: number): boolean;
  /** Carries out the timer log; see {@link TurnTables.noteTimer}. */
  applyTimerOps(): void;
  /** Monotonic milliseconds. */
  time(): number;
  /** Until the next deadline; Infinity: none. */
  timeoutMs(): number;
  pollableFd(): number;
  /** The wait of a manual turn: fills the tables. */
  runOnce(timeoutMs: number): number;
  /** Arms the earliest deadline and tells the driver what the loop wants. */
  settled(): void;
  counters(target: Float64Array): void;
  close(): void;
}

/** A simulated kernel for this thread: native/core/sim/sim_network.h. It lives until the last poller on it is closed. */
export interface NativeSimNetwork {
  /** Two sockets that are connected. Throws. */
  connectPair(): [number, number];
  /** Moves the clock to what happens next, but not past `limitMs`, and lets it happen; whether anything did. */
  advanceToNext(limitMs: number): boolean;
  /** The virtual clock, in milliseconds. */
  time(): number;
  /** All calls and deliveries so far in one number, as 16 hexadecimal digits. */
  traceHash(): string;
  openDescriptors(): number;
  /** The stream sockets that this thread makes from now on are its own. */
  host(): void;
  /** This thread makes kernel sockets again. */
  unhost(): void;
  close(): void;
}

/** What {@link NativePoller.counters} fills in, in this order. */
export interface PollerCounters {
  readonly polls: number;
  readonly wakeUps: number;
  readonly events: number;
  readonly orphanEvents: number;
  readonly timersFired: number;
  readonly systemCalls: number;
  readonly busyMs: number;
}

/** Reads `poller`'s counters. */
export function readCounters(poller: NativePoller): PollerCounters {
  const values = new Float64Array(7);
  poller.counters(values);
  const [polls, wakeUps, events, orphanEvents, timersFired, systemCalls, busyMs] = [...values] as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  return { polls, wakeUps, events, orphanEvents, timersFired, systemCalls, busyMs };
}

// native/binding/turn_runner.h has the same list.
const READY_COUNT = 0;
const DUE_COUNT = 1;
const WAIT_ERROR = 2;
const IN_TURN = 3;
const CALLBACKS = 4;
const REFERENCES = 5;
const WORK = 6;
const DETACHED = 7;
const TIMER_OPS = 8;
const HEADER = 16;
const MAX_DUE = 1024;
const MAX_TIMER_OPS = 1024;

/**
 * The memory that both sides share: what a turn found, and what the loop wants next.
 *
 * It is a SharedArrayBuffer because that cannot be detached under the addon's hands.
 */
export class TurnTables {
  /** For the addon's constructor alone. */
  readonly words: Int32Array;
  readonly #due: number;
  readonly #timerLog: Float64Array;

  constructor(maxEvents: number) {
    this.#due = HEADER + maxEvents * 3;
    const timerLogAt = Math.ceil((this.#due + MAX_DUE) / 2) * 2;
    const memory = new SharedArrayBuffer((timerLogAt + MAX_TIMER_OPS * 4) * Int32Array.BYTES_PER_ELEMENT);
    this.words = new Int32Array(memory);
    this.#timerLog = new Float64Array(memory, timerLogAt * Int32Array.BYTES_PER_ELEMENT);
  }

  get readyCount(): number {
    return this.words[READY_COUNT] as number;
  }
  readyFd(row: number): number {
    return this.words[HEADER + row * 3] as number;
  }
  readyBits(row: number): number {
    return this.words[HEADER + row * 3 + 1] as number;
  }
  readyGeneration(row: number): number {
    return this.words[HEADER + row * 3 + 2] as number;
  }
  get dueCount(): number {
    return this.words[DUE_COUNT] as number;
  }
  dueTimer(row: number): number {
    return this.words[this.#due + row] as number;
  }

  /** 0, or -errno of a wait that failed and found nothing. */
  get waitError(): number {
    return this.words[WAIT_ERROR] as number;
  }

  get #timerOps(): number {
    return this.words[TIMER_OPS] as number;
  }
  /** Whether the timer log takes no more: time for {@link NativePoller.applyTimerOps}. */
  get timerLogFull(): boolean {
    return this.#timerOps >= MAX_TIMER_OPS;
  }
  /**
   * Notes that timer `id` is due at `whenMs`, NaN: is cancelled. Carried out in order before the
   * timers are looked at next, so that a timer costs no call of its own.
   */
  noteTimer(id: number, whenMs: number): void {
    const place = this.#timerOps;
    this.#timerLog[place * 2] = whenMs;
    this.#timerLog[place * 2 + 1] = id;
    this.words[TIMER_OPS] = place + 1;
  }
  /** From dispatch until the turn has settled. */
  get inTurn(): boolean {
    return this.words[IN_TURN] !== 0;
  }
  set inTurn(value: boolean) {
    this.words[IN_TURN] = value ? 1 : 0;
  }
  /** Callbacks that wait for the next turn. */
  get callbacks(): number {
    return this.words[CALLBACKS] as number;
  }
  set callbacks(value: number) {
    this.words[CALLBACKS] = value;
  }
  /** What keeps the process alive. */
  get references(): number {
    return this.words[REFERENCES] as number;
  }
  set references(value: number) {
    this.words[REFERENCES] = value;
  }
  /** Whether settling has something to do in JavaScript. */
  get work(): boolean {
    return this.words[WORK] !== 0;
  }
  set work(value: boolean) {
    this.words[WORK] = value ? 1 : 0;
  }
  /** Whether the references count for nothing: loop.unref(). */
  get detached(): boolean {
    return this.words[DETACHED] !== 0;
  }
  set detached(value: boolean) {
    this.words[DETACHED] = value ? 1 : 0;
  }
}

let loaded: Addon | undefined;

/**
 * The addon, loaded on first use: an import alone loads nothing, so that start-up snapshots work.
 *
 * `IOLOOP_ADDON` names another build of it (sanitizers, cmake-js).
 */
export function addon(): Addon {
  // A copy: V8 keeps what an addon exports in a dictionary, which is slow to read from.
  loaded ??= { ...load() };
  return loaded;
}

/** recv(2) into all of `target`, or into a range of it: bytes, 0 at the end, or -errno. */
export function recv(fd: number, target: Uint8Array, offset?: number, length?: number): number {
  const { recv, result } = addon();
  if (offset === undefined) recv(fd, target);
  else recv(fd, target, offset, length);
  return result[0] as number;
}

/** send(2) of all of `source`, or of a range of it: bytes taken, or -errno. */
export function send(fd: number, source: Uint8Array, offset?: number, length?: number): number {
  const { send, result } = addon();
  if (offset === undefined) send(fd, source);
  else send(fd, source, offset, length);
  return result[0] as number;
}

/** The next connection that waits at `listener`: its descriptor, or -errno; accept4(2). */
export function acceptStream(listener: number): number {
  const { acceptStream, result } = addon();
  acceptStream(listener);
  return result[0] as number;
}

/** Whom the last {@link acceptStream} of this thread accepted; null: a Unix socket, with no name. */
export function readPeer(): NativePeer | null {
  const peer = addon().peer as unknown as PeerWords;
  if (peer[0] === 0) return null;
  const [word0, word1, word2, word3] = [peer[3], peer[4], peer[5], peer[6]];
  return { family: peer[0], port: peer[1], scope: peer[2], word0, word1, word2, word3 };
}

/** close(2): 0, or -errno. */
export function closeStream(fd: number): number {
  const { closeStream, result } = addon();
  closeStream(fd);
  return result[0] as number;
}

/** Closes with a reset: SO_LINGER at 0 (socket(7)), then close(2). 0, or -errno. */
export function abortStream(fd: number): number {
  const { abortStream, result } = addon();
  abortStream(fd);
  return result[0] as number;
}

/** Ends our half, as shutdown(2) with SHUT_WR: 0, or -errno. */
export function shutdownStream(fd: number): number {
  const { shutdownStream, result } = addon();
  shutdownStream(fd);
  return result[0] as number;
}

/** read(2) into all of `target`, or into a range of it: bytes, 0 at the end, or -errno. */
export function readPipe(fd: number, target: Uint8Array, offset?: number, length?: number): number {
  const { readPipe, result } = addon();
  if (offset === undefined) readPipe(fd, target);
  else readPipe(fd, target, offset, length);
  return result[0] as number;
}

/** write(2) of all of `source`, or of a range of it: bytes taken, or -errno. EPIPE, but no SIGPIPE. */
export function writePipe(fd: number, source: Uint8Array, offset?: number, length?: number): number {
  const { writePipe, result } = addon();
  if (offset === undefined) writePipe(fd, source);
  else writePipe(fd, source, offset, length);
  return result[0] as number;
}

/**
 * sendmsg(2) of `count` views from `views[first]` on, the first of them without its first `skip`
 * bytes: bytes taken, or -errno. At most IOV_MAX views go at once; a detached one has no bytes.
 */
export function sendVector(
  fd: number,
  views: readonly Uint8Array[],
  first: number,
  count: number,
  skip: number,
): number {
  const { sendVector, result } = addon();
  sendVector(fd, views, first, count, skip);
  return result[0] as number;
}

/**
 * sendfile(2) of `count` bytes from `offset` on, wherever the file's own offset is: bytes taken, 0 at
 * the end of the file, or -errno; ENOSYS where the system has none.
 */
export function sendFile(socket: number, file: number, offset: number, count: number): number {
  const { sendFile, result } = addon();
  sendFile(socket, file, offset, count);
  return result[0] as number;
}

/** Bytes that wait to be read (FIONREAD, tcp(7)), or -errno. */
export function unreadBytes(fd: number): number {
  const { unreadBytes, result } = addon();
  unreadBytes(fd);
  return result[0] as number;
}

/** Bytes that the peer has not acknowledged (SIOCOUTQ, tcp(7)), or -errno. */
export function unsentBytes(fd: number): number {
  const { unsentBytes, result } = addon();
  unsentBytes(fd);
  return result[0] as number;
}

/**
 * sendmsg(2) of a range of `source` with descriptors on its first byte (SCM_RIGHTS, unix(7)), 253 at
 * most: bytes taken, or -errno. Once a byte was taken they have left; the sender's stay its own.
 */
export function sendWithFds(
  fd: number,
  source: Uint8Array,
  start: number,
  length: number,
  fds: Int32Array,
): number {
  const { sendWithFds, result } = addon();
  sendWithFds(fd, source, start, length, fds);
  return result[0] as number;
}

/**
 * recvmsg(2) into a range of `target`: bytes, 0 at the end, or -errno. `fds` gets how many descriptors
 * came along, 1 if some were lost because the descriptor table is full (MSG_CTRUNC) and else 0, and
 * the descriptors, which belong to this environment. What it has no room for is closed.
 */
export function recvWithFds(
  fd: number,
  target: Uint8Array,
  start: number,
  length: number,
  fds: Int32Array,
): number {
  const { recvWithFds, result } = addon();
  recvWithFds(fd, target, start, length, fds);
  return result[0] as number;
}

/** The descriptor is its taker's from now on: 0, or -errno, EBADF: it was not this environment's. */
export function releaseStream(fd: number): number {
  const { releaseStream, result } = addon();
  releaseStream(fd);
  return result[0] as number;
}

/**
 * {@link DatagramAddon.receiveDatagrams}: how many messages came, or -errno. EINVAL: there is room for
 * none, as in a slab that was detached.
 */
export function receiveDatagrams(
  fd: number,
  slab: Uint8Array,
  slotSize: number,
  rows: Int32Array,
  names: Uint8Array,
  fds?: Int32Array,
): number {
  const { receiveDatagrams, result } = addon();
  receiveDatagrams(fd, slab, slotSize, rows, names, fds);
  return result[0] as number;
}

/**
 * {@link DatagramAddon.sendDatagrams}: how many messages were taken, or -errno of the first. EINVAL: it
 * names what is not in `bytes` or `fds`.
 */
export function sendDatagrams(
  fd: number,
  bytes: Uint8Array,
  rows: Int32Array,
  first: number,
  count: number,
  fds?: Int32Array,
): number {
  const { sendDatagrams, result } = addon();
  sendDatagrams(fd, bytes, rows, first, count, fds);
  return result[0] as number;
}

/** {@link DatagramAddon.receiveError}: 1 and the error in row 0 of `rows`, 0 when none waits, or -errno. */
export function receiveError(fd: number, rows: Int32Array): number {
  const { receiveError, result } = addon();
  receiveError(fd, rows);
  return result[0] as number;
}

/** What a descriptor with these status flags is open for (O_ACCMODE of open(2)). */
export function openDirections(flags: number): { readable: boolean; writable: boolean } {
  const mode = flags & (constants.O_RDONLY | constants.O_WRONLY | constants.O_RDWR);
  return { readable: mode !== constants.O_WRONLY, writable: mode !== constants.O_RDONLY };
}

function load(): Addon {
  const require = createRequire(import.meta.url);
  const override = process.env.IOLOOP_ADDON;
  if (override) return require(override) as Addon;
  const find = require('node-gyp-build') as (root: string) => Addon;
  return find(fileURLToPath(new URL('..', import.meta.url)));
}

const jsNow = performance.now.bind(performance);

/**
 * A reading of `poller`'s clock without a call into the addon: performance.now() reads the same clock
 * from an origin of its own, at half the price (where it does: not on macOS, nor in other runtimes).
 *
 * The difference is measured once, and errs late by the width of the measurement, some hundred
 * nanoseconds: what is due by this clock is due by the kernel's.
 */
export function monotonicClock(poller: NativePoller): () => number {
  // macOS: performance.now() is mach_continuous_time, which the adjustments of CLOCK_MONOTONIC pass by.
  if (!addon().hasLibuv || process.platform === 'darwin') return () => poller.time();
  let offset = Number.POSITIVE_INFINITY;
  let width = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < 8; attempt++) {
    const before = poller.time();
    const reading = jsNow();
    const after = poller.time();
    if (after - before < width) [offset, width] = [after - reading, after - before];
  }
  return () => jsNow() + offset;
}

interface ProcessWithTicks {
  _tickCallback?: () => void;
}

/**
 * Runs the ticks and microtasks that wait, as Node does when its stack empties; for a turn that was
 * called from JavaScript. From within a microtask only the ticks run.
 *
 * What a tick throws becomes an uncaught exception at once, and the rest still runs: letting it pass
 * would abort the process once somebody catches it.
 */
export function drainTicks(): void {
  const ticks = (process as ProcessWithTicks)._tickCallback;
  for (let drained = ticks === undefined; !drained; ) {
    try {
      ticks?.call(process);
      drained = true;
    } catch (error) {
      addon().reportFatal(error);
    }
  }
}
