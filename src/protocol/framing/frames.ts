import { Buffer } from 'node:buffer';
import { type IOStream, StreamClosedError } from '../../stream/io-stream.ts';
import type { Framer } from './framer.ts';

/**
 * The frames of `stream`, one for each time that one is asked for: nothing is received ahead of that.
 *
 * The framer can be told something between any two. Leaving the loop leaves the stream open, and what came
 * behind the last frame is the stream's again, to be read in another way.
 *
 * @param framer New, or between two frames; its `onFrame` and its `onError` are taken.
 * @returns Frames that are their receiver's. It throws the framer's error, the stream's, and
 *   {@link StreamClosedError} where the peer ends in the middle of a frame.
 */
export async function* frames(stream: IOStream, framer: Framer): AsyncGenerator<Buffer, void, void> {
  const found: Buffer[] = [];
  framer.onFrame = (view) => {
    found.push(Buffer.from(view));
    framer.pause();
  };
  framer.onError = null;
  try {
    for await (const chunk of stream) {
      framer.push(chunk);
      for (let frame = found.pop(); frame !== undefined; frame = found.pop()) {
        yield frame;
        framer.resume();
      }
    }
    if (framer.bytesBuffered > 0)
      throw new StreamClosedError(stream, 'the stream ended in the middle of a frame', null);
  } finally {
    const left = framer.clear();
    // Only who left the loop left it paused.
    if (framer.paused && left.length > 0 && !stream.closed) stream.unshift(left);
    framer.resume();
  }
}
