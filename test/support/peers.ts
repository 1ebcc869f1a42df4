import * as assert from 'uvu/assert';

import { type RunningChild, startProgram } from './child.ts';
import { listenTo } from './examples.ts';
import type { TestContext } from './suite.ts';

/** A program of another make, at the other end of a socket of ours. */
export interface Peer {
  readonly child: RunningChild;
  /** What it has said on stdout so far, once that matches `pattern`. */
  readonly said: (pattern: RegExp) => Promise<string>;
  /** What it has said on stderr so far, once that matches `pattern`. */
  readonly complained: (pattern: RegExp) => Promise<string>;
  /** Writes to its standard input. */
  readonly tell: (text: string) => void;
  /** Ends its standard input, and waits for its own end, which has to be in order. Returns all that it said. */
  readonly finish: () => Promise<string>;
}

/** Where and under what name a peer runs. */
export type PeerOptions = Parameters<typeof startProgram>[2];

/** Starts `program`, which ends with the test at the latest. */
export function startPeer(
  defer: TestContext['defer'],
  [program, ...args]: readonly [string, ...string[]],
  options?: PeerOptions,
): Peer {
  const child = startProgram(program, args, options);
  defer(() => {
    child.process.kill('SIGKILL');
    return child.result;
  });
  const finish = async (): Promise<string> => {
    child.process.stdin?.end();
    const { code, signal, stdout, stderr } = await child.result;
    assert.equal([code, signal], [0, null], stderr);
    return stdout;
  };
  return {
    child,
    said: listenTo(child),
    complained: listenTo(child, 'stderr'),
    tell: (text) => child.process.stdin?.write(text),
    finish,
  };
}

/** Starts `source` in Python 3. */
export function startPython(defer: TestContext['defer'], source: string, ...args: string[]): Peer {
  return startPeer(defer, ['python3', '-u', '-c', source, ...args]);
}

/** Starts `source` in the Python 3 whose modules are Debian's packages: Twisted is one of them. */
export function startDebianPython(defer: TestContext['defer'], source: string, ...args: string[]): Peer {
  return startPeer(defer, ['/usr/bin/python3', '-u', '-c', source, ...args]);
}
