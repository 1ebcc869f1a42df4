import type { NativePrograms } from './native-programs.ts';
import type { BenchOptions } from './options.ts';
import { type Command, canPin, generatorCore } from './pinning.ts';
import type { Contender, Metric, Sample } from './question.ts';
import { mapAt, numberAt, runForJson } from './run-program.ts';
import { type Server, withServer } from './server.ts';

/** What every server under load is measured by. */
export const loadMetrics: readonly Metric[] = [
  {
    key: 'cpuUsPerOp',
    label: 'CPU us/op',
    meaning: 'user and system time of the server process, all threads, per answered request',
    digits: 3,
    compared: true,
  },
  {
    key: 'opsPerSecond',
    label: 'ops/s',
    meaning: 'answered requests a second; says little on a shared machine',
    digits: 0,
    compared: false,
  },
  {
    key: 'p50Us',
    label: 'p50 us',
    meaning: 'median time from the send of a batch to an answer of it, at full load',
    digits: 0,
    compared: false,
  },
  {
    key: 'p99Us',
    label: 'p99 us',
    meaning: 'the same time, not exceeded by 99 of 100 answers',
    digits: 0,
    compared: false,
  },
  {
    key: 'serverCpu',
    label: 'server',
    meaning: 'cores that the server kept busy',
    digits: 2,
    compared: false,
  },
  {
    key: 'generatorCpu',
    label: 'generator',
    meaning: 'cores that the generator kept busy: where it is 1 and the server below, ops/s is its limit',
    digits: 2,
    compared: false,
  },
];

type LoadOptions = Pick<
  BenchOptions,
  'protocol' | 'connections' | 'idle' | 'size' | 'pipeline' | 'seconds' | 'warmUpSeconds'
>;

/** A contender that is a server: a fresh process under a fresh load for every measurement. */
export function serverContender(
  name: string,
  command: Command,
  programs: NativePrograms,
  options: LoadOptions,
  against?: string,
): Contender {
  return {
    name,
    against,
    measure: () => withServer(command, (server) => runLoad(programs, server, options)),
  };
}

/** Puts load on `server`. Rejects when an answer is wrong, missing or late by seconds. */
async function runLoad(programs: NativePrograms, server: Server, options: LoadOptions): Promise<Sample> {
  const args = [
    `--protocol=${options.protocol}`,
    `--connections=${options.connections}`,
    `--idle=${options.idle}`,
    `--size=${options.size}`,
    `--pipeline=${options.pipeline}`,
    `--warmup=${options.warmUpSeconds}`,
    `--seconds=${options.seconds}`,
    `--server-pid=${server.pid}`,
    ...(canPin ? [`--cpu=${generatorCore}`] : []),
    `127.0.0.1:${server.port}`,
  ];
  const figures = await runForJson({ program: programs.load, args });
  const latency = mapAt(figures, 'latencyUs');
  return {
    operations: numberAt(figures, 'operations'),
    seconds: numberAt(figures, 'seconds'),
    serverCpuUs: numberAt(figures, 'serverCpuUs'),
    serverUserUs: numberAt(figures, 'serverUserUs'),
    serverSystemUs: numberAt(figures, 'serverSystemUs'),
    cpuUsPerOp: numberAt(figures, 'cpuUsPerOp'),
    opsPerSecond: numberAt(figures, 'opsPerSecond'),
    serverCpu: numberAt(figures, 'serverCpu'),
    generatorCpu: numberAt(figures, 'generatorCpu'),
    p50Us: numberAt(latency, 'p50'),
    p90Us: numberAt(latency, 'p90'),
    p99Us: numberAt(latency, 'p99'),
    'p99.9Us': numberAt(latency, 'p99.9'),
    maxUs: numberAt(latency, 'max'),
  };
}
