import { openSync } from 'node:fs';

import { suite } from '../support/suite.ts';

suite('a suite that leaks', (test) => {
  test('leaves a descriptor open', () => {
    openSync('/dev/null', 'r');
  });
});
