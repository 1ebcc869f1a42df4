import { checkBoolean, checkDuration, checkInteger, checkOptions, invalidArgument } from '../arguments.ts';
import { IOLoopError } from '../errors.ts';
import { IOLoop } from '../ioloop.ts';
import { LoopStreams } from './loop-streams.ts';

/** What a stream may hold, and how long it may take. Limits are on by default. */
export interface StreamOptions {
  /** The loop it lives on; IOLoop.current(). */
  loop?: IOLoop | undefined;
  /** Small segments leave at once (TCP_NODELAY, tcp(7)); true. */
  noDelay?: boolean | undefined;
  /** Idle milliseconds before the kernel probes the peer (SO_KEEPALIVE, TCP_KEEPIDLE); 0, the default: never. */
  keepAliveMs?: number | undefined;
  /** Whether the peer's end leaves our half open; false: the stream then closes by itself. */
  allowHalfOpen?: boolean | undefined;
  /** Received bytes that a read may wait for; 1 MiB. */
  maxBufferSize?: number | undefined;
  /** Bytes received while nobody reads; 64 KiB. */
  readAhead?: number | undefined;
  /** Queued bytes above which write() waits; 64 KiB. */
  highWaterMark?: number | undefined;
  /** Queued bytes above which a further write aborts the stream; 16 MiB. */
  maxWriteBufferSize?: number | undefined;
  /** Queued bytes that may stand for `softWriteTimeoutMs` at most; by default not limited. */
  softWriteBufferSize?: number | undefined;
  /** How long `softWriteBufferSize` may be exceeded; 0, the default: no limit. */
  softWriteTimeoutMs?: number | undefined;
  /** Bytes a second that must come while a framed read has begun; 0, the default: off. */
  minReadRate?: number | undefined;
  /** Bytes a second that must leave while bytes are queued; 0, the default: off. */
  minWriteRate?: number | undefined;
  /** How long a rate may be missed; 5,000. */
  rateGraceMs?: number | undefined;
  /** How long nothing may come or leave; 0, the default: for ever. */
  idleTimeoutMs?: number | undefined;
  /** How long bytes may be queued without any of them leaving; 0, the default: for ever. */
  writeTimeoutMs?: number | undefined;
  /** How long close() waits without progress before it aborts; 30,000. */
  closeTimeoutMs?: number | undefined;
  /** Bytes received in one turn, or as many as one receive takes more: then others have theirs; 256 KiB. */
  maxReadPerTurn?: number | undefined;
  /** Bytes sent in one turn, likewise; 1 MiB. */
  maxWritePerTurn?: number | undefined;
  /** Of a Unix socket, received descriptors that may wait for takeFds(); 0, the default: none are received. */
  receiveFds?: number | undefined;
}

/** {@link StreamOptions} checked and completed: one object for all streams of a server. */
export interface StreamSettings {
  readonly loop: IOLoop;
  readonly streams: LoopStreams;
  readonly noDelay: boolean;
  readonly keepAliveMs: number;
  readonly allowHalfOpen: boolean;
  readonly maxBufferSize: number;
  readonly readAhead: number;
  readonly highWaterMark: number;
  readonly maxWriteBufferSize: number;
  readonly softWriteBufferSize: number;
  readonly softWriteTimeoutMs: number;
  readonly minReadRate: number;
  readonly minWriteRate: number;
  readonly rateGraceMs: number;
  readonly idleTimeoutMs: number;
  readonly writeTimeoutMs: number;
  readonly closeTimeoutMs: number;
  readonly maxReadPerTurn: number;
  readonly maxWritePerTurn: number;
  readonly receiveFds: number;
  /** Whether any of the deadlines above but closeTimeoutMs is on. */
  readonly timed: boolean;
}

const KiB = 1024;
const MiB = 1024 * KiB;

/**
 * Checks `options` and fills in the defaults.
 *
 * @throws `ERR_IOLOOP_INVALID_ARGUMENT` with the option's name and its value; `ERR_IOLOOP_CLOSED`.
 */
export function streamSettings(options: StreamOptions | undefined): StreamSettings {
  checkOptions(options);
  const {
    loop = IOLoop.current(),
    noDelay = true,
    keepAliveMs = 0,
    allowHalfOpen = false,
    maxBufferSize = MiB,
    readAhead = 64 * KiB,
    highWaterMark = 64 * KiB,
    maxWriteBufferSize = 16 * MiB,
    softWriteBufferSize = Number.POSITIVE_INFINITY,
    softWriteTimeoutMs = 0,
    minReadRate = 0,
    minWriteRate = 0,
    rateGraceMs = 5_000,
    idleTimeoutMs = 0,
    writeTimeoutMs = 0,
    closeTimeoutMs = 30_000,
    maxReadPerTurn = 256 * KiB,
    maxWritePerTurn = MiB,
    receiveFds = 0,
  } = options ?? {};
  if (!(loop instanceof IOLoop)) throw invalidArgument('options.loop', 'an IOLoop', loop);
  if (loop.scheduler.closed) throw new IOLoopError('ERR_IOLOOP_CLOSED', 'no stream lives on a closed loop');
  checkBoolean(noDelay, 'options.noDelay');
  checkBoolean(allowHalfOpen, 'options.allowHalfOpen');
  checkSize(maxBufferSize, 'options.maxBufferSize', 1);
  checkSize(readAhead, 'options.readAhead', 1);
  checkSize(highWaterMark, 'options.highWaterMark', 0);
  checkSize(maxWriteBufferSize, 'options.maxWriteBufferSize', 1);
  if (softWriteBufferSize !== Number.POSITIVE_INFINITY)
    checkSize(softWriteBufferSize, 'options.softWriteBufferSize', 0);
  checkRate(minReadRate, 'options.minReadRate');
  checkRate(minWriteRate, 'options.minWriteRate');
  checkDuration(keepAliveMs, 'options.keepAliveMs');
  checkDuration(softWriteTimeoutMs, 'options.softWriteTimeoutMs');
  checkDuration(rateGraceMs, 'options.rateGraceMs');
  checkDuration(idleTimeoutMs, 'options.idleTimeoutMs');
  checkDuration(writeTimeoutMs, 'options.writeTimeoutMs');
  checkDuration(closeTimeoutMs, 'options.closeTimeoutMs');
  checkSize(maxReadPerTurn, 'options.maxReadPerTurn', 1);
  checkSize(maxWritePerTurn, 'options.maxWritePerTurn', 1);
  checkSize(receiveFds, 'options.receiveFds', 0);
  const settings = {
    ...{ loop, noDelay, keepAliveMs, allowHalfOpen, maxBufferSize, readAhead, highWaterMark },
    ...{ maxWriteBufferSize, softWriteBufferSize, softWriteTimeoutMs, minReadRate, minWriteRate },
    ...{ rateGraceMs, idleTimeoutMs, writeTimeoutMs, closeTimeoutMs, maxReadPerTurn, maxWritePerTurn },
    receiveFds,
  };
  const soft = softWriteTimeoutMs > 0 && softWriteBufferSize !== Number.POSITIVE_INFINITY;
  const timed = soft || minReadRate > 0 || minWriteRate > 0 || idleTimeoutMs > 0 || writeTimeoutMs > 0;
  return { ...settings, timed, streams: LoopStreams.of(loop) };
}

function checkSize(value: unknown, name: string, least: number): void {
  checkInteger(value, name, least, Number.MAX_SAFE_INTEGER);
}

function checkRate(value: unknown, name: string): void {
  if (typeof value !== 'number' || !(value >= 0 && value < Number.POSITIVE_INFINITY))
    throw invalidArgument(name, 'a number of bytes a second', value);
}
