import { suite } from '../support/suite.ts';

suite('a suite that waits', { limitMs: 50 }, (test) => {
  test('waits for what never comes', () => new Promise(() => {}));
  test('goes on with the next', () => {});
});
