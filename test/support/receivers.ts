import { Buffer } from 'node:buffer';

import { IOLoop, type Protocol } from '../../src/index.ts';
import { connectTo } from './protocols.ts';
import { connectPair, type StreamPair } from './streams.ts';
import { type DeclareTest, suite, type TestContext } from './suite.ts';

/** `protocol` on the right of a connection; what is written to the left comes to it. */
export async function receiveBy<P extends Protocol>(
  protocol: P,
  context: TestContext,
): Promise<StreamPair & { protocol: P; errors: unknown[] }> {
  const pair = await connectPair('tcp', context);
  const errors: unknown[] = [];
  connectTo(pair.right, protocol, errors);
  return { ...pair, protocol, errors };
}

/** UTF-8. */
export const text = (data: string): Buffer => Buffer.from(data);

/** Declares a suite for each backend. */
export function suitePerBackend(name: string, define: (test: DeclareTest) => void): void {
  for (const backend of IOLoop.backends) suite(`${name} on ${backend}`, { backend }, define);
}
