import { buildNativePrograms } from './harness/native-programs.ts';
import type { BenchOptions } from './harness/options.ts';
import { nodeProgram } from './harness/paths.ts';
import type { Metric, Question } from './harness/question.ts';
import { taskContender } from './harness/task.ts';

const metrics: readonly Metric[] = [
  {
    key: 'p50Us',
    label: 'p50 us',
    meaning: 'median time from just before the call in the worker to the callback on a sleeping loop',
    digits: 1,
    compared: true,
  },
  { key: 'p99Us', label: 'p99 us', meaning: 'the same, 99 of 100', digits: 1, compared: false },
  {
    key: 'cpuUs',
    label: 'CPU us',
    meaning: 'user and system time of both threads per wake-up, the pauses of the worker included',
    digits: 1,
    compared: false,
  },
];

/** How long does a worker thread take to wake the loop? */
export async function waker(options: BenchOptions): Promise<Question> {
  const wakes = String(options.quick ? 200 : 10_000);
  const { rawWake } = await buildNativePrograms();
  const raw = taskContender('raw-eventfd', { program: rawWake, args: [wakes] }, metrics, undefined);
  const contender = (name: string, ...args: string[]) =>
    taskContender(name, nodeProgram('tasks/waker.ts', ...args, wakes), metrics, undefined);
  return {
    title: 'waker',
    work: `${wakes} wake-ups from a worker, one at a time, the loop asleep before each`,
    metrics,
    contenders: [contender('message-port', 'message-port'), contender('ioloop-waker', 'ioloop-waker'), raw],
    notes: ['neither thread is pinned: each needs a core'],
  };
}
