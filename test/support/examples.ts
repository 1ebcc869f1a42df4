import * as assert from 'uvu/assert';

import { type ChildOptions, type RunningChild, startFile } from './child.ts';
import type { TestContext } from './suite.ts';
import { within } from './within.ts';

/** The file of an example. */
export function example(name: string): URL {
  return new URL(`../../examples/${name}.ts`, import.meta.url);
}

/**
 * Listens to a child from now on. The function that is returned waits until all it has said matches
 * `pattern`, and returns that.
 */
export function listenTo(
  child: RunningChild,
  stream: 'stdout' | 'stderr' = 'stdout',
): (pattern: RegExp) => Promise<string> {
  let output = '';
  let onOutput = (): void => {};
  child.process[stream]?.on('data', (chunk: string) => {
    output += chunk;
    onOutput();
  });
  return (pattern) => {
    const match = new Promise<string>((resolve, reject) => {
      onOutput = () => {
        if (pattern.test(output)) resolve(output);
      };
      onOutput();
      child.result.then(({ stderr }) => reject(new Error(`the child ended: ${stderr}`)), reject);
    });
    return within(10_000, match, `the output ${pattern}`);
  };
}

/** What the example has said, from now on, by the time it matches `pattern`. */
export function heard(child: RunningChild, pattern: RegExp): Promise<string> {
  return listenTo(child)(pattern);
}

/** An example that runs until it is interrupted. */
export interface RunningExample {
  readonly child: RunningChild;
  /** What it has said since it was started, once that matches `pattern`. */
  readonly said: (pattern: RegExp) => Promise<string>;
  /** Interrupts it, and checks that it ends in order. Returns what it wrote to stderr. */
  readonly end: () => Promise<string>;
}

/** Starts an example, and waits for its first line. */
export async function startExample(
  name: string,
  defer: TestContext['defer'],
  options: ChildOptions = {},
): Promise<RunningExample> {
  const child = startFile(example(name), options);
  defer(() => {
    child.process.kill('SIGKILL');
    return child.result;
  });
  const said = listenTo(child);
  await said(/\n/);
  const end = async (): Promise<string> => {
    child.process.kill('SIGINT');
    const { code, signal, stderr } = await child.result;
    assert.equal([code, signal], [0, null], stderr);
    return stderr;
  };
  return { child, said, end };
}

/** A server among the examples. */
export interface ServerExample extends RunningExample {
  readonly port: number;
}

/** Starts a server on a free port, which is the last word of the first line that it prints. */
export async function startServer(
  name: string,
  defer: TestContext['defer'],
  ...args: string[]
): Promise<ServerExample> {
  const server = await startExample(name, defer, { args: ['--port=0', ...args] });
  const [, port] = /^.*?[ :](\d+)(?: to .*)?\n/.exec(await server.said(/\n/)) ?? [];
  return { ...server, port: Number(port) };
}
