import { describeLoad, loadMetrics, loadOf, serverContender } from './harness/load.ts';
import { buildNativePrograms } from './harness/native-programs.ts';
import type { BenchOptions } from './harness/options.ts';
import { serverProgram } from './harness/paths.ts';
import type { Question } from './harness/question.ts';
import { chooseBestBackend } from './ioloop-backends.ts';

/** What does an AsyncLocalStorage context per connection add to an echo? */
export async function context(options: BenchOptions): Promise<Question> {
  const programs = await buildNativePrograms();
  const [backend = 'epoll'] = await chooseBestBackend(options.backends);
  const load = loadOf(options, 'echo');
  const plain = `ioloop-${backend}`;
  const handlers = serverProgram('servers/handler-echo.ts', backend);
  const handlersInContext = serverProgram('servers/handler-echo.ts', backend, '--context');
  const net = serverProgram('peers/node-net-echo.ts');
  const netInContext = serverProgram('peers/node-net-echo.ts', '--context');
  return {
    title: 'context',
    work:
      `${describeLoad(load)}; without any AsyncLocalStorage ` +
      'and with a store per connection that every call reads and checks',
    metrics: loadMetrics,
    contenders: [
      serverContender(plain, handlers, programs, load),
      serverContender(`${plain}+context`, handlersInContext, programs, load),
      serverContender('node-net', net, programs, load),
      serverContender('node-net+context', netInContext, programs, load, 'node-net'),
    ],
    notes: [],
  };
}
