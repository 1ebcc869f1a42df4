import { loadavg } from 'node:os';
import { accept } from './accept.ts';
import { burst } from './burst.ts';
import { context } from './context.ts';
import { drip } from './drip.ts';
import { echo } from './echo.ts';
import { compileServers } from './harness/compile-servers.ts';
import { describeMachine } from './harness/machine.ts';
import { type BenchOptions, parseBenchOptions, usage } from './harness/options.ts';
import type { Question } from './harness/question.ts';
import { formatReport, writeJson } from './harness/report.ts';
import { runRounds } from './harness/rounds.ts';
import { lines } from './lines.ts';
import { memory } from './memory.ts';
import { timers } from './timers.ts';
import { udpEcho } from './udp-echo.ts';
import { udpReceive } from './udp-receive.ts';
import { unixMessages } from './unix-messages.ts';
import { wait } from './wait.ts';
import { waker } from './waker.ts';

/** One file per question; what it returns says what is measured, and this harness does it. */
const questions: Readonly<Record<string, (options: BenchOptions) => Promise<Question>>> = {
  echo,
  lines,
  accept,
  burst,
  memory,
  drip,
  'udp-echo': udpEcho,
  'udp-receive': udpReceive,
  'unix-messages': unixMessages,
  timers,
  waker,
  wait,
  context,
};

async function bench(name: string, args: readonly string[]): Promise<void> {
  const ask = questions[name];
  if (ask === undefined) {
    const known = Object.keys(questions).join('|');
    throw new TypeError(`no such bench: '${name}'\nusage: npm run bench -- ${known} [options]\n${usage}`);
  }
  const options = parseBenchOptions(args);
  await compileServers();
  const question = only(await ask(options), options.only);
  const machine = describeMachine();
  const outcomes = await runRounds(question, options, showProgress);
  showProgress('');
  const report = {
    question,
    options,
    commandLine: `npm run bench -- ${[name, ...args].join(' ')}`,
    machine,
    loadAverageAfter: loadavg(),
    outcomes,
  };
  console.log(formatReport(report));
  if (options.json !== undefined) writeJson(options.json, report);
}

/** `question` asked of the contenders in `names` alone. */
function only(question: Question, names: readonly string[]): Question {
  const known = question.contenders.map(({ name }) => name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new TypeError(`--only: no contender '${unknown}' here; there are ${known.join(', ')}`);
  }
  if (names.length === 0) return question;
  return { ...question, contenders: question.contenders.filter(({ name }) => names.includes(name)) };
}

/** One line on a terminal, overwritten; nothing where stderr is a file. */
function showProgress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const said = 'stderr' in error && typeof error.stderr === 'string' ? `\n${error.stderr.trimEnd()}` : '';
  return `${error.message}${said}${error.cause === undefined ? '' : `\n${explain(error.cause)}`}`;
}

const [name = '', ...args] = process.argv.slice(2);
try {
  await bench(name, args);
} catch (error) {
  console.error(`bench: ${explain(error)}`);
  process.exitCode = 1;
}
