import { runMessageLoad } from './harness/message-load.ts';
import { buildNativePrograms } from './harness/native-programs.ts';
import type { BenchOptions } from './harness/options.ts';
import type { Metric, Question, Sample } from './harness/question.ts';
import { type Server, withServer } from './harness/server.ts';
import { metricsBySize, sampleBySize } from './harness/sizes.ts';
import { chooseBestBackend } from './ioloop-backends.ts';
import { findServers } from './line-up.ts';
import { udpEchoLineUp } from './message-line-up.ts';

const metrics: readonly Metric[] = [
  {
    key: 'cpuUsPerOp',
    label: 'CPU us',
    meaning: 'user and system time of the server process, all threads, per datagram sent back',
    digits: 2,
    compared: true,
  },
  {
    key: 'opsPerSecond',
    label: 'per s',
    meaning: 'datagrams sent back a second; says little on a shared machine',
    digits: 0,
    compared: false,
  },
  {
    key: 'lost',
    label: 'lost',
    meaning:
      'datagrams without an answer, the warm-up included; another was sent in place of each after 0.2 s',
    digits: 0,
    compared: false,
  },
];

/** What does a UDP datagram cost that is sent back to where it came from? */
export async function udpEcho(options: BenchOptions): Promise<Question> {
  const programs = await buildNativePrograms();
  const { servers, notes } = findServers(udpEchoLineUp(programs), await chooseBestBackend(options.backends));
  const { seconds, warmUpSeconds, batch: inFlight = 64 } = options;
  const load = { type: 'datagram', connections: 1, inFlight, seconds, warmUpSeconds } as const;
  const sizes = options.size === undefined ? [64, 1_200] : [options.size];
  const measure = (server: Server): Promise<Sample> =>
    sampleBySize(sizes, (size) => runMessageLoad(programs, server, { ...load, size }));
  return {
    title: 'udp-echo',
    work: `datagrams of ${sizes.join(' B, then of ')} B, ${inFlight} in flight from one socket, each sent back; every byte checked`,
    metrics: metricsBySize(metrics, sizes),
    contenders: servers.map(({ name, command }) => ({ name, measure: () => withServer(command, measure) })),
    notes,
  };
}
