import { runGenerator } from './harness/generator.ts';
import { readInterval } from './harness/load.ts';
import { buildNativePrograms } from './harness/native-programs.ts';
import type { BenchOptions } from './harness/options.ts';
import type { Metric, Question, Sample } from './harness/question.ts';
import { numberAt } from './harness/run-program.ts';
import { type Server, withServer } from './harness/server.ts';
import { metricsBySize, sampleBySize } from './harness/sizes.ts';
import { chooseBestBackend } from './ioloop-backends.ts';
import { findServers } from './line-up.ts';
import { udpCountLineUp } from './message-line-up.ts';

const metrics: readonly Metric[] = [
  {
    key: 'cpuUsPerOp',
    label: 'CPU us',
    meaning: 'user and system time of the server process, all threads, per datagram that it has counted',
    digits: 2,
    compared: true,
  },
  {
    key: 'opsPerSecond',
    label: 'per s',
    meaning: 'datagrams counted a second; says little on a shared machine',
    digits: 0,
    compared: false,
  },
  {
    key: 'lostPercent',
    label: 'lost %',
    meaning: 'of those that were sent, the share that the server did not count: a queue was full',
    digits: 1,
    compared: false,
  },
];

/** What does a UDP datagram cost that is only received, from a sender that does not wait? */
export async function udpReceive(options: BenchOptions): Promise<Question> {
  const programs = await buildNativePrograms();
  const { servers, notes } = findServers(udpCountLineUp(programs), await chooseBestBackend(options.backends));
  const { batch = 64 } = options;
  const sizes = options.size === undefined ? [64, 1_200] : [options.size];
  const measure = (server: Server): Promise<Sample> =>
    sampleBySize(sizes, async (size) => {
      const args = [
        `--size=${size}`,
        `--pipeline=${batch}`,
        `--warmup=${options.warmUpSeconds}`,
        `--seconds=${options.seconds}`,
      ];
      const figures = await runGenerator(programs.flood, server, args);
      return { ...readInterval(figures), lostPercent: 100 * numberAt(figures, 'lostShare') };
    });
  return {
    title: 'udp-receive',
    work: `datagrams of ${sizes.join(' B, then of ')} B, ${batch} in each system call of a sender that never waits; the server counts them and their bytes`,
    metrics: metricsBySize(metrics, sizes),
    contenders: servers.map(({ name, command }) => ({ name, measure: () => withServer(command, measure) })),
    notes,
  };
}
