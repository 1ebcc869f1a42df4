import { Buffer } from 'node:buffer';
import { AbortError, IOLoopError, LimitError } from '../errors.ts';
import type { Handler, HandlerTable, ReadyListener } from '../handler.ts';
import type { IOLoop } from '../ioloop.ts';
import type { LoopPart } from '../loop-part.ts';
import type { Scheduler } from '../scheduler.ts';
import { sendLastAtExit, sendNoMore } from './last-sends.ts';
import { memoryBudget } from './memory-budget.ts';
import { type Chunk, ReadBuffer } from './read-buffer.ts';
import { ReceivePool } from './receive-pool.ts';
import { NEVER, TICK_MS, TimeoutWheel, type WheelEntry } from './timeout-wheel.ts';
import { ViewSlab } from './view-slab.ts';
import { WriteQueue } from './write-queue.ts';

/** Bytes that one receive takes at most. */
const SLAB_SIZE = 64 * 1024;
/** Rounds in which streams may end each other when their loop ends. */
const MAX_ROUNDS = 16;
/** Emptied buffers and queues that are kept for the next stream. */
const MAX_SPARE = 256;

/** What a loop does to the streams that live on it. */
export interface LiveStream extends ReadyListener {
  /** The server that looks after it, and ends it. */
  readonly owner: object | null;
  /** What {@link LoopStreams.add} gave it: the older, the lower. */
  readonly serial: number;
  /** Whether nothing is under way on it. */
  readonly isIdle: boolean;
  /** Received bytes that wait. */
  readonly bytesBuffered: number;
  /** Bytes of its own that it holds: received, or copied to be sent. */
  readonly bytesHeld: number;
  /** Bytes that wait to be sent. */
  readonly bytesQueued: number;
  /** Does what it put off until now. */
  settle(): void;
  /** Makes a last attempt to send what is queued; the process ends. */
  sendLast(): void;
  /** Stops and starts taking bytes in for want of memory. */
  holdForMemory(hold: boolean): void;
  /** Ends it in order. */
  close(): Promise<void>;
  abort(error?: Error): void;
  /** Ends it for want of memory. */
  evict(error: Error): void;
}

/** What the streams of one loop share: the slab they receive into, spare queues, the wheel, the turn's work. */
export class LoopStreams implements LoopPart, WheelEntry {
  readonly loop: IOLoop;
  readonly scheduler: Scheduler;
  readonly handlers: HandlerTable;
  readonly wheel: TimeoutWheel;
  /** Received bytes that wait, of all. */
  bytesBuffered = 0;
  /** Bytes that wait to be sent, of all. */
  bytesQueued = 0;
  wheelTick: number = NEVER;
  /** Streams that are told by others than the loop, or not at all. */
  readonly unwatched: Set<LiveStream> = new Set();
  /** Those that are over, and whose reader is told so when it has taken what came before. */
  readonly untold: Set<LiveStream> = new Set();
  #size = 0;
  #added = 0;
  /** Where small receives go; large ones go to the {@link slab}. */
  readonly pool: ReceivePool = new ReceivePool();
  #slab: Chunk = Buffer.allocUnsafeSlow(SLAB_SIZE);
  #views: ViewSlab | null = null;
  // Overwritten in turn, since an array that is emptied gives its memory up.
  #unsettled: (LiveStream | null)[] = [];
  #settled: (LiveStream | null)[] | null = null;
  #count = 0;
  readonly #spareInputs: ReadBuffer[] = [];
  // The first of them are spare: an array that is emptied gives its memory up.
  readonly #queues: WriteQueue[] = [];
  #spareQueues = 0;
  readonly #held = new Set<LiveStream>();
  /** Those who connect, to be told that the loop ends. */
  readonly #connecting = new Set<AbortController>();
  #whenNone: (() => void) | null = null;

  /** Those of `loop`. */
  static of(loop: IOLoop): LoopStreams {
    let streams = all.get(loop);
    if (streams === undefined) {
      streams = new LoopStreams(loop);
      all.set(loop, streams);
    }
    return streams;
  }

  private constructor(loop: IOLoop) {
    this.loop = loop;
    this.scheduler = loop.scheduler;
    this.handlers = loop.handlers;
    this.wheel = new TimeoutWheel(loop);
    memoryBudget.refresh();
    loop.attach(this);
    sendLastAtExit(this);
  }

  /** One stream more: it is watched, or among the {@link unwatched}. Its number. */
  add(): number {
    this.#size++;
    return ++this.#added;
  }

  /** The stream's descriptor is gone. */
  remove(stream: LiveStream): void {
    this.#size--;
    this.unwatched.delete(stream);
    this.#held.delete(stream);
    if (this.#size > 0) return;
    this.wheel.clear();
    this.#whenNone?.();
  }

  /** Those whose owner `isWanted`. */
  ownedBy(isWanted: (owner: object | null) => boolean): LiveStream[] {
    return [...this.#live(), ...this.untold].filter((stream) => isWanted(stream.owner));
  }

  /** Has `stream` settled at the end of this turn; outside of one, when the current callback is done. */
  unsettle(stream: LiveStream): void {
    this.#unsettled[this.#count++] = stream;
    if (this.#count === 1) this.scheduler.wantWork();
  }

  settle(): void {
    if (this.#count > 0) this.#settleAll();
    if (memoryBudget.isHigh || this.#held.size > 0) this.#relieveMemory();
  }

  #settleAll(): void {
    const batch = this.#unsettled;
    const count = this.#count;
    this.#count = 0;
    // None while one is in use: a stream may end the loop, which settles what is left.
    this.#unsettled = this.#settled ?? [];
    this.#settled = null;
    for (let i = 0; i < count; i++) {
      const stream = batch[i];
      batch[i] = null;
      try {
        stream?.settle();
      } catch (error) {
        // The others have theirs to do.
        this.scheduler.caught(error);
      }
    }
    this.#settled = batch;
  }

  /** Where to receive: its bytes are the next receiver's too, unless {@link takeSlab} takes it away. */
  get slab(): Chunk {
    return this.#slab;
  }

  /** The slab is its taker's; there is another. */
  takeSlab(): Chunk {
    const slab = this.#slab;
    this.#slab = Buffer.allocUnsafeSlow(SLAB_SIZE);
    return slab;
  }

  /** Where to receive what is seen during a call only. */
  get views(): ViewSlab {
    this.#views ??= new ViewSlab();
    return this.#views;
  }

  /** An empty buffer. */
  takeInput(): ReadBuffer {
    return this.#spareInputs.pop() ?? new ReadBuffer();
  }

  /** An empty buffer, which its stream has given up. */
  returnInput(input: ReadBuffer): void {
    if (this.#spareInputs.length < MAX_SPARE) this.#spareInputs.push(input);
  }

  /** An empty queue. */
  takeQueue(): WriteQueue {
    if (this.#spareQueues === 0) return new WriteQueue();
    return this.#queues[--this.#spareQueues] ?? new WriteQueue();
  }

  /** An empty queue, which its stream has given up. */
  returnQueue(queue: WriteQueue): void {
    if (this.#spareQueues < MAX_SPARE) this.#queues[this.#spareQueues++] = queue;
  }

  /** Whether `stream` may receive; if not, it will when there is memory again. */
  mayReceive(stream: LiveStream): boolean {
    if (!memoryBudget.isReached) return true;
    this.#hold(stream);
    return false;
  }

  /** What was held back for want of memory has waited for a tick: some go, or all go on. */
  expire(): number {
    memoryBudget.refresh();
    if (memoryBudget.isReached) this.#evict();
    this.#releaseHeld();
    return NEVER;
  }

  sendLast(): void {
    for (const stream of this.#live()) stream.sendLast();
  }

  /**
   * Runs `connect` with a signal that is aborted by `signal`, and by the end of the loop, which would
   * leave it without an answer.
   *
   * @throws `ERR_IOLOOP_CLOSED` in that case; what `connect` throws.
   */
  async connecting<T>(
    signal: AbortSignal | undefined,
    connect: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const controller = new AbortController();
    const onAbort = (): void => controller.abort(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted) onAbort();
    this.#connecting.add(controller);
    try {
      return await connect(controller.signal);
    } catch (error) {
      const { reason } = controller.signal;
      throw error instanceof AbortError && IOLoopError.is(reason, 'ERR_IOLOOP_CLOSED') ? reason : error;
    } finally {
      this.#connecting.delete(controller);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  async close(graceMs: number): Promise<void> {
    this.#endConnecting();
    for (const stream of this.ownedBy((owner) => owner === null)) void stream.close();
    if (this.#size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = this.loop.callLater(graceMs, resolve);
      this.#whenNone = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  abort(): void {
    this.#endConnecting();
    this.sendLast();
    for (const stream of this.ownedBy(() => true)) stream.abort();
    // Again for those that the listeners of these end.
    for (let round = 0; round < MAX_ROUNDS && this.#count > 0; round++) this.settle();
    this.wheel.clear();
    all.delete(this.loop);
    sendNoMore(this);
  }

  measure(metrics: { streams: number; bytesBuffered: number; bytesQueued: number }): void {
    metrics.streams += this.#size;
    metrics.bytesBuffered += this.bytesBuffered;
    metrics.bytesQueued += this.bytesQueued;
  }

  /** All of them: those that are watched are in the loop's table, and have no place of their own here. */
  #live(): LiveStream[] {
    const live = [...this.unwatched];
    for (const { target } of this.handlers) if (isStream(target)) live.push(target);
    return live;
  }

  #endConnecting(): void {
    for (const controller of this.#connecting)
      controller.abort(new IOLoopError('ERR_IOLOOP_CLOSED', 'the loop was closed while it connected'));
  }

  #hold(stream: LiveStream): void {
    if (this.#held.has(stream)) return;
    this.#held.add(stream);
    stream.holdForMemory(true);
    this.wheel.schedule(this, this.wheel.after(TICK_MS));
  }

  /** Has the largest holders wait while memory runs short; ends some when writes have overdrawn it. */
  #relieveMemory(): void {
    // A receive overdraws it by a slab at most, and those who received wait now.
    if (memoryBudget.used > memoryBudget.limit + SLAB_SIZE) this.#evict();
    if (!memoryBudget.isHigh) {
      this.#releaseHeld();
      return;
    }
    const largest = largestOf(this.#live(), (stream) => (this.#held.has(stream) ? 0 : stream.bytesBuffered));
    if (largest !== undefined) this.#hold(largest);
  }

  #releaseHeld(): void {
    const held = [...this.#held];
    this.#held.clear();
    for (const stream of held) stream.holdForMemory(false);
  }

  #evict(): void {
    do {
      const live = this.#live();
      const victim =
        largestOf(live, (stream) => stream.bytesHeld) ?? largestOf(live, (stream) => stream.bytesQueued);
      if (victim === undefined) return;
      const { limit } = memoryBudget;
      const message = `the process's streams hold ${memoryBudget.used} of ${limit} bytes, this one most of its own: ${victim.bytesHeld}`;
      victim.evict(new LimitError('ERR_IOLOOP_MEMORY_BUDGET', message, limit));
    } while (memoryBudget.isHigh);
  }
}

function isStream(target: Handler | ReadyListener): target is LiveStream {
  return typeof target === 'object' && 'bytesHeld' in target;
}

/** Who holds most by `measure`, the oldest of equals; nobody, if none holds anything. */
function largestOf(
  streams: Iterable<LiveStream>,
  measure: (stream: LiveStream) => number,
): LiveStream | undefined {
  let largest: LiveStream | undefined;
  let most = 0;
  for (const stream of streams) {
    const held = measure(stream);
    const isOlder = largest === undefined || stream.serial < largest.serial;
    if (held < most || held === 0 || (held === most && !isOlder)) continue;
    largest = stream;
    most = held;
  }
  return largest;
}

const all = new WeakMap<IOLoop, LoopStreams>();
