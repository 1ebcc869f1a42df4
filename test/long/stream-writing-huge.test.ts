import * as assert from 'uvu/assert';

import { IOStream } from '../../src/index.ts';
import { addon } from '../../src/native.ts';
import { defaultMemoryBudget, memoryBudget } from '../../src/stream/memory-budget.ts';
import { unixFds } from '../support/streams.ts';
import { suite } from '../support/suite.ts';
import { within } from '../support/within.ts';

/** More than one system call takes, and than 31 bits count. */
const SIZE = 2 ** 31 + 1;

suite('a huge write', { limitMs: 240_000 }, (test) => {
  test('of 2 GiB and a byte arrives whole', async ({ loop, defer }) => {
    addon().memoryBudget(4 * SIZE);
    memoryBudget.refresh();
    defer(() => {
      addon().memoryBudget(defaultMemoryBudget());
      memoryBudget.refresh();
    });
    const [near, far] = unixFds();
    const [left, right] = [IOStream.fromFd(near, { loop }), IOStream.fromFd(far, { loop })];
    const bytes = Buffer.alloc(SIZE);
    // A mark in each MiB, and at the end.
    for (let at = 0; at < SIZE - 1; at += 2 ** 20) bytes.writeUInt32LE(at / 2 ** 20 + 1, at);
    bytes[SIZE - 1] = 0xff;
    let received = 0;
    const reading = (async () => {
      for await (const chunk of right) {
        assert.is(
          bytes.compare(chunk, 0, chunk.length, received, received + chunk.length),
          0,
          `at ${received}`,
        );
        received += chunk.length;
      }
    })();
    await within(200_000, left.write(bytes), 'the write');
    void left.close();
    await within(20_000, reading, 'the end');
    assert.is(received, SIZE);
    assert.is(left.bytesWritten, SIZE);
    await Promise.all([left.whenClosed, right.whenClosed]);
  });
});
