import { loadMetrics } from './harness/load.ts';
import { type MessageLoad, runMessageLoad } from './harness/message-load.ts';
import { buildNativePrograms, type NativePrograms } from './harness/native-programs.ts';
import type { BenchOptions } from './harness/options.ts';
import type { Contender, Question } from './harness/question.ts';
import { withServer } from './harness/server.ts';
import { chooseBestBackend } from './ioloop-backends.ts';
import { type FoundServers, findServers } from './line-up.ts';
import { seqpacketLineUp, unixDatagramLineUp } from './message-line-up.ts';

/** What does a round trip cost by Unix datagrams, and by seqpacket connections? */
export async function unixMessages(options: BenchOptions): Promise<Question> {
  const programs = await buildNativePrograms();
  const backends = await chooseBestBackend(options.backends);
  const { connections = 50, size = 64, seconds, warmUpSeconds } = options;
  const load = { connections, size, inFlight: 1, seconds, warmUpSeconds };
  const datagrams = findServers(unixDatagramLineUp(programs), backends);
  const seqpacket = findServers(seqpacketLineUp(programs), backends);
  return {
    title: 'unix-messages',
    work: `a message and its echo in the Unix domain; ${connections} sockets, ${size} B, 1 in flight on each; every byte checked`,
    metrics: loadMetrics,
    contenders: [
      ...contendersOf(datagrams, programs, { ...load, type: 'datagram' }),
      ...contendersOf(seqpacket, programs, { ...load, type: 'seqpacket' }),
    ],
    notes: [
      'Node and Bun have neither Unix datagrams nor seqpacket, and are left out',
      ...new Set([...datagrams.notes, ...seqpacket.notes]),
    ],
  };
}

/** Each is held against the limit of its own type of socket. */
function contendersOf({ servers }: FoundServers, programs: NativePrograms, load: MessageLoad): Contender[] {
  const against = `${load.type}/${servers[0]?.name}`;
  return servers.map(({ name, command }) => ({
    name: `${load.type}/${name}`,
    against,
    measure: () => withServer(command, (server) => runMessageLoad(programs, server, load)),
  }));
}
