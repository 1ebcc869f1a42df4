import * as assert from 'uvu/assert';

import { suite } from '../support/suite.ts';

suite('a healthy suite', (test) => {
  test('passes one test', () => assert.is(1 + 1, 2));
  test('passes another that uses a loop', async ({ loop }) => {
    await new Promise<void>((resolve) => loop.addCallback(resolve));
  });
});
