import * as assert from 'uvu/assert';

import { Inbox } from '../../src/datagram/inbox.ts';
import { memoryBudget } from '../../src/stream/memory-budget.ts';
import { Random } from '../support/random.ts';
import { suite } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { within } from '../support/within.ts';

const MAX_BYTES = 1_000;
const MAX_LENGTH = 20;

/** What each taker of an inbox has got, in the order in which they asked. */
class Takers {
  readonly #promises: Promise<IteratorResult<number>>[] = [];

  ask(inbox: Inbox<number>): void {
    this.#promises.push(inbox.next());
  }

  get asked(): number {
    return this.#promises.length;
  }

  /** Those that have got something, or were told of the end: null. */
  async results(): Promise<(number | null)[]> {
    const results = await within(1_000, Promise.all(this.#promises), 'all takers');
    return results.map(({ done, value }) => (done ? null : value));
  }
}

suite('an inbox', (test) => {
  test('hands each message to one taker, in order, and never holds more than it may', async () => {
    for (let seed = 1; seed <= count(20, 1_000); seed++) {
      const random = new Random(seed);
      const inbox = new Inbox<number>(MAX_BYTES, MAX_LENGTH);
      const takers = new Takers();
      const expected: number[] = [];
      const waiting: number[] = [];
      for (let step = 0; step < 500; step++) {
        if (random.below(2) === 0) {
          takers.ask(inbox);
          waiting.shift();
        } else {
          const size = random.below(200);
          const isTaken = takers.asked > expected.length;
          const bytes = waiting.reduce((sum, each) => sum + each, 0);
          const fits = isTaken || (bytes + size <= MAX_BYTES && waiting.length < MAX_LENGTH);
          assert.is(inbox.hasRoom(size), fits, `seed ${seed}, step ${step}`);
          if (fits) {
            inbox.push(step, size);
            expected.push(step);
            if (!isTaken) waiting.push(size);
          }
        }
        assert.is(inbox.length, waiting.length);
        assert.is(
          inbox.bytes,
          waiting.reduce((sum, each) => sum + each, 0),
        );
      }
      inbox.end(null);
      const results = await takers.results();
      const rest = inbox.clear();
      const taken = results.filter((result) => result !== null);
      assert.equal([...taken, ...rest], expected, `seed ${seed}`);
      assert.ok(results.slice(taken.length).every((result) => result === null));
    }
  });

  test('counts what it holds in the memory budget', () => {
    const before = memoryBudget.used;
    const inbox = new Inbox<string>(MAX_BYTES, MAX_LENGTH);
    inbox.push('a', 100);
    inbox.push('b', 50);
    assert.is(memoryBudget.used, before + 150);
    void inbox.next();
    assert.is(memoryBudget.used, before + 50);
    assert.equal(inbox.clear(), ['b']);
    assert.is(memoryBudget.used, before);
  });

  test('hands out what waits before its end, then the error once, then the end', async () => {
    const inbox = new Inbox<string>(MAX_BYTES, MAX_LENGTH);
    inbox.push('last', 4);
    inbox.end(new Error('failed'));
    assert.equal(await inbox.next(), { done: false, value: 'last' });
    const error = await inbox.next().catch((reason: unknown) => reason);
    assert.is(String(error), 'Error: failed');
    assert.equal(await inbox.next(), { done: true, value: undefined });
  });

  test('tells one of those who wait of the error, and all others of the end', async () => {
    const inbox = new Inbox<string>(MAX_BYTES, MAX_LENGTH);
    const waiting = [inbox.next(), inbox.next()];
    inbox.end(new Error('failed'));
    inbox.end(new Error('again'));
    const told = await Promise.allSettled(waiting);
    assert.equal(
      told.map(({ status }) => status),
      ['rejected', 'fulfilled'],
    );
  });

  test('gives a message that did not arrive to the next one who asks', async () => {
    const inbox = new Inbox<string>(MAX_BYTES, MAX_LENGTH);
    const withdrawn = inbox.next();
    inbox.push('a', 1);
    inbox.push('b', 1);
    inbox.withdraw(withdrawn);
    assert.equal([inbox.length, inbox.bytes], [2, 2]);
    assert.equal(await inbox.next(), { done: false, value: 'a' });
    inbox.taken();
    const arrived = inbox.next();
    inbox.taken();
    inbox.withdraw(arrived);
    assert.is(inbox.length, 0);
  });

  test('forgets one who waits no longer', async () => {
    const inbox = new Inbox<string>(MAX_BYTES, MAX_LENGTH);
    const withdrawn = inbox.next();
    const other = inbox.next();
    inbox.withdraw(withdrawn);
    inbox.push('a', 1);
    assert.equal(await other, { done: false, value: 'a' });
    const dismissed = inbox.next();
    inbox.dismiss();
    assert.equal(await dismissed, { done: true, value: undefined });
  });
});
