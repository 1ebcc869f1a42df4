import { setTimeout as delay } from 'node:timers/promises';
import { affordConnections } from './harness/descriptors.ts';
import { withHeldConnections } from './harness/held-connections.ts';
import { buildNativePrograms, type NativePrograms } from './harness/native-programs.ts';
import type { BenchOptions } from './harness/options.ts';
import { buildFolder } from './harness/paths.ts';
import type { Command } from './harness/pinning.ts';
import type { Metric, Question, Sample } from './harness/question.ts';
import { settledMemory } from './harness/resident-memory.ts';
import { type Server, withServer } from './harness/server.ts';
import { chooseBestBackend } from './ioloop-backends.ts';
import { awaitLines, type BenchServer, echoLineUp, findServers, onDataEcho, thatHold } from './line-up.ts';

/** Of as many connections as are held in the end, the share that is held at the first reading. */
const firstShare = 5 / 19;

const collectLimitMs = 20_000;
/** V8 gives the room of its young generation back only where little was allocated in the last five seconds. */
const idleMs = 6_000;
const collector = './bench/harness/collect-on-signal.ts';
const compiledCollector = `./${buildFolder}/js/harness/collect-on-signal.js`;

/** What makes a runtime collect its garbage at SIGUSR2; the others have none. */
const collectorFlags: Readonly<Partial<Record<BenchServer['runtime'], readonly string[]>>> = {
  node: ['--expose-gc', '--import', compiledCollector],
  bun: ['--expose-gc', '--preload', collector],
};

const metrics: readonly Metric[] = [
  {
    key: 'bytesPerConnection',
    label: 'bytes',
    meaning: "what the server's resident memory grew by from the first reading to the last, per connection",
    digits: 0,
    compared: true,
  },
  { key: 'firstMiB', label: 'first MiB', meaning: 'the first reading', digits: 1, compared: false },
  { key: 'lastMiB', label: 'last MiB', meaning: 'the last reading', digits: 1, compared: false },
];

/** What does an idle connection cost in memory? */
export async function memory(options: BenchOptions): Promise<Question> {
  const programs = await buildNativePrograms();
  const backends = await chooseBestBackend(options.backends);
  const wanted = options.connections ?? (options.quick ? 1_900 : 19_000);
  const { connections: last, notes: limits } = affordConnections(wanted);
  const first = Math.round(last * firstShare);
  const lineUp = echoLineUp(programs, onDataEcho, awaitLines());
  const { servers, notes } = thatHold(last, findServers(lineUp, backends));
  return {
    title: 'memory',
    work: `resident memory of a server that holds ${last} idle connections less that at ${first}, per connection`,
    metrics,
    contenders: servers.map((server) => ({
      name: server.name,
      // The limit holds nothing per connection: a ratio to it says nothing.
      against: 'node-net',
      measure: () => growth(programs, server, first, last, options.quick),
    })),
    notes: [
      'each connection has had a line answered; JavaScript servers collect their garbage before each reading, are idle for 6 s, and collect again',
      ...notes,
      ...limits,
    ],
  };
}

function growth(
  programs: NativePrograms,
  { command, runtime }: BenchServer,
  first: number,
  last: number,
  quick: boolean,
): Promise<Sample> {
  const flags = collectorFlags[runtime];
  const read = async (server: Server): Promise<number> => {
    if (flags !== undefined) {
      await collect(server);
      if (!quick) await delay(idleMs);
      await collect(server);
    }
    return settledMemory(server.pid);
  };
  return withServer(withFlags(command, flags), (server) =>
    withHeldConnections(programs, server, async (hold) => {
      await hold(first);
      const before = await read(server);
      await hold(last);
      const after = await read(server);
      return {
        bytesPerConnection: (after - before) / (last - first),
        firstMiB: before / 2 ** 20,
        lastMiB: after / 2 ** 20,
      };
    }),
  );
}

function withFlags({ program, args }: Command, flags: readonly string[] = []): Command {
  return { program, args: [...flags, ...args] };
}

async function collect(server: Server): Promise<void> {
  process.kill(server.pid, 'SIGUSR2');
  await server.nextLine(collectLimitMs);
}
