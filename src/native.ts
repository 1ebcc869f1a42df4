import { constants } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { DatagramAddon } from './native-datagrams.ts';
import type { NativePoller } from './native-loop.ts';
import type { NativeAddress, NativePeer, PeerWords, StreamAddon } from './native-streams.ts';

export { type NativePoller, readCounters, TurnTables } from './native-loop.ts';
export type {
  NativeAddress,
  NativeOption,
  NativePeer,
  NativePreset,
  NativeTarget,
} from './native-streams.ts';

/**
 * The only door to the C++ addon: every native name is declared and documented here and in what this
 * extends, and the memory that both sides share never leaves these files.
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
