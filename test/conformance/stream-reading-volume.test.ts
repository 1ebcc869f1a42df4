import * as assert from 'uvu/assert';

import { drawFrames, readFrames, writeFrames } from '../support/frames.ts';
import { Random } from '../support/random.ts';
import { type StreamKind, streamKinds, suitePerStream, withPair } from '../support/streams.ts';
import { count } from '../support/tier.ts';
import { within } from '../support/within.ts';

/** About so many bytes a frame. */
const FRAME_SIZE = 1_140;
const FRAMES = Math.ceil((count(8, 100) * 1_000_000) / FRAME_SIZE);
const LIMIT_MS = count(60_000, 600_000);

/** Of the simulated kernel: everything that a real one does rarely. */
const moody = {
  seed: 64,
  maxDelayMs: 3,
  shortRead: 0.3,
  shortWrite: 0.3,
  spuriousAgain: 0.2,
  interrupt: 0.1,
};
/** The simulated one spends its time on single bytes. */
const framesOver = (kind: StreamKind): number => (kind === 'sim' ? Math.ceil(FRAMES / 4) : FRAMES);

suitePerStream('random mixed reads', streamKinds, (test, kind) => {
  test(
    'find every message as it was written, one way and both ways at once',
    async (context) => {
      const options = { allowHalfOpen: true };
      await withPair(
        kind,
        context,
        { left: options, right: options, network: moody },
        async ({ left, right }) => {
          const frames = (seed: number) => drawFrames(new Random(seed), framesOver(kind));
          const ways = [writeFrames(left, frames(1)), readFrames(right, frames(1))];
          if (kind !== 'pipe') ways.push(writeFrames(right, frames(2)), readFrames(left, frames(2)));
          await within(LIMIT_MS, Promise.all(ways), 'the last message');
          assert.is(left.bytesWritten, right.bytesRead);
          assert.ok(right.bytesRead > framesOver(kind) * FRAME_SIZE * 0.8, `only ${right.bytesRead} bytes`);
          assert.ok(right.bytesRead > framesOver(kind) * FRAME_SIZE * 0.8, `only ${right.bytesRead} bytes`);
          assert.is(right.bytesBuffered, 0);
        },
      );
    },
    { limitMs: LIMIT_MS * 2 },
  );
});
