/**
 * The gate: `npm test [-- pattern ...] [--backend=poll] [--ignore=pattern] [--jobs=n] [--long]`.
 *
 * Runs the suites once per backend, two runs at a time where there are two cores, reads uvu's totals and fails unless every test that was declared ran
 * and passed. uvu's exit code alone says little: it is 0 when a `before` hook throws, when a suite forgets
 * `run` and when an `.only` is left in. A run that falls silent is killed and the test it was in is named.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parse } from 'uvu/parse';

import { IOLoop } from '../src/index.ts';
import { root } from './support/child.ts';
import { Outputs } from './support/outputs.ts';
import { timeScale } from './support/within.ts';

/** What one run came to. `complaints` are failures that no test stands for. */
interface Outcome {
  readonly passed: number;
  readonly failed: number;
  readonly complaints: readonly string[];
}

/** One process of uvu. */
interface Plan {
  readonly backend: string;
  /** Of the files, where those of a backend are run in parts. */
  readonly part: string;
  readonly dir: string;
  readonly pattern: string;
  /** Patterns of files that this run leaves out. */
  readonly ignore: readonly string[];
  readonly long: boolean;
  readonly silenceMs: number;
}

/** Files that a second run would only repeat: they go through the backends themselves, or use no loop. */
const backendIndependent = [
  ...['^bench/', '^conformance/', '^datagram/', '^net/', '^protocol/', '^testing/', '^types/'],
  ...[
    '^stream/(delimiter|duplex-|pending-read|proxy-header|read-buffer|standard-io|timeout-wheel|write-queue)',
  ],
  ...['^docs\\.test', '^examples', '^gate\\.test', '^native-', '^owned-fd', '^package\\.test'],
];
/**
 * Fixtures of the gate's own tests fail on purpose; `test/ci` needs root and Debian packages, `test/faults` an
 * addon of its own, and both are directories of their own.
 */
const fixtures = '^(gate|ci|faults)/';
/** Parts that take about as long as each other: by what their files are left out. */
const parts: readonly (readonly [string, string])[] = [
  ['', '^(?!(conformance|datagram|net|protocol|stream)(/|$))'],
  [', the rest', '^(conformance|datagram|net|protocol|stream)/'],
];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    backend: { type: 'string', multiple: true },
    dir: { type: 'string', default: 'test' },
    ignore: { type: 'string', multiple: true, default: [] },
    jobs: { type: 'string', default: String(Math.min(2, availableParallelism())) },
    long: { type: 'boolean', default: false },
    'silence-ms': { type: 'string' },
  },
});

function plans(): Plan[] {
  const fromEnvironment = process.env.IOLOOP_BACKEND;
  const backends = values.backend ?? (fromEnvironment ? [fromEnvironment] : IOLoop.backends);
  const { dir, long, ignore: unwanted } = values;
  const pattern = `(${positionals.join('|')}).*\\.test\\.ts$`;
  const silenceMs = Number(values['silence-ms'] ?? (long ? 1_800_000 : 90_000)) * timeScale;
  const always = [fixtures, ...(long ? [] : ['^long/']), ...unwanted];
  return backends.flatMap((backend, index) => {
    const plan = { backend, part: '', dir, pattern, ignore: always, long, silenceMs };
    if (index > 0) return [{ ...plan, ignore: [...always, ...backendIndependent] }];
    if (dir !== 'test' || values.jobs === '1') return [plan];
    return parts.map(([part, others]) => ({ ...plan, part, ignore: [...always, others] }));
  });
}

/** Runs uvu, passes its output on by `show` and keeps it; kills its whole process group when it falls silent. */
async function runUvu(
  plan: Plan,
  progressFile: string,
  show: (text: string) => void,
): Promise<{ output: string; end: string | null }> {
  const ignore = plan.ignore.map((pattern) => `--ignore=${pattern}`);
  const uvu = ['node_modules/uvu/bin.js', plan.dir, plan.pattern, '--no-color', ...ignore];
  const child = spawn(process.execPath, ['--import', 'tsx', '--expose-gc', ...uvu], {
    cwd: root,
    env: {
      ...process.env,
      IOLOOP_BACKEND: plan.backend,
      IOLOOP_LONG: plan.long ? '1' : '0',
      IOLOOP_TEST_PROGRESS: progressFile,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  let silent = false;
  const kill = (): void => {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  };
  const watchdog = setTimeout(() => {
    silent = true;
    kill();
  }, plan.silenceMs);
  const interrupt = (): void => {
    kill();
    process.exit(130);
  };
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);

  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    show(text);
    watchdog.refresh();
  });
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.once('error', reject).once('close', (...ended) => resolve(ended));
  });
  clearTimeout(watchdog);
  process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  if (silent) return { output, end: `fell silent for ${plan.silenceMs} ms and was killed` };
  if (signal !== null) return { output, end: `was ended by ${signal}` };
  return { output, end: code === 0 ? null : `exited with code ${code}` };
}

/** The totals at the very end; what a test prints before them cannot pass for them. */
function readTotals(output: string): { total: number; passed: number; skipped: number } | null {
  const match =
    /\n {2}Total: {5}(\d+)\n {2}Passed: {4}(\d+)\n {2}Skipped: {3}(\d+)\n {2}Duration: .*\s*$/.exec(output);
  if (match === null) return null;
  const [total, passed, skipped] = match.slice(1).map(Number);
  if (total === undefined || passed === undefined || skipped === undefined) return null;
  return { total, passed, skipped };
}

/** Files after whose heading no suite reported. */
function silentFiles(output: string, files: readonly string[]): string[] {
  const lines = output.split('\n');
  return files.filter((file) => {
    const next = lines[lines.indexOf(file) + 1];
    return next === undefined || next === '' || files.includes(next);
  });
}

async function execute(plan: Plan, show: (text: string) => void): Promise<Outcome> {
  const { suites } = await parse(join(root, plan.dir), plan.pattern, { ignore: [...plan.ignore] });
  const files = suites.map(({ name }) => name);
  if (files.length === 0) return { passed: 0, failed: 0, complaints: [] };

  show(`\n== ${plan.backend}${plan.part}: ${files.length} files\n`);
  const directory = mkdtempSync(join(tmpdir(), 'ioloop-test-'));
  try {
    const progressFile = join(directory, 'test');
    const { output, end } = await runUvu(plan, progressFile, show);
    const totals = readTotals(output);
    const complaints: string[] = [];
    if (totals === null) {
      complaints.push(`the run ${end ?? 'ended'} without totals, ${lastTest(progressFile)}`);
      return { passed: 0, failed: 0, complaints };
    }
    const failed = totals.total - totals.passed;
    if (totals.skipped > 0) complaints.push(`${totals.skipped} tests were skipped: is an .only left in?`);
    for (const file of silentFiles(output, files))
      complaints.push(`${file} ran no suite: is run() forgotten?`);
    if (end !== null && failed === 0) complaints.push(`the run ${end} although every test passed`);
    return { passed: totals.passed, failed, complaints };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function lastTest(progressFile: string): string {
  try {
    return `in "${readFileSync(progressFile, 'utf8')}"`;
  } catch {
    return 'before its first test';
  }
}

async function main(): Promise<void> {
  let passed = 0;
  let failed = 0;
  const outputs = new Outputs();
  const waiting = plans().map((plan) => ({ plan, output: outputs.next() }));
  const work = async (): Promise<void> => {
    for (let task = waiting.shift(); task !== undefined; task = waiting.shift()) {
      const { plan, output } = task;
      const outcome = await execute(plan, (text) => output.write(text));
      passed += outcome.passed;
      failed += outcome.failed + outcome.complaints.length;
      for (const complaint of outcome.complaints) output.write(`FAIL ${plan.backend}: ${complaint}\n`);
      output.end();
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, Number(values.jobs)) }, work));
  if (passed + failed === 0) console.log('FAIL no test ran');
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
}

await main();
