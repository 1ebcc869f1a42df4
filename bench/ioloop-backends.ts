/**
 * The backends of ioloop to measure: those in `wanted`, or all of this system.
 *
 * Rejects when one is wanted that this system has not, and when the package is not built: what is
 * measured is what its users get, dist and the addon.
 */
export async function chooseBackends(wanted: readonly string[]): Promise<readonly string[]> {
  const backends = await listBackends();
  const unknown = wanted.find((name) => !backends.includes(name));
  if (unknown !== undefined) {
    throw new TypeError(`--backend: no '${unknown}' here; there are ${backends.join(', ')}`);
  }
  return wanted.length > 0 ? wanted : backends;
}

/** The same, but of those of this system only the best: for what does not depend on the poller. */
export async function chooseBestBackend(wanted: readonly string[]): Promise<readonly string[]> {
  const backends = await chooseBackends(wanted);
  return wanted.length > 0 ? backends : backends.slice(0, 1);
}

async function listBackends(): Promise<readonly string[]> {
  try {
    const { IOLoop } = await import('ioloop');
    return IOLoop.backends;
  } catch (cause) {
    throw new Error('the package is not built: npm run build:ts, npm run build:native', { cause });
  }
}
