import * as assert from 'uvu/assert';

import { type ChildResult, runFile } from './support/child.ts';
import { suite } from './support/suite.ts';

/** Runs the gate over one file of test/gate. */
function gate(fixture: string, ...args: readonly string[]): Promise<ChildResult> {
  return runFile(new URL('run.ts', import.meta.url), {
    // The name has to match from its beginning: 'passes' is also part of others.
    args: ['--dir=test/gate', `^${fixture}`, ...args],
    env: { IOLOOP_BACKEND: 'poll' },
    limitMs: 30_000,
  });
}

async function refuses(fixture: string, totals: string, reason: RegExp): Promise<void> {
  const { stdout, stderr, code } = await gate(fixture);
  assert.match(stdout + stderr, reason);
  assert.ok(stdout.endsWith(`\n${totals}\n`), stdout);
  assert.is(code, 1);
}

suite('the gate', { limitMs: 40_000 }, (test) => {
  test('passes when every test passed, and says how many', async () => {
    const { stdout, code } = await gate('passes');
    assert.ok(stdout.endsWith('\n2 passed, 0 failed\n'), stdout);
    assert.is(code, 0);
  });
  test('fails when no test ran', () => refuses('no-such-file', '0 passed, 0 failed', /no test ran/));
  test('fails when a suite forgets to run', () =>
    refuses('forgets-run', '0 passed, 1 failed', /forgets-run\.test\.ts ran no suite/));
  test('fails when a suite forgets to run beside one that passes', () =>
    refuses('(forgets-run|passes)', '2 passed, 1 failed', /forgets-run\.test\.ts ran no suite/));
  test('fails when an only is left in', () =>
    refuses('leaves-only-in', '1 passed, 1 failed', /1 tests were skipped/));
  test('fails when a before hook throws', () => refuses('before-throws', '0 passed, 1 failed', /0 \/ 1/));
  test('fails when an after.each hook throws', () =>
    refuses('after-each-throws', '0 passed, 1 failed', /0 \/ 1/));
  test('fails when a suite declares no test', () =>
    refuses('declares-nothing', '0 passed, 1 failed', /"an empty suite" declares no test/));
  test('fails the test that leaves a descriptor open, by name', () =>
    refuses('leaks-fd', '0 passed, 1 failed', /"leaves a descriptor open"\s+.*leaves open: \d+ /));
  test('fails the test that leaves a timer in its loop, by name', () =>
    refuses('leaks-timer', '0 passed, 1 failed', /"leaves a timer in its loop"\s+.*leaves in its loop: /));
  test('fails the test that waits for ever, and goes on with the next', () =>
    refuses(
      'never-settles',
      '1 passed, 1 failed',
      /"waits for what never comes"\s+.*did not come within \d+ ms/,
    ));
  test('fails the test that throws what is no error, and goes on with the next', () =>
    refuses('throws-no-error', '1 passed, 1 failed', /"throws null"\s+.*the test threw null/));
  test('kills a run that hangs and names the test it was in', async () => {
    const { stdout, code } = await gate('spins', '--silence-ms=3000');
    assert.match(stdout, /fell silent .* in "a suite that hangs: spins for ever"/);
    assert.ok(stdout.endsWith('\n0 passed, 1 failed\n'), stdout);
    assert.is(code, 1);
  });
  test('fails a run that ends early and names the test it was in', () =>
    refuses('exits', '0 passed, 1 failed', /without totals, in "a suite that leaves: ends the process/));
  test('fails a run that dies of an unhandled rejection', () =>
    refuses('rejects', '0 passed, 1 failed', /in "a suite with a loose end: rejects what nobody handles"/));
});
