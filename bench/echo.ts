import { loadOf } from './harness/load.ts';
import { buildNativePrograms } from './harness/native-programs.ts';
import type { BenchOptions } from './harness/options.ts';
import type { Question } from './harness/question.ts';
import { chooseBackends } from './ioloop-backends.ts';
import { awaitEcho, echoLineUp, findServers, handlerEcho, onDataEcho } from './line-up.ts';
import { loadQuestion } from './load-question.ts';

/** What does an echo cost, by handlers and by streams? */
export async function echo(options: BenchOptions): Promise<Question> {
  const programs = await buildNativePrograms();
  const lineUp = echoLineUp(programs, handlerEcho, onDataEcho, awaitEcho);
  const found = findServers(lineUp, await chooseBackends(options.backends));
  return loadQuestion(loadOf(options, 'echo'), programs, found);
}
