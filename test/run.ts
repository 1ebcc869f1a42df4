/**
 * The gate: `npm test [-- pattern ...] [--backend=poll] [--ignore=pattern] [--long]`.
 *
 * Runs the suites once per backend, reads uvu's totals and fails unless every test that was declared ran
 * and passed. uvu's exit code alone says little: it is 0 when a `before` hook throws, when a suite forgets
 * `run` and when an `.only` is left in. A run that falls silent is killed and the test it was in is named.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parse } from 'uvu/parse';

import { IOLoop } from '../src/index.ts';
import { root } from './support/child.ts';
import { timeScale } from './support/within.ts';

/** What one run came to. `complaints` are failures that no test stands for. */
interface Outcome {
  readonly passed: number;
  readonly failed: number;
  readonly complaints: readonly string[];
}

interface Plan {
  readonly backend: string;
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

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    backend: { type: 'string', multiple: true },
    dir: { type: 'string', default: 'test' },
    ignore: { type: 'string', multiple: true, default: [] },
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
  return backends.map((backend, index) => {
    const ignore = index === 0 ? always : [...always, ...backendIndependent];
    return { backend, dir, pattern, ignore, long, silenceMs };
  });
}

/** Runs uvu, passes its output on and keeps it; kills its whole process group when it falls silent. */
async function runUvu(plan: Plan, progressFile: string): Promise<{ output: string; end: string | null }> {
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
    process.stdout.write(text);
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

async function execute(plan: Plan): Promise<Outcome> {
  const { suites } = await parse(join(root, plan.dir), plan.pattern, { ignore: [...plan.ignore] });
  const files = suites.map(({ name }) => name);
  if (files.length === 0) return { passed: 0, failed: 0, complaints: [] };

  console.log(`\n== ${plan.backend}: ${files.length} files`);
  const directory = mkdtempSync(join(tmpdir(), 'ioloop-test-'));
  try {
    const progressFile = join(directory, 'test');
    const { output, end } = await runUvu(plan, progressFile);
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
  for (const plan of plans()) {
    const outcome = await execute(plan);
    passed += outcome.passed;
    failed += outcome.failed + outcome.complaints.length;
    for (const complaint of outcome.complaints) console.log(`FAIL ${plan.backend}: ${complaint}`);
  }
  if (passed + failed === 0) console.log('FAIL no test ran');
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
}

await main();
