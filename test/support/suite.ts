import { writeFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { suite as uvuSuite } from 'uvu';

import { type BackendName, IOLoop, IOLoopError } from '../../src/index.ts';
import { newFds, type OpenFds, openFds, openLastingFds } from './fds.ts';
import { timeScale, within } from './within.ts';

export interface SuiteOptions {
  /** Of the loops that the tests get; default: what `IOLOOP_BACKEND` says. */
  readonly backend?: BackendName;
  readonly drive?: 'node' | 'manual';
  /** For each test; one that takes longer fails by its name. Default 10,000. */
  readonly limitMs?: number;
}

/** What a test gets. */
export interface TestContext {
  /**
   * This test's own loop and, while the test runs, `IOLoop.current()`. Made when it is first asked for;
   * closed after the test, which fails when the loop still holds what the test gave it.
   */
  readonly loop: IOLoop;
  /** Runs `undo` after the test, passed or failed, last deferred first, before the loop is closed. */
  readonly defer: (undo: () => unknown) => void;
}

export type TestBody = (context: TestContext) => unknown;

/** Declares a test; its name is a sentence about behaviour. */
export type DeclareTest = (name: string, body: TestBody, options?: { readonly limitMs?: number }) => void;

/**
 * Backends whose suites run, with commas between them; not set: all. Another Node, or another build, changes nothing
 * in what a backend does, and is asked on one.
 */
const wantedBackends = process.env.IOLOOP_TEST_BACKENDS?.split(',');
/** Where the name of the running test is noted for the gate, which names it when the process dies or hangs. */
const progressFile = process.env.IOLOOP_TEST_PROGRESS;
/** Closing a descriptor may take a few passes of Node's loop: streams, workers, children. */
const leakGraceMs = 2_000;

openLastingFds();

/**
 * Declares a suite and runs it: the one door to uvu, whose own suites are silently left out when
 * `run` is forgotten. A test fails when it leaves open descriptors or anything in its loop behind.
 */
export function suite(name: string, define: (test: DeclareTest) => void): void;
export function suite(name: string, options: SuiteOptions, define: (test: DeclareTest) => void): void;
export function suite(
  name: string,
  ...rest: [(test: DeclareTest) => void] | [SuiteOptions, (test: DeclareTest) => void]
): void {
  const [options, define]: [SuiteOptions, (test: DeclareTest) => void] =
    rest.length === 1 ? [{}, rest[0]] : rest;
  if (options.backend !== undefined && wantedBackends?.includes(options.backend) === false) return;
  const tests = uvuSuite(name);
  let declared = 0;
  define((testName, body, testOptions) => {
    declared++;
    tests(testName, () => runTest(`${name}: ${testName}`, body, { ...options, ...testOptions }));
  });
  if (declared === 0) throw new Error(`the suite "${name}" declares no test`);
  tests.run();
}

async function runTest(title: string, body: TestBody, options: SuiteOptions): Promise<void> {
  if (progressFile !== undefined) writeFileSync(progressFile, title);
  const before = openFds();
  const scope = new TestScope(options);
  try {
    await within(options.limitMs ?? 10_000, body(scope), 'the end of the test');
    await scope.undo();
    scope.checkLoop();
  } catch (error) {
    // What the test says comes first: what a failed test leaves behind is no news.
    await scope.release().catch(() => {});
    // uvu cannot print what is no Error and would drop the rest of the suite.
    throw error instanceof Error ? error : new Error(`the test threw ${inspect(error)}`, { cause: error });
  }
  await scope.release();
  await checkFds(before);
}

class TestScope implements TestContext {
  readonly #options: SuiteOptions;
  readonly #undos: (() => unknown)[] = [];
  #loop: IOLoop | null = null;
  #heldAtFirst = '';

  constructor(options: SuiteOptions) {
    this.#options = options;
  }

  get loop(): IOLoop {
    if (this.#loop === null) {
      const { backend, drive } = this.#options;
      this.#loop = new IOLoop({ backend, drive, current: true });
      this.#heldAtFirst = heldBy(this.#loop);
    }
    return this.#loop;
  }

  readonly defer = (undo: () => unknown): void => {
    this.#undos.push(undo);
  };

  async undo(): Promise<void> {
    for (let undo = this.#undos.pop(); undo !== undefined; undo = this.#undos.pop()) {
      await within(5_000, undo(), 'what the test deferred');
    }
  }

  checkLoop(): void {
    if (this.#loop === null) return;
    const held = heldBy(this.#loop);
    if (held !== this.#heldAtFirst) throw new Error(`the test leaves in its loop: ${held}`);
  }

  async release(): Promise<void> {
    await this.undo();
    if (this.#loop !== null) await within(5_000, this.#loop.close({ graceMs: 0 }), 'the end of the loop');
  }
}

/**
 * What a loop holds, in words; nothing once it is closed. A timer that keeps nothing alive is no leak: the one
 * that all streams of a loop share outlives them by what it still waits for.
 */
function heldBy(loop: IOLoop): string {
  try {
    return loop
      .resources()
      .filter(({ kind, referenced }) => kind !== 'timer' || referenced)
      .map(({ kind, fd }) => (fd < 0 ? kind : `${kind} on fd ${fd}`))
      .join(', ');
  } catch (error) {
    if (IOLoopError.is(error, 'ERR_IOLOOP_CLOSED')) return '';
    throw error;
  }
}

async function checkFds(before: OpenFds): Promise<void> {
  const deadline = performance.now() + leakGraceMs * timeScale;
  for (;;) {
    const leaked = newFds(before, openFds());
    if (leaked.length === 0) return;
    if (performance.now() > deadline) throw new Error(`the test leaves open: ${leaked.join(', ')}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
