import { affordConnections } from './harness/descriptors.ts';
import { runGenerator } from './harness/generator.ts';
import { buildNativePrograms } from './harness/native-programs.ts';
import type { BenchOptions } from './harness/options.ts';
import type { Metric, Question, Sample } from './harness/question.ts';
import { numberAt } from './harness/run-program.ts';
import { type Server, withServer } from './harness/server.ts';
import { chooseBackends } from './ioloop-backends.ts';
import { echoLineUp, findServers, handlerEcho, onDataEcho, thatHold } from './line-up.ts';

const metrics: readonly Metric[] = [
  {
    key: 'seconds',
    label: 'seconds',
    meaning: 'time from the first connect until every connection stands and has been answered its byte',
    digits: 3,
    compared: true,
  },
  {
    key: 'medianSeconds',
    label: 'median s',
    meaning:
      'the time until half of them had been; a connect that found the backlog full comes a second later',
    digits: 3,
    compared: false,
  },
  {
    key: 'cpuUsPerConnection',
    label: 'CPU us',
    meaning: 'user and system time of the server process, all threads, per connection',
    digits: 2,
    compared: true,
  },
];

/** How long does a burst of connections wait? */
export async function burst(options: BenchOptions): Promise<Question> {
  const programs = await buildNativePrograms();
  const backends = await chooseBackends(options.backends);
  const wanted = options.connections ?? (options.quick ? 500 : 10_000);
  const { connections, notes: limits } = affordConnections(wanted);
  const lineUp = echoLineUp(programs, handlerEcho, onDataEcho);
  const { servers, notes } = thatHold(connections, findServers(lineUp, backends));
  const measure = async (server: Server): Promise<Sample> => {
    const figures = await runGenerator(programs.burst, server, [`--connections=${connections}`, '--size=1']);
    return Object.fromEntries(metrics.map(({ key }) => [key, numberAt(figures, key)]));
  };
  return {
    title: 'burst',
    work: `${connections} connects at once, each then sends one byte and wants it back; all stay open`,
    metrics,
    contenders: servers.map(({ name, command }) => ({ name, measure: () => withServer(command, measure) })),
    notes: [...notes, ...limits],
  };
}
