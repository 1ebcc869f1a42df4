import { suite } from 'uvu';

const test = suite('a suite with an only');

test.only('runs alone', () => {});
test('is left out', () => {});
test.run();
