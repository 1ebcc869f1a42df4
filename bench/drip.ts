import { runGenerator } from './harness/generator.ts';
import { buildNativePrograms, type NativePrograms } from './harness/native-programs.ts';
import type { BenchOptions } from './harness/options.ts';
import { serverCore } from './harness/pinning.ts';
import type { Metric, Question, Sample } from './harness/question.ts';
import { numberAt } from './harness/run-program.ts';
import { type Server, withServer } from './harness/server.ts';
import { chooseBestBackend } from './ioloop-backends.ts';
import { awaitLines, findServers, linesLineUp } from './line-up.ts';

const kibibyte = 1024;

/** What does a byte of a line cost that arrives byte by byte, and does that grow with the line? */
export async function drip(options: BenchOptions): Promise<Question> {
  const programs = await buildNativePrograms();
  const backends = await chooseBestBackend(options.backends);
  const sizes = (options.quick ? [4, 8, 16] : [256, 512, 1_024]).map((size) => size * kibibyte);
  const lineUp = linesLineUp(programs, awaitLines(2 * Math.max(...sizes)));
  // Twisted's LineReceiver copies and searches the whole line for each byte: minutes for the last size.
  const { twisted, ...peers } = lineUp.peers;
  const { servers, notes } = findServers({ ...lineUp, peers }, backends);
  return {
    title: 'drip',
    work: `one line of ${sizes.map(inKibibytes).join(', ')} KiB, each byte sent once the one before has been read`,
    metrics: metricsOf(sizes),
    contenders: servers.map(({ name, command }) => ({
      name,
      measure: () => withServer(command, (server) => measure(programs, server, sizes)),
    })),
    notes: [
      'server and generator take turns on one core: to wake another for each byte costs more',
      ...notes,
    ],
  };
}

function metricsOf(sizes: readonly number[]): Metric[] {
  const perByte = sizes.map((size, index): Metric => {
    const what = index === 0 ? 'user and system time of the server process per byte' : 'the same';
    return {
      key: keyOf(size),
      label: `${inKibibytes(size)} KiB`,
      meaning: `${what}, microseconds, in a line of ${inKibibytes(size)} KiB`,
      digits: 2,
      compared: index === sizes.length - 1,
    };
  });
  const times = Math.max(...sizes) / Math.min(...sizes);
  const growth: Metric = {
    key: 'growth',
    label: 'growth',
    meaning: `the last of these by the first: 1 where work is linear in the line, up to ${times} where it is quadratic`,
    digits: 2,
    compared: false,
  };
  return [...perByte, growth];
}

async function measure(programs: NativePrograms, server: Server, sizes: readonly number[]): Promise<Sample> {
  const sample: Record<string, number> = {};
  const costs: number[] = [];
  for (const size of sizes) {
    const args = ['--protocol=lines', `--size=${size}`];
    const cost = numberAt(await runGenerator(programs.drip, server, args, serverCore), 'cpuUsPerByte');
    sample[keyOf(size)] = cost;
    costs.push(cost);
  }
  return { ...sample, growth: (costs.at(-1) ?? Number.NaN) / (costs[0] ?? Number.NaN) };
}

const keyOf = (size: number): string => `cpuUsPerByteAt${inKibibytes(size)}KiB`;
const inKibibytes = (size: number): number => size / kibibyte;
