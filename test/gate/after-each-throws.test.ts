import { suite } from 'uvu';

const test = suite('a suite whose after.each hook throws');

test.after.each(() => {
  throw new Error('no tear-down');
});
test('passes in itself', () => {});
test.run();
