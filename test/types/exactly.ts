type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Compiles only when the type of `value` is `Expected`, no more and no less. */
export function exactly<Expected>(): <Actual>(
  value: Actual,
  ...proof: Same<Expected, Actual> extends true ? [] : [never]
) => void {
  return () => {};
}
