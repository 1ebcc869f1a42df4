/** What there is to wait for when nothing is; one for all, so that it can be told. */
export const SETTLED: Promise<void> = Promise.resolve();
