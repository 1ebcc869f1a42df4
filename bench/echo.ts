import { loadOf } from './harness/load.ts';
import { buildNativePrograms } from './harness/native-programs.ts';
import type { BenchOptions } from './harness/options.ts';
import type { Question } from './harness/question.ts';
import { chooseBackends } from './ioloop-backends.ts';
import { awaitEcho, echoLineUp, findServers, handlerEcho, onDataEcho, protocolEcho } from './line-up.ts';
import { loadQuestion } from './load-question.ts';

/** What does an echo cost, by handlers, protocols and streams? */
export async function echo(options: BenchOptions): Promise<Question> {
  const programs = await buildNativePrograms();
  const lineUp = echoLineUp(programs, handlerEcho, protocolEcho, onDataEcho, awaitEcho);
  const found = findServers(lineUp, await chooseBackends(options.backends));
  return loadQuestion(loadOf(options, 'echo'), programs, found);
}
