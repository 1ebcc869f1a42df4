import { suite } from 'uvu';

const test = suite('a suite whose before hook throws');

test.before(() => {
  throw new Error('no set-up');
});
test('is never reached', () => {});
test.run();
