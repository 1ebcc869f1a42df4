import type { BenchOptions } from './harness/options.ts';
import { nodeProgram } from './harness/paths.ts';
import { serverCore } from './harness/pinning.ts';
import type { Contender, Metric, Question } from './harness/question.ts';
import { taskContender } from './harness/task.ts';
import { chooseBackends } from './ioloop-backends.ts';

const metrics: readonly Metric[] = [
  {
    key: 'emptyNs',
    label: 'empty ns',
    meaning: 'CPU time of one runOnce(0) that finds nothing ready',
    digits: 0,
    compared: true,
  },
  {
    key: 'oneReadyNs',
    label: 'one ready ns',
    meaning: 'CPU time of one runOnce(0) that finds one further descriptor ready and calls its handler',
    digits: 0,
    compared: true,
  },
];

/** select(2) takes numbers below 1024, some of which the process needs itself. */
const maxIdleOnSelect = 900;

/** How does the cost of one wait grow with idle descriptors? */
export async function wait(options: BenchOptions): Promise<Question> {
  const counts = options.quick ? [0, 100, 1_000] : [0, 10, 100, 1_000, 10_000];
  const backends = await chooseBackends(options.backends);
  const contenders = backends.flatMap((backend) => {
    const most = backend === 'select' ? maxIdleOnSelect : Infinity;
    const fitting = new Set(counts.map((count) => Math.min(count, most)));
    return [...fitting].map((idle): Contender => {
      const command = nodeProgram('tasks/wait.ts', backend, String(idle), String(options.seconds));
      return taskContender(`${backend}+${idle}`, command, metrics, serverCore, `${backend}+0`);
    });
  });
  return {
    title: 'wait',
    work: "one wait of a loop that is driven by hand, with so many idle descriptors watched; drive: 'manual'",
    metrics,
    contenders,
    notes: [],
  };
}
