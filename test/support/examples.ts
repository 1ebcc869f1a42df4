import * as assert from 'uvu/assert';

import { type RunningChild, startFile } from './child.ts';
import type { TestContext } from './suite.ts';
import { within } from './within.ts';

/** The file of an example. */
export function example(name: string): URL {
  return new URL(`../../examples/${name}.ts`, import.meta.url);
}

/** What the example has said by the time it matches `pattern`. */
export function heard(child: RunningChild, pattern: RegExp): Promise<string> {
  const match = new Promise<string>((resolve, reject) => {
    let output = '';
    child.process.stdout?.on('data', (chunk: string) => {
      output += chunk;
      if (pattern.test(output)) resolve(output);
    });
    child.result.then(({ stderr }) => reject(new Error(`the example ended: ${stderr}`)), reject);
  });
  return within(10_000, match, `the output ${pattern}`);
}

/** A server among the examples, and what it has said on stderr in the end. */
export interface ServerExample {
  readonly port: number;
  /** Interrupts it, and checks that it ends in order. Returns what it wrote to stderr. */
  readonly end: () => Promise<string>;
}

/** Starts a server on a free port, which is the last word of the first line that it prints. */
export async function startServer(
  name: string,
  defer: TestContext['defer'],
  ...args: string[]
): Promise<ServerExample> {
  const child = startFile(example(name), { args: ['--port=0', ...args] });
  defer(() => {
    child.process.kill('SIGKILL');
    return child.result;
  });
  const [, port] = /[ :](\d+)(?: to .*)?\n$/.exec(await heard(child, /\n/)) ?? [];
  const end = async (): Promise<string> => {
    child.process.kill('SIGINT');
    const { code, signal, stderr } = await child.result;
    assert.equal([code, signal], [0, null], stderr);
    return stderr;
  };
  return { port: Number(port), end };
}
