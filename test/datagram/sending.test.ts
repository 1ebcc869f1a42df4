import * as assert from 'uvu/assert';

import { Sending } from '../../src/datagram/sending.ts';
import { suite } from '../support/suite.ts';
import { passes } from '../support/turns.ts';
import { within } from '../support/within.ts';

/** A sending of `left` messages, and what it reports. */
function begin(left: number): { readonly sending: Sending; readonly reported: string[] } {
  const reported: string[] = [];
  return { sending: new Sending(left, (error) => void reported.push(error.message)), reported };
}

suite('a sending', (test) => {
  test('settles when the last of its messages has left', async () => {
    const { sending, reported } = begin(2);
    let isSettled = false;
    const settled = sending.promise.then(() => {
      isSettled = true;
    });
    sending.sent();
    await passes(1);
    assert.is(isSettled, false);
    sending.sent();
    await within(1_000, settled, 'the end');
    assert.equal(reported, []);
  });

  const waits: Readonly<Record<string, (promise: Promise<void>) => Promise<unknown>>> = {
    await: async (promise) => {
      try {
        await promise;
      } catch (error) {
        return error;
      }
      return undefined;
    },
    'then()': (promise) => promise.then(undefined, (error: unknown) => error),
    'catch()': (promise) => promise.catch((error: unknown) => error),
    'Promise.all()': (promise) => Promise.all([promise]).catch((error: unknown) => error),
    'Promise.race()': (promise) => Promise.race([promise]).catch((error: unknown) => error),
    'an async function that returns it': async (promise) => {
      const returns = async (): Promise<void> => promise;
      return returns().catch((error: unknown) => error);
    },
  };
  for (const [how, wait] of Object.entries(waits)) {
    for (const when of ['before', 'at once after'] as const) {
      test(`rejects for one who waits by ${how}, ${when} its failure, and reports nothing`, async () => {
        const { sending, reported } = begin(2);
        const fail = (): void => {
          sending.failed(new Error('first'));
          sending.failed(new Error('second'));
        };
        if (when === 'at once after') fail();
        const outcome = wait(sending.promise);
        if (when === 'before') fail();
        const error = await within(1_000, outcome, 'the outcome');
        assert.is(String(error), 'Error: first');
        await passes(1);
        assert.equal(reported, []);
      });
    }
  }

  test('reports each failure when nobody waits, and leaves no rejection unhandled', async ({ defer }) => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown): void => void unhandled.push(reason);
    process.on('unhandledRejection', note);
    defer(() => process.off('unhandledRejection', note));
    const { sending, reported } = begin(3);
    sending.failed(new Error('first'));
    sending.sent();
    sending.failed(new Error('second'));
    await passes(2);
    assert.equal(reported, ['first', 'second']);
    assert.equal(unhandled, []);
    const error = await sending.promise.catch((reason: unknown) => reason);
    assert.is(String(error), 'Error: first');
  });
});
