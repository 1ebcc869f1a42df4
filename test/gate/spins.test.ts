import { suite } from '../support/suite.ts';

suite('a suite that hangs', (test) => {
  test('spins for ever', () => {
    for (;;);
  });
});
