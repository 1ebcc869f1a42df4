import { loadOf } from './harness/load.ts';
import { buildNativePrograms } from './harness/native-programs.ts';
import type { BenchOptions } from './harness/options.ts';
import type { Question } from './harness/question.ts';
import { chooseBestBackend } from './ioloop-backends.ts';
import { awaitLines, findServers, linesLineUp } from './line-up.ts';
import { loadQuestion } from './load-question.ts';

/** What does a line cost that is awaited and answered by a write of its own, with 16 of them in flight? */
export async function lines(options: BenchOptions): Promise<Question> {
  const programs = await buildNativePrograms();
  const lineUp = linesLineUp(programs, awaitLines());
  const found = findServers(lineUp, await chooseBestBackend(options.backends));
  return loadQuestion(loadOf(options, 'lines', 16), programs, found);
}
