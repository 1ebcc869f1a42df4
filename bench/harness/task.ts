import { type Command, pinned } from './pinning.ts';
import type { Contender, Metric, Sample } from './question.ts';
import { numberAt, runForJson } from './run-program.ts';

/**
 * A contender that is a program which does the work once and prints its figures as JSON.
 *
 * It checks its own work and ends with a status other than 0 when something was wrong.
 *
 * @param core Where it is pinned; undefined for work that needs two threads at once.
 */
export function taskContender(
  name: string,
  command: Command,
  metrics: readonly Metric[],
  core: number | undefined,
  against?: string,
): Contender {
  const where = core === undefined ? command : pinned(command, core);
  return {
    name,
    against,
    measure: async (): Promise<Sample> => {
      const figures = await runForJson(where);
      return Object.fromEntries(metrics.map(({ key }) => [key, numberAt(figures, key)]));
    },
  };
}
