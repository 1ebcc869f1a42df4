import { suite } from '../support/suite.ts';

suite('a suite that leaks', (test) => {
  test('leaves a timer in its loop', ({ loop }) => {
    loop.callLater(1e9, () => {});
  });
});
