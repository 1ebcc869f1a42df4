import { loadMetrics, serverContender } from './harness/load.ts';
import { buildNativePrograms } from './harness/native-programs.ts';
import type { BenchOptions } from './harness/options.ts';
import { nodeProgram } from './harness/paths.ts';
import type { Question } from './harness/question.ts';
import { chooseBackends } from './ioloop-backends.ts';

/** What does an AsyncLocalStorage context per connection add to an echo? */
export async function context(options: BenchOptions): Promise<Question> {
  const programs = await buildNativePrograms();
  const [backend = 'epoll'] = await chooseBackends(options.backends);
  const plain = `ioloop-${backend}`;
  const handlers = nodeProgram('servers/handler-echo.ts', backend);
  const handlersInContext = nodeProgram('servers/handler-echo.ts', backend, '--context');
  const net = nodeProgram('peers/node-net-echo.ts');
  const netInContext = nodeProgram('peers/node-net-echo.ts', '--context');
  return {
    title: 'context',
    work:
      `echo on ${options.connections} connections, ${options.size} B, without any AsyncLocalStorage ` +
      'and with a store per connection that every call reads and checks',
    metrics: loadMetrics,
    contenders: [
      serverContender(plain, handlers, programs, options),
      serverContender(`${plain}+context`, handlersInContext, programs, options),
      serverContender('node-net', net, programs, options),
      serverContender('node-net+context', netInContext, programs, options, 'node-net'),
    ],
    notes: [],
  };
}
