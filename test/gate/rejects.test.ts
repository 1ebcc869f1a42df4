import { suite } from '../support/suite.ts';

suite('a suite with a loose end', (test) => {
  test('rejects what nobody handles', async () => {
    void Promise.reject(new Error('nobody handles this'));
    await new Promise((resolve) => setImmediate(resolve));
  });
});
