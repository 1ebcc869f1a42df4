import { suite } from '../support/suite.ts';

suite('a suite that throws', (test) => {
  test('throws null', () => Promise.reject(null));
  test('goes on with the next', () => {});
});
