import { describeLoad, type Load, loadMetrics, serverContender } from './harness/load.ts';
import type { NativePrograms } from './harness/native-programs.ts';
import type { Contender, Question } from './harness/question.ts';
import type { BenchServer, FoundServers } from './line-up.ts';

/** What an operation costs those servers under `load`; where it has idle connections, beside them too. */
export function loadQuestion(load: Load, programs: NativePrograms, found: FoundServers): Question {
  const idle = load.idle > 0 ? `, with and without ${load.idle} idle ones beside them` : '';
  return {
    title: load.protocol,
    work: `${describeLoad(load)}${idle}; every byte checked`,
    metrics: loadMetrics,
    contenders: found.servers.flatMap((server) => contendersOf(server, programs, load)),
    notes: found.notes,
  };
}

/** The server under load alone and, where idle connections are asked for, beside them. */
function contendersOf(server: BenchServer, programs: NativePrograms, load: Load): Contender[] {
  const { name, command, maxConnections } = server;
  const alone = serverContender(name, command, programs, { ...load, idle: 0 });
  if (load.idle === 0) return [alone];
  const idle = Math.max(0, Math.min(load.idle, maxConnections - load.connections));
  return [alone, serverContender(`${name}+${idle}-idle`, command, programs, { ...load, idle }, name)];
}
