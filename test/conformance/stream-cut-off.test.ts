import * as assert from 'uvu/assert';

import { StreamClosedError } from '../../src/index.ts';
import { type StreamKind, suitePerStream, withPair } from '../support/streams.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

// Those whose reset the reader can tell from an end.
const KINDS: readonly StreamKind[] = ['tcp', 'tls', 'sim'];

suitePerStream('a message that is cut off by a failure of its writer', KINDS, (test, kind) => {
  test('ends in an error for its reader, not as if it were complete', (context) =>
    withPair(kind, context, {}, async ({ loop, left, right }) => {
      const data = new Uint8Array(12 * 1024 * 1024);
      right.pause();
      void left.write(data);
      for (let before = -1; left.bytesWritten > before; await nextTurn(loop)) before = left.bytesWritten;
      structuredClone(data.buffer, { transfer: [data.buffer] });
      right.resume();
      const drained = (async () => {
        for await (const chunk of right) assert.ok(chunk.length > 0);
      })();
      const ended = await within(
        8_000,
        drained.then(
          () => 'an end',
          (error: unknown) => error,
        ),
        'the end',
      );
      assert.ok(ended instanceof StreamClosedError && ended.cause !== undefined, String(ended));
    }));
});
