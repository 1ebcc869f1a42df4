import { Buffer } from 'node:buffer';
import type { Delimiter } from './delimiter.ts';

/** Bytes that belong to whoever was given them; fits fetch, crypto and fs. */
export type Chunk = Buffer<ArrayBuffer>;

/** No bytes. */
export const EMPTY_CHUNK: Chunk = Buffer.alloc(0);

/** The most room that is made for bytes that have not come yet. */
const MAX_SPARE = 64 * 1024;
/**
 * Pieces of a segment this long are copied out of it: who keeps a line keeps no megabyte, and who
 * transfers one takes no other with it. Shorter ones lie in Node's pool, which cannot be transferred.
 */
const UNSHARED_FROM: number = Buffer.poolSize >>> 1;

/** Some of the buffered bytes: `bytes` from `start` to `end`, and behind that room for more. */
class Segment {
  readonly bytes: Chunk;
  start = 0;
  end: number;
  next: Segment | null = null;

  constructor(bytes: Chunk, end: number) {
    this.bytes = bytes;
    this.end = end;
  }
}

/**
 * Bytes that were received and not yet asked for, in the segments in which they came.
 *
 * Taking out of one segment copies nothing; the search for a delimiter looks at each byte once, no
 * matter in how many pieces they come or how many reads it takes.
 */
export class ReadBuffer {
  /** How many bytes there are. */
  length = 0;
  /** Bytes that searches have looked at so far: what tests of linearity count. */
  compared = 0;
  #head: Segment | null = null;
  #tail: Segment | null = null;
  // The search under way: where it goes on, how far from the front that is, and how much of the
  // delimiter the bytes before that place match.
  #wanted: Delimiter | null = null;
  #segment: Segment | null = null;
  #index = 0;
  #searched = 0;
  #matched = 0;

  /** Adds a copy of the first `count` bytes of `source`. */
  append(source: Uint8Array, count: number): void {
    const tail = this.#tail;
    if (tail !== null && tail.bytes.length - tail.end >= count) {
      tail.bytes.set(count === source.length ? source : source.subarray(0, count), tail.end);
      tail.end += count;
      this.length += count;
      return;
    }
    // Exact at first, since most of what comes is taken at once; doubling when it piles up.
    const room = Math.max(count, Math.min(this.length, MAX_SPARE));
    const bytes = Buffer.allocUnsafe(room);
    bytes.set(count === source.length ? source : source.subarray(0, count));
    this.#push(new Segment(bytes, count));
  }

  /** Adds the first `count` bytes of `bytes`, which nobody else uses from now on. */
  adopt(bytes: Chunk, count: number): void {
    this.#push(new Segment(bytes, count));
  }

  /** Puts a copy of `data` before all others. */
  unshift(data: Uint8Array): void {
    if (data.length === 0) return;
    const segment = new Segment(Buffer.from(data), data.length);
    segment.next = this.#head;
    this.#head = segment;
    this.#tail ??= segment;
    this.length += data.length;
    this.#restart();
  }

  /** The first `count` bytes, which must be there: now the caller's. */
  take(count: number): Chunk {
    const head = this.#head;
    if (head === null || count === 0) return EMPTY_CHUNK;
    const available = head.end - head.start;
    if (count > available) return this.#gather(count);
    const { bytes, start } = head;
    this.#consume(count);
    if (count === bytes.length) return bytes;
    const isLast = this.#head !== head;
    if (bytes.length < UNSHARED_FROM || (isLast && count >= bytes.length >> 1))
      return bytes.subarray(start, start + count);
    const piece = Buffer.allocUnsafe(count);
    bytes.copy(piece, 0, start, start + count);
    return piece;
  }

  /** Moves as many bytes as there are, or as `target` takes, into it; how many. */
  takeInto(target: Uint8Array): number {
    const count = Math.min(target.length, this.length);
    for (let done = 0; done < count; ) {
      const head = this.#head;
      if (head === null) break;
      const size = Math.min(count - done, head.end - head.start);
      target.set(head.bytes.subarray(head.start, head.start + size), done);
      this.#consume(size);
      done += size;
    }
    return count;
  }

  /** The piece at the front as it came, at most `most` bytes; there must be one. */
  takePiece(most: number): Chunk {
    const head = this.#head;
    return head === null ? EMPTY_CHUNK : this.take(Math.min(most, head.end - head.start));
  }

  /** The first `count` bytes as Latin-1 text, left where they are. */
  peekText(count: number): string {
    let text = '';
    for (let segment = this.#head; segment !== null && text.length < count; segment = segment.next) {
      const end = Math.min(segment.end, segment.start + count - text.length);
      text += segment.bytes.toString('latin1', segment.start, end);
    }
    return text;
  }

  /** Drops all of them. */
  clear(): void {
    this.#head = null;
    this.#tail = null;
    this.length = 0;
    this.#restart();
  }

  /**
   * How many of the first `limit` bytes reach to the end of the first `delimiter`, -1 when it is not
   * among them: then the next search for the same bytes goes on where this one ended.
   */
  find(delimiter: Delimiter, limit: number): number {
    if (this.#wanted === null || !this.#wanted.equals(delimiter)) {
      this.#restart();
      this.#wanted = delimiter;
    }
    this.#segment ??= this.#head;
    if (this.#searched === 0 && this.#segment !== null) this.#index = this.#segment.start;
    while (this.#segment !== null) {
      const segment = this.#segment;
      const end = Math.min(segment.end, this.#index + limit - this.#searched);
      const found =
        delimiter.bytes.length === 1
          ? this.#findByte(segment, end, delimiter.bytes[0] ?? 0)
          : this.#match(segment, end, delimiter);
      if (found) {
        const length = this.#searched;
        this.#restart();
        return length;
      }
      if (end < segment.end || segment.next === null) return -1;
      this.#segment = segment.next;
      this.#index = segment.next.start;
    }
    return -1;
  }

  /** Looks for `byte` from where the search is; leaves the search behind it. */
  #findByte(segment: Segment, end: number, byte: number): boolean {
    const from = this.#index;
    const { bytes } = segment;
    let at = from;
    if (end === bytes.length) {
      at = bytes.indexOf(byte, from);
      if (at < 0) at = end;
    } else {
      // What lies behind the end is nobody's, and as long as it likes.
      while (at < end && bytes[at] !== byte) at++;
    }
    const found = at < end;
    this.#advance(found ? at + 1 - from : Math.max(0, end - from));
    return found;
  }

  /** The same for a longer delimiter, of which a part may have matched before. */
  #match(segment: Segment, end: number, delimiter: Delimiter): boolean {
    const { bytes: wanted, fallbacks } = delimiter;
    const { bytes } = segment;
    const from = this.#index;
    let matched = this.#matched;
    let at = from;
    while (at < end && matched < wanted.length) {
      const byte = bytes[at++];
      while (matched > 0 && byte !== wanted[matched]) {
        matched = fallbacks[matched] ?? 0;
        this.compared++;
      }
      if (byte === wanted[matched]) matched++;
    }
    this.#matched = matched;
    this.#advance(at - from);
    return matched === wanted.length;
  }

  #advance(count: number): void {
    this.#index += count;
    this.#searched += count;
    this.compared += count;
  }

  #restart(): void {
    this.#wanted = null;
    this.#segment = null;
    this.#searched = 0;
    this.#matched = 0;
  }

  #push(segment: Segment): void {
    this.length += segment.end;
    if (this.#tail === null) this.#head = segment;
    else this.#tail.next = segment;
    this.#tail = segment;
  }

  #gather(count: number): Chunk {
    const whole = Buffer.allocUnsafe(count);
    this.takeInto(whole);
    return whole;
  }

  /** Forgets `count` bytes, all of them of the first segment. */
  #consume(count: number): void {
    const head = this.#head;
    if (head === null) return;
    this.#restart();
    head.start += count;
    this.length -= count;
    if (head.start < head.end) return;
    this.#head = head.next;
    if (head.next === null) this.#tail = null;
  }
}
