import * as assert from 'uvu/assert';

import { SendQueue } from '../../src/datagram/send-queue.ts';
import { Sending } from '../../src/datagram/sending.ts';
import { addon, closeStream } from '../../src/native.ts';
import { MAX_FDS, ROW } from '../../src/native-datagrams.ts';
import { memoryBudget } from '../../src/stream/memory-budget.ts';
import { Random } from '../support/random.ts';
import { suite } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { within } from '../support/within.ts';

/** What a message of the queue is, in hex: its name and its bytes. */
type Message = readonly [name: string, data: string];

/** All that waits, in order. */
function contents(queue: SendQueue): Message[] {
  return Array.from({ length: queue.length }, (_, i): Message => {
    const row = queue.first + i;
    const offset = queue.rows.get(row, ROW.OFFSET);
    const nameSize = queue.rows.get(row, ROW.FAMILY) === 1 ? queue.rows.get(row, ROW.PORT) : 0;
    const end = offset + queue.rows.get(row, ROW.SIZE);
    return [
      queue.data.subarray(offset - nameSize, offset).toString('hex'),
      queue.data.subarray(offset, end).toString('hex'),
    ];
  });
}

function drawBytes(random: Random): Buffer {
  const size = random.below(20) === 0 ? random.below(30_000) : random.below(100);
  return Buffer.alloc(size, String.fromCharCode(97 + random.below(26)));
}

/** Adds a drawn message, which is returned. */
function addDrawn(queue: SendQueue, random: Random): Message {
  const data = drawBytes(random);
  const name = random.below(2) === 0 ? Buffer.alloc(1 + random.below(50), 'N') : Buffer.of();
  const row = queue.add(random.below(2) === 0 ? data : data.toString(), name.length);
  if (name.length > 0) queue.setName(row, name);
  assert.is(row, queue.last);
  return [name.toString('hex'), data.toString('hex')];
}

suite('a send queue', (test) => {
  test('keeps messages whole and in order, whatever comes and leaves', () => {
    for (let seed = 1; seed <= count(10, 200); seed++) {
      const random = new Random(seed);
      const queue = new SendQueue();
      let expected: Message[] = [];
      for (let step = 0; step < 400; step++) {
        const isFull = expected.length > 150;
        if (!isFull && random.below(5) < 3) {
          expected.push(addDrawn(queue, random));
        } else if (expected.length > 0 && random.below(4) === 0) {
          assert.is(queue.refuse(new Error('refused')), false);
          expected.shift();
        } else {
          const leaving = random.below(Math.min(64, expected.length) + 1);
          queue.advance(leaving);
          expected = expected.slice(leaving);
        }
        assert.equal(contents(queue), expected, `seed ${seed}, step ${step}`);
        const bytes = expected.reduce((sum, [, data]) => sum + data.length / 2, 0);
        assert.is(queue.bytes, bytes);
      }
      queue.advance(queue.length);
      assert.equal([queue.length, queue.bytes], [0, 0]);
    }
  });

  test('counts its bytes in the memory budget until they have left', () => {
    const before = memoryBudget.used;
    const queue = new SendQueue();
    queue.add(Buffer.alloc(1_000), 0);
    queue.add('ü'.repeat(50), 10);
    assert.is(memoryBudget.used, before + 1_100);
    queue.advance(1);
    assert.is(memoryBudget.used, before + 100);
    queue.refuse(new Error('refused'));
    assert.is(memoryBudget.used, before);
  });

  test('tells each who waits of its own messages, in order', async () => {
    const queue = new SendQueue();
    const told: string[] = [];
    const wait = (name: string): Promise<unknown> => {
      queue.add(name, 0);
      const sending = new Sending(1, (error) => told.push(`${error}`));
      queue.wait(queue.last, sending);
      return sending.promise.then(
        () => told.push(`${name} sent`),
        (error: unknown) => told.push(`${name} ${error}`),
      );
    };
    const first = [wait('a'), wait('b'), wait('c')];
    queue.add('unwatched', 0);
    queue.advance(1);
    assert.is(queue.refuse(new Error('refused')), true);
    queue.advance(1);
    await within(1_000, Promise.all(first), 'the three');
    assert.equal(told, ['a sent', 'c sent', 'b Error: refused']);
    assert.is(queue.refuse(new Error('nobody waits')), false);
  });

  test('moves those who wait with their messages', async () => {
    const queue = new SendQueue();
    const sent: number[] = [];
    const all: Promise<unknown>[] = [];
    for (let i = 0; i < 500; i++) {
      queue.add('x', 0);
      const sending = new Sending(1, () => {});
      queue.wait(queue.last, sending);
      all.push(sending.promise.then(() => sent.push(i)));
      if (i % 3 > 0) queue.advance(1);
    }
    queue.advance(queue.length);
    await within(1_000, Promise.all(all), 'all of them');
    assert.equal(
      sent,
      Array.from({ length: 500 }, (_, i) => i),
    );
  });

  test('gives up the memory of a burst, be it of bytes or of messages', () => {
    const ofBytes = new SendQueue();
    ofBytes.add(Buffer.alloc(1024 * 1024), 0);
    ofBytes.advance(1);
    assert.ok(ofBytes.data.length < 64 * 1024);
    const ofMessages = new SendQueue();
    for (let i = 0; i < 16_384; i++) ofMessages.add('', 0);
    ofMessages.advance(16_384);
    assert.ok(ofMessages.rows.capacity <= 1_024, `${ofMessages.rows.capacity} rows`);
  });

  test('adds nothing of bytes that were transferred away', () => {
    const queue = new SendQueue();
    const data = new Uint8Array(10);
    structuredClone(data.buffer, { transfer: [data.buffer] });
    assert.throws(() => queue.add(data, 5));
    assert.equal([queue.length, queue.bytes], [0, 0]);
    queue.add('next', 0);
    assert.equal(contents(queue), [['', Buffer.from('next').toString('hex')]]);
    queue.advance(1);
  });

  test('closes the descriptors of a message when it has left, and holds no more than wait', () => {
    const queue = new SendQueue();
    const add = (): void => {
      queue.add('fds', 0);
      queue.addFds(queue.last, [addon().duplicate(0), addon().duplicate(0)]);
    };
    add();
    for (let i = 0; i < 1_000; i++) {
      // It is never empty.
      add();
      queue.advance(1);
      const first = queue.rows.get(queue.first, ROW.FIRST_FD);
      assert.is(queue.rows.get(queue.first, ROW.FD_COUNT), 2);
      assert.ok((queue.fds?.[first] ?? -1) > 2);
    }
    assert.ok((queue.fds?.length ?? 0) <= 2 * MAX_FDS, `${queue.fds?.length} descriptors`);
    const [one = -1] = queue.fds?.subarray(queue.rows.get(queue.first, ROW.FIRST_FD)) ?? [];
    queue.advance(1);
    assert.is(queue.fds, undefined);
    assert.ok(closeStream(one) < 0, 'it was still open');
  });
});
