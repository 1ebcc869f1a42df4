import { Buffer } from 'node:buffer';
import { IOLoopError } from '../errors.ts';
import type { HandlerTable } from '../handler.ts';
import type { IOLoop } from '../ioloop.ts';
import type { LoopPart } from '../loop-part.ts';
import { addon } from '../native.ts';
import { ADDRESS_WORDS, DatagramRows, MAX_FDS, NAME_SIZE, ROW } from '../native-datagrams.ts';
import type { Scheduler } from '../scheduler.ts';
import { sendLastAtExit, sendNoMore } from '../stream/last-sends.ts';
import { MAX_BATCH } from './message-options.ts';
import { SendQueue } from './send-queue.ts';

/** What a slot has behind its message: slots share no cache line, nor all of them the same set of lines. */
const SLOT_MARGIN = 64;
/** Messages of one system call when descriptors may come with them. */
export const MAX_BATCH_WITH_FDS = 8;
const MAX_SPARE = 64;
/** Addresses that are kept in words, for each family. */
const MAX_ADDRESSES = 1_024;

/** What a loop does to the message sockets that live on it. */
export interface LiveSocket {
  /** The server that looks after it, and ends it. */
  readonly owner: object | null;
  /** Does what it put off until now. */
  settle(): void;
  /** Makes a last attempt to send what is queued; the process ends. */
  sendLast(): void;
  /** Ends it in order. */
  close(): Promise<void>;
  /** Ends it at once. */
  abort(): void;
  /** Messages that it, or the kernel for it, has dropped. */
  readonly dropped: number;
  readonly bytesBuffered: number;
  readonly bytesQueued: number;
}

/** What the message sockets of one loop share: where they receive, spare queues, the turn's work. */
export class LoopDatagrams implements LoopPart {
  readonly loop: IOLoop;
  readonly scheduler: Scheduler;
  readonly handlers: HandlerTable;
  /** What the last receive has left. */
  readonly rows: DatagramRows = new DatagramRows(MAX_BATCH);
  readonly #firstRows: (Int32Array | undefined)[] = [];
  /** Where errors are taken. */
  readonly errors: DatagramRows = new DatagramRows(1);
  readonly names: Uint8Array = new Uint8Array(MAX_BATCH * NAME_SIZE);
  #slab: Buffer<ArrayBuffer> = Buffer.allocUnsafeSlow(0);
  /** Views of the slab, each at the slot of its row: traffic of one size makes no new ones. */
  #views: (Buffer | undefined)[] = [];
  #viewedSlot = 0;
  #fds: Int32Array | null = null;
  readonly #sockets = new Set<LiveSocket>();
  #unsettled: LiveSocket[] = [];
  readonly #spareQueues: SendQueue[] = [];
  readonly #ipv4 = new Map<string, Int32Array>();
  readonly #ipv6 = new Map<string, Int32Array>();
  /** Messages dropped by sockets that are gone. */
  #dropped = 0;

  /** Those of `loop`. */
  static of(loop: IOLoop): LoopDatagrams {
    let datagrams = all.get(loop);
    if (datagrams === undefined) {
      datagrams = new LoopDatagrams(loop);
      all.set(loop, datagrams);
    }
    return datagrams;
  }

  private constructor(loop: IOLoop) {
    this.loop = loop;
    this.scheduler = loop.scheduler;
    this.handlers = loop.handlers;
    loop.attach(this);
    sendLastAtExit(this);
  }

  add(socket: LiveSocket): void {
    this.#sockets.add(socket);
  }

  /** The socket's descriptor is gone. */
  remove(socket: LiveSocket): void {
    if (this.#sockets.delete(socket)) this.#dropped += socket.dropped;
  }

  /** Has `socket` settled at the end of this turn; outside of one, when the current callback is done. */
  unsettle(socket: LiveSocket): void {
    this.#unsettled.push(socket);
    if (this.#unsettled.length === 1) this.scheduler.wantWork();
  }

  settle(): void {
    if (this.#unsettled.length === 0) return;
    const batch = this.#unsettled;
    this.#unsettled = [];
    for (const socket of batch) {
      try {
        socket.settle();
      } catch (error) {
        // The others have theirs to do.
        this.scheduler.caught(error);
      }
    }
  }

  /** Where to receive messages of up to `size` bytes, `count` at a time. */
  slab(size: number, count: number): Buffer<ArrayBuffer> {
    // Pages of it that no message reaches are never there. One that was transferred has no bytes.
    const wanted = slotSize(size) * count;
    if (this.#slab.byteLength < wanted) {
      this.#slab = Buffer.allocUnsafeSlow(wanted);
      this.#views = [];
    }
    return this.#slab;
  }

  /** The `length` bytes that were received into slot `row`, of slots for messages of up to `size`. */
  view(row: number, size: number, length: number): Buffer {
    const slot = slotSize(size);
    if (slot !== this.#viewedSlot) {
      this.#views = [];
      this.#viewedSlot = slot;
    }
    const known = this.#views[row];
    if (known !== undefined && known.byteLength === length && length > 0) return known;
    const view = this.part(row * slot, length);
    this.#views[row] = view;
    return view;
  }

  /** The words of the first `count` rows: how many there are says how many messages are received. */
  firstRows(count: number): Int32Array {
    let words = this.#firstRows[count];
    if (words === undefined) {
      words = this.rows.words.subarray(0, count * ROW.WORDS);
      this.#firstRows[count] = words;
    }
    return words;
  }

  /** Bytes that were received. @throws `ERR_IOLOOP_INVALID_STATE`: they were transferred. */
  part(start: number, length: number): Buffer {
    const { received } = this;
    if (received.byteLength >= start + length && received.byteLength > 0)
      return received.subarray(start, start + length);
    throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the memory of the batch was transferred');
  }

  /** Where the last batch was received; without bytes, when it was transferred since. */
  get received(): Buffer<ArrayBuffer> {
    return this.#slab;
  }

  /** Where descriptors go that come along. */
  get fds(): Int32Array {
    this.#fds ??= new Int32Array(MAX_BATCH_WITH_FDS * MAX_FDS);
    return this.#fds;
  }

  /**
   * `literal` in words; as IPv4-mapped IPv6 for a socket of that family, if `mapped`. Null: it is no IP
   * literal, or none that such a socket can send to.
   */
  wordsOf(literal: string, mapped: boolean): Int32Array | null {
    const known = mapped ? this.#ipv6 : this.#ipv4;
    let words = known.get(literal);
    if (words !== undefined) return words;
    words = new Int32Array(ADDRESS_WORDS);
    const text = mapped && !literal.includes(':') ? `::ffff:${literal}` : literal;
    if (addon().parseIp(text, words) < 0 || words[0] !== (mapped ? 6 : 4)) return null;
    // The name of an interface may be another one's tomorrow.
    if (literal.includes('%')) return words;
    if (known.size === MAX_ADDRESSES) known.clear();
    known.set(literal, words);
    return words;
  }

  /** An empty queue. */
  takeQueue(): SendQueue {
    return this.#spareQueues.pop() ?? new SendQueue();
  }

  /** An empty queue, which its socket has given up. */
  returnQueue(queue: SendQueue): void {
    if (this.#spareQueues.length < MAX_SPARE) this.#spareQueues.push(queue);
  }

  sendLast(): void {
    for (const socket of this.#sockets) socket.sendLast();
  }

  async close(graceMs: number): Promise<void> {
    const orphans = [...this.#sockets].filter((socket) => socket.owner === null);
    const closing = Promise.all(orphans.map((socket) => socket.close()));
    let timer: { cancel(): void } | undefined;
    const late = new Promise<void>((resolve) => {
      timer = this.loop.callLater(graceMs, resolve);
    });
    await Promise.race([closing, late]);
    timer?.cancel();
  }

  abort(): void {
    for (const socket of [...this.#sockets]) {
      socket.sendLast();
      socket.abort();
    }
    all.delete(this.loop);
    sendNoMore(this);
  }

  measure(metrics: { bytesBuffered: number; bytesQueued: number; datagramsDropped: number }): void {
    metrics.datagramsDropped += this.#dropped;
    for (const socket of this.#sockets) {
      metrics.datagramsDropped += socket.dropped;
      metrics.bytesBuffered += socket.bytesBuffered;
      metrics.bytesQueued += socket.bytesQueued;
    }
  }
}

/** The bytes of a slot for messages of up to `size`. */
export function slotSize(size: number): number {
  return size + SLOT_MARGIN;
}

const all = new WeakMap<IOLoop, LoopDatagrams>();
