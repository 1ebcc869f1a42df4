import * as assert from 'uvu/assert';

import { memoryBudget } from '../../src/stream/memory-budget.ts';
import { BORROWED_FROM, WriteQueue } from '../../src/stream/write-queue.ts';
import { Random } from '../support/random.ts';
import { suite } from '../support/suite.ts';
import { within } from '../support/within.ts';

/** All that waits, in order. */
function contents(queue: WriteQueue): Buffer {
  const views = queue.views(Number.MAX_SAFE_INTEGER);
  return Buffer.concat(views).subarray(queue.front?.start ?? 0);
}

function copyText(queue: WriteQueue, text: string): void {
  queue.copyText(text, text.length * 3);
}

suite('a write queue', (test) => {
  test('coalesces small writes into one view', () => {
    const queue = new WriteQueue();
    for (let i = 0; i < 100; i++) copyText(queue, `${i},`);
    assert.not.ok(queue.isMany);
    assert.is(String(contents(queue)), Array.from({ length: 100 }, (_, i) => `${i},`).join(''));
    queue.advance(queue.bytes);
  });

  test('writes text as UTF-8, however long', () => {
    for (const text of [
      '',
      'a',
      'é',
      '€',
      '😀',
      '\ud800',
      'x'.repeat(24),
      `${'x'.repeat(23)}é`,
      'é😀€'.repeat(900),
    ]) {
      const queue = new WriteQueue();
      copyText(queue, text);
      assert.ok(contents(queue).equals(Buffer.from(text)), text);
      assert.is(queue.bytes, Buffer.byteLength(text));
      queue.advance(queue.bytes);
      assert.ok(queue.isEmpty);
    }
  });

  test('keeps its order, whatever leaves how', () => {
    const random = new Random(7);
    const queue = new WriteQueue();
    let expected = Buffer.alloc(0);
    for (let round = 0; round < 3_000; round++) {
      if (random.below(2) === 0) {
        const bytes = Buffer.alloc(
          random.below(10) === 0 ? BORROWED_FROM + random.below(9_000) : 1 + random.below(900),
          round,
        );
        if (bytes.length >= BORROWED_FROM) queue.borrow(bytes);
        else queue.copy(bytes);
        expected = Buffer.concat([expected, bytes]);
      } else {
        const count = random.below(Math.min(queue.bytes, 30_000) + 1);
        queue.advance(count);
        expected = expected.subarray(count);
      }
      assert.is(queue.bytes, expected.length);
      assert.is(queue.isEmpty, expected.length === 0);
      if (round % 50 === 0) assert.ok(contents(queue).equals(expected), `round ${round}`);
    }
    queue.advance(queue.bytes);
    assert.ok(queue.isEmpty);
  });

  test('keeps a buffer for the next write when it was emptied', () => {
    const queue = new WriteQueue();
    queue.copy(Buffer.from('first'));
    const { bytes } = queue.front ?? {};
    queue.advance(5);
    queue.copy(Buffer.from('again'));
    assert.is(queue.front?.bytes, bytes);
    assert.is(String(contents(queue)), 'again');
    queue.advance(5);
  });

  test('counts copies and borrowed buffers in the budget until they have left', () => {
    const before = memoryBudget.used;
    const queue = new WriteQueue();
    queue.copy(Buffer.alloc(1_000));
    queue.borrow(new Uint8Array(100_000));
    assert.is(memoryBudget.used - before, 101_000);
    assert.is(queue.copied, 1_000);
    queue.advance(1_000 + 99_999);
    assert.is(memoryBudget.used - before, 100_000);
    queue.advance(1);
    assert.is(memoryBudget.used, before);
  });

  test('settles what waits for a chunk when that has left, and not before', async () => {
    const queue = new WriteQueue();
    const borrowed = queue.borrow(new Uint8Array(BORROWED_FROM));
    copyText(queue, 'behind it');
    const flushed = queue.flushed();
    copyText(queue, 'later');
    const told: string[] = [];
    const sent = borrowed.whenSent().then(() => told.push('sent'));
    void flushed.then(() => told.push('flushed'));
    queue.advance(BORROWED_FROM - 1);
    await null;
    assert.equal(told, []);
    queue.advance(1);
    await within(1_000, sent, 'the buffer');
    assert.equal(told, ['sent']);
    queue.advance('behind it'.length);
    await within(1_000, flushed, 'the flush');
    assert.equal(told, ['sent', 'flushed']);
    assert.is(queue.bytes, 'later'.length);
    queue.advance(queue.bytes);
    await within(1_000, queue.flushed(), 'the flush of nothing');
  });

  test('rejects all that wait when it fails, and forgets what it held', async () => {
    const before = memoryBudget.used;
    const queue = new WriteQueue();
    copyText(queue, 'copied');
    const waits = [
      queue.borrow(new Uint8Array(BORROWED_FROM)).whenSent(),
      queue.flushed(),
      queue.whenDrained(),
    ];
    const error = new Error('over');
    queue.fail(error);
    for (const outcome of await Promise.allSettled(waits)) {
      assert.is(outcome.status, 'rejected');
      if (outcome.status === 'rejected') assert.is(outcome.reason, error);
    }
    assert.is(queue.bytes, 0);
    assert.is(queue.copied, 0);
    assert.ok(queue.isEmpty);
    assert.is(memoryBudget.used, before);
  });

  test('knows a borrowed buffer that was transferred or shrunk', () => {
    const transferred = new WriteQueue();
    const data = new Uint8Array(BORROWED_FROM);
    const chunk = transferred.borrow(data);
    assert.not.ok(chunk.isGone);
    structuredClone(data.buffer, { transfer: [data.buffer] });
    assert.ok(chunk.isGone);
    assert.equal(transferred.views(8), []);
    transferred.fail(new Error('gone'));
  });

  test('offers views up to a file, which leaves on its own', () => {
    const queue = new WriteQueue();
    copyText(queue, 'before');
    void queue.addFile({ fd: 0, offset: 0, remaining: 10 });
    copyText(queue, 'behind');
    assert.is(queue.views(8).length, 1);
    queue.advance('before'.length);
    assert.ok(queue.front?.file);
    assert.not.ok(queue.isEmpty);
    queue.shift();
    assert.is(String(contents(queue)), 'behind');
    queue.advance(queue.bytes);
  });
});
