import type { TestContext } from './suite.ts';

const NOBODY = 65_534;

/** From now on the process may do no more than others, until the test is over. */
export function renounceRoot(defer: TestContext['defer']): void {
  if (process.geteuid?.() !== 0) return;
  process.seteuid?.(NOBODY);
  defer(() => process.seteuid?.(0));
}
