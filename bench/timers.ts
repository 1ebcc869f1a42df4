import type { BenchOptions } from './harness/options.ts';
import { nodeProgram } from './harness/paths.ts';
import { serverCore } from './harness/pinning.ts';
import type { Contender, Metric, Question } from './harness/question.ts';
import { findBun } from './harness/runtimes.ts';
import { taskContender } from './harness/task.ts';

const metrics: readonly Metric[] = [
  {
    key: 'scheduleNs',
    label: 'schedule ns',
    meaning: 'user and system time of the process to make one timer, garbage collection included',
    digits: 0,
    compared: true,
  },
  {
    key: 'cancelNs',
    label: 'cancel ns',
    meaning: 'the same to cancel one of them, in the order they were made',
    digits: 0,
    compared: true,
  },
  {
    key: 'cancelShuffledNs',
    label: 'shuffled ns',
    meaning: 'the same for as many more, cancelled in random order: what is cancelled is in no cache',
    digits: 0,
    compared: true,
  },
  {
    key: 'firedCpuMs',
    label: 'fired CPU ms',
    meaning: 'user and system time of the process to make the other timers and fire every one of them',
    digits: 0,
    compared: true,
  },
];

/** What do timers cost? */
export async function timers(options: BenchOptions): Promise<Question> {
  const cancelled = options.quick ? 20_000 : 1_000_000;
  const fired = options.quick ? 5_000 : 300_000;
  const spanMs = options.quick ? 300 : 5_000;
  const args = [cancelled, fired, spanMs].map(String);
  const contender = (name: string, program: string, ...command: string[]): Contender =>
    taskContender(name, { program, args: [...command, ...args] }, metrics, serverCore);
  const node = nodeProgram('tasks/timers-runtime.ts');
  const ioloop = nodeProgram('tasks/timers-ioloop.ts');
  const bun = findBun();
  return {
    title: 'timers',
    work:
      `${cancelled} timers with random deadlines made and cancelled; ` +
      `${fired} with random delays up to ${spanMs} ms made and fired, each once and none early`,
    metrics,
    contenders: [
      contender('node-setTimeout', node.program, ...node.args),
      contender('ioloop-callLater', ioloop.program, ...ioloop.args),
      ...(bun === undefined ? [] : [contender('bun-setTimeout', bun, 'bench/tasks/timers-runtime.ts')]),
    ],
    notes: bun === undefined ? ['bun is not installed here and is left out'] : [],
  };
}
