import type { IOStream } from '../../src/stream/io-stream.ts';
import type { Random } from './random.ts';

/** How a frame is read: each of the ways that a stream has. */
const FRAMINGS = ['line', 'regex', 'sized', 'partial', 'into'] as const;

const NEWLINE = Buffer.from('\n');
const BLANK_LINE = Buffer.from('\r\n\r\n');
/** Enough for the longest. */
const LIMIT = { maxBytes: 128 * 1024 };

/** A message of some length, and how it is written and read. */
export interface Frame {
  readonly framing: (typeof FRAMINGS)[number];
  /** What goes over the wire, but for the length that a sized frame has before it. */
  readonly bytes: Buffer;
  /** Whether the writer waits until the frame was taken, or sent. */
  readonly waits: 'no' | 'write' | 'flush';
}

/** Most are short, some do not fit into one read. */
function drawLength(random: Random): number {
  const magnitude = random.below(100);
  return 1 + random.below(magnitude < 80 ? 200 : magnitude < 98 ? 4_000 : 70_000);
}

/** Letters: no delimiter, and no two stretches alike. */
function drawText(random: Random, length: number): Buffer {
  const text = Buffer.allocUnsafe(length);
  let state = random.below(0x7fffffff);
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    text[at] = 97 + ((state >>> 24) % 26);
  }
  return text;
}

/** `count` frames that follow from `random` alone: writer and reader draw the same. */
export function* drawFrames(random: Random, count: number): Generator<Frame> {
  for (let left = count; left > 0; left--) {
    const framing = FRAMINGS[random.below(FRAMINGS.length)] ?? 'line';
    const text = drawText(random, drawLength(random));
    const delimiter = framing === 'line' ? NEWLINE : framing === 'regex' ? BLANK_LINE : Buffer.alloc(0);
    const patience = random.below(10);
    const waits = patience < 3 ? 'no' : patience < 9 ? 'write' : 'flush';
    yield { framing, bytes: Buffer.concat([text, delimiter]), waits };
  }
}

/** Writes all of `frames`, then ends its half. */
export async function writeFrames(stream: IOStream, frames: Iterable<Frame>): Promise<void> {
  for (const { framing, bytes, waits } of frames) {
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32BE(bytes.length);
    const written = stream.write(framing === 'sized' ? [length, bytes] : bytes);
    if (waits === 'write') await written;
    if (waits === 'flush') await stream.flush();
  }
  await stream.end();
}

/** Reads all of `frames` and the end behind them; throws at the first byte that is not theirs. Returns the bytes. */
export async function readFrames(stream: IOStream, frames: Iterable<Frame>): Promise<number> {
  let place = 0;
  let total = 0;
  for (const frame of frames) {
    const received = await readFrame(stream, frame);
    if (!frame.bytes.equals(received)) throw new Error(describeDifference(place, frame, received));
    place++;
    total += received.length;
  }
  for await (const chunk of stream) throw new Error(`${chunk.length} bytes come after the last frame`);
  return total;
}

async function readFrame(stream: IOStream, { framing, bytes }: Frame): Promise<Buffer> {
  switch (framing) {
    case 'line':
      return stream.tryReadUntil(NEWLINE, LIMIT) ?? (await stream.readUntil(NEWLINE, LIMIT));
    case 'regex':
      return await stream.readUntilRegex(/\r?\n\r?\n/, LIMIT);
    case 'sized':
      return await stream.readBytes((await stream.readBytes(4)).readUInt32BE());
    case 'partial':
      return await readPieces(stream, bytes.length);
    case 'into': {
      const target = Buffer.alloc(bytes.length);
      await stream.readInto(target);
      return target;
    }
  }
}

async function readPieces(stream: IOStream, length: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (let left = length; left > 0; ) {
    const piece = await stream.readBytes(left, { partial: true });
    pieces.push(piece);
    left -= piece.length;
  }
  return Buffer.concat(pieces);
}

function describeDifference(place: number, { framing, bytes }: Frame, received: Buffer): string {
  const at = bytes.findIndex((byte, index) => byte !== received[index]);
  return `frame ${place} (${framing}, ${bytes.length} bytes) came as ${received.length} bytes, other from byte ${at} on`;
}
