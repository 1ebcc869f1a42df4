import * as assert from 'uvu/assert';

import type { IOLoop } from '../../src/index.ts';
import { signal } from '../support/driven.ts';
import { deliver, suitePerStream, turnsUntil, withPair } from '../support/streams.ts';
import { nextTurn } from '../support/turns.ts';

const KiB = 1024;

/** The system calls of `loop` during `body`, but for its waits: changes of interest. */
async function changesOfInterest(loop: IOLoop, body: () => Promise<void>): Promise<number> {
  const before = loop.metrics();
  await body();
  const after = loop.metrics();
  return after.systemCalls - before.systemCalls - (after.polls - before.polls);
}

suitePerStream('system calls of reading', ['tcp', 'unix', 'pipe'], (test, kind) => {
  test('onData with a settled promise changes no interest', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      const { loop, left, right } = pair;
      const listeners: ((chunk: Buffer) => void | Promise<void>)[] = [
        () => {},
        () => Promise.resolve(),
        async () => {},
      ];
      if (kind !== 'pipe') listeners.push(() => left.write(''));
      for (const listener of listeners) {
        right.onData(listener);
        await deliver(pair, Buffer.from('warm up'));
        const changes = await changesOfInterest(loop, async () => {
          for (let i = 0; i < 100; i++) await deliver(pair, Buffer.from('x'));
        });
        assert.is(changes, 0, `${listener}`);
      }
    });
  });

  test('an async listener changes no interest by more than one receive takes', async (context) => {
    // What a socket buffer holds, so that the writer is not blocked.
    const block = Buffer.alloc((kind === 'pipe' ? 64 : 128) * KiB);
    await withPair(kind, context, {}, async (pair) => {
      pair.right.onData(async () => {});
      await deliver(pair, block);
      const changes = await changesOfInterest(pair.loop, async () => {
        for (let i = 0; i < 20; i++) await deliver(pair, block);
      });
      assert.is(changes, 0);
    });
  });

  test('a read for each message changes no interest', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      const { loop, right } = pair;
      await deliver(pair, Buffer.from('warm up\n'));
      await right.readUntil('\n');
      const changes = await changesOfInterest(loop, async () => {
        for (let i = 0; i < 100; i++) {
          const line = right.readUntil('\n');
          await deliver(pair, Buffer.from('x\n'));
          await line;
        }
      });
      assert.is(changes, 0);
    });
  });

  test('a promise that stays pending changes it once it is in the way', async (context) => {
    await withPair(kind, context, {}, async (pair) => {
      const { loop, left, right } = pair;
      const { promise, fire } = signal();
      right.onData(() => promise);
      await deliver(pair, Buffer.from('x'));
      const changes = await changesOfInterest(loop, async () => {
        void left.write('y');
        for (let turn = 0; turn < 10; turn++) await nextTurn(loop);
      });
      assert.ok(changes > 0, 'the descriptor is told of as long as nobody reads');
      fire();
      await turnsUntil(loop, () => right.bytesRead === 2);
    });
  });
});
