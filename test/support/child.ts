import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import { timeScale } from './within.ts';

/** How a child ended and what it wrote. */
export interface ChildResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ChildOptions {
  readonly args?: readonly string[];
  /** Node's own flags, before the script. */
  readonly execArgv?: readonly string[];
  /** Added to this process's environment; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The whole run; what takes longer is killed and rejects. Default 20,000. */
  readonly limitMs?: number;
  /** Where it runs; default: {@link root}. */
  readonly cwd?: string;
  /** How many descriptors it may have open (ulimit -n). */
  readonly openFiles?: number;
  /** Without tsx, which takes half a second to start: for programs in JavaScript that import the compiled package. */
  readonly plain?: boolean;
}

/** A child that runs: talk to `process`, await `result`. Its standard input is a pipe. */
export interface RunningChild {
  readonly process: ChildProcess;
  readonly result: Promise<ChildResult>;
}

/** The root of the repository, where children run. */
export const root: string = fileURLToPath(new URL('../..', import.meta.url));

function collect(stream: NodeJS.ReadableStream | null): () => string {
  let text = '';
  stream?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  return () => text;
}

async function finish(child: ChildProcess, limitMs: number): Promise<ChildResult> {
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  let expired = false;
  const timer = setTimeout(() => {
    expired = true;
    child.kill('SIGKILL');
  }, limitMs * timeScale);
  try {
    await once(child, 'close');
  } finally {
    clearTimeout(timer);
  }
  const result = { stdout: stdout(), stderr: stderr(), code: child.exitCode, signal: child.signalCode };
  if (!expired) return result;
  throw new Error(
    `the child did not end within ${limitMs * timeScale} ms and was killed\n${result.stdout}${result.stderr}`,
  );
}

function start(script: readonly string[], options: ChildOptions): RunningChild {
  const {
    args = [],
    execArgv = [],
    env = {},
    limitMs = 20_000,
    cwd = root,
    openFiles,
    plain = false,
  } = options;
  const spawnOptions: SpawnOptions = { cwd, env: { ...process.env, ...env }, stdio: 'pipe' };
  const argv = [...(plain ? [] : ['--import', 'tsx']), ...execArgv, ...script, ...args];
  const limited = ['-c', `ulimit -n ${openFiles}; exec "$0" "$@"`, process.execPath, ...argv];
  const child =
    openFiles === undefined
      ? spawn(process.execPath, argv, spawnOptions)
      : spawn('sh', limited, spawnOptions);
  return { process: child, result: finish(child, limitMs) };
}

/** Starts the TypeScript file `script` in a child. */
export function startFile(script: URL, options: ChildOptions = {}): RunningChild {
  return start([fileURLToPath(script)], options);
}

/** Starts `source`, an ES module in JavaScript whose imports begin at the root: './src/index.ts'. */
export function startSource(source: string, options: ChildOptions = {}): RunningChild {
  return start(['--input-type=module', '--eval', source, '--'], options);
}

/** Runs the TypeScript file `script` in a child to its end. */
export function runFile(script: URL, options: ChildOptions = {}): Promise<ChildResult> {
  const child = startFile(script, options);
  child.process.stdin?.end();
  return child.result;
}

/** Runs `source` in a child to its end; see {@link startSource}. */
export function runSource(source: string, options: ChildOptions = {}): Promise<ChildResult> {
  const child = startSource(source, options);
  child.process.stdin?.end();
  return child.result;
}

/** Starts a program of another make, in its place: the tests of test/ci say which package has it. */
export function startProgram(
  program: string,
  args: readonly string[],
  options: Pick<ChildOptions, 'env' | 'limitMs' | 'cwd'> = {},
): RunningChild {
  const { env = {}, limitMs = 20_000, cwd = root } = options;
  const child = spawn(program, args, { cwd, env: { ...process.env, ...env }, stdio: 'pipe' });
  return { process: child, result: finish(child, limitMs) };
}
