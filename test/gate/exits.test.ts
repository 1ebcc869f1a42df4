import { suite } from '../support/suite.ts';

suite('a suite that leaves', (test) => {
  test('ends the process with success', () => process.exit(0));
});
