import { runGenerator } from './generator.ts';
import type { NativePrograms } from './native-programs.ts';
import type { BenchOptions } from './options.ts';
import type { Command } from './pinning.ts';
import type { Contender, Metric, Sample } from './question.ts';
import { mapAt, numberAt } from './run-program.ts';
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

/** What the load generator does to a server. */
export interface Load extends Pick<BenchOptions, 'idle' | 'seconds' | 'warmUpSeconds'> {
  /** A name that `ioloop-load --protocol` knows. */
  readonly protocol: 'echo' | 'lines' | 'accept';
  readonly connections: number;
  readonly size: number;
  readonly pipeline: number;
}

/** The load that `options` ask for: 64 bytes on 50 connections, one request in flight on each, by default. */
export function loadOf(options: BenchOptions, protocol: Load['protocol'], pipeline = 1): Load {
  const { connections = 50, size = 64 } = options;
  return { ...options, protocol, connections, size, pipeline: options.pipeline ?? pipeline };
}

/** What an operation is, by protocol. */
const operations: Readonly<Record<Load['protocol'], string>> = {
  echo: 'a message and its echo',
  lines: 'a line, awaited and sent back by a write of its own',
  accept: 'connect, one message and its echo, close',
};

/** `load` in words, for the title of a report. */
export function describeLoad({ connections, size, protocol, pipeline }: Load): string {
  return `${operations[protocol]}; ${connections} connections, ${size} B, ${pipeline} in flight on each`;
}

/** A contender that is a server: a fresh process under a fresh load for every measurement. */
export function serverContender(
  name: string,
  command: Command,
  programs: NativePrograms,
  load: Load,
  against?: string,
): Contender {
  return {
    name,
    against,
    measure: () => withServer(command, (server) => runLoad(programs, server, load)),
  };
}

/** Puts load on `server`. Rejects when an answer is wrong, missing or late by seconds. */
async function runLoad(programs: NativePrograms, server: Server, load: Load): Promise<Sample> {
  const args = [
    `--protocol=${load.protocol}`,
    `--connections=${load.connections}`,
    `--idle=${load.idle}`,
    `--size=${load.size}`,
    `--pipeline=${load.pipeline}`,
    `--warmup=${load.warmUpSeconds}`,
    `--seconds=${load.seconds}`,
  ];
  const figures = await runGenerator(programs.load, server, args);
  return { ...readInterval(figures), ...readLatencies(figures) };
}

/** What a generator says of its counted interval. */
export function readInterval(figures: ReadonlyMap<string, unknown>): Sample {
  return Object.fromEntries(intervalKeys.map((key) => [key, numberAt(figures, key)]));
}

/** How long answers took, where a generator says so. */
export function readLatencies(figures: ReadonlyMap<string, unknown>): Sample {
  const latency = mapAt(figures, 'latencyUs');
  return Object.fromEntries([...latency.keys()].map((share) => [`${share}Us`, numberAt(latency, share)]));
}

const intervalKeys = [
  'operations',
  'seconds',
  'serverCpuUs',
  'serverUserUs',
  'serverSystemUs',
  'cpuUsPerOp',
  'opsPerSecond',
  'serverCpu',
  'generatorCpu',
];
