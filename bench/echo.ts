import { loadMetrics, serverContender } from './harness/load.ts';
import { buildNativePrograms, type NativePrograms } from './harness/native-programs.ts';
import type { BenchOptions } from './harness/options.ts';
import { nodeProgram } from './harness/paths.ts';
import type { Command } from './harness/pinning.ts';
import type { Contender, Question } from './harness/question.ts';
import { findBun, findPythonWith } from './harness/runtimes.ts';
import { chooseBackends } from './ioloop-backends.ts';

/** The same server in one more way of writing it. */
interface EchoServer {
  readonly name: string;
  readonly command: Command;
  /** The greatest number of idle connections that it can hold beside the active ones. */
  readonly maxIdle: number;
}

/** select(2) takes numbers below 1024: room for the active connections and the process's own. */
const maxIdleOnSelect = 900;

/** What does an echo cost, at the level of handlers and descriptors? With --idle: beside idle connections? */
export async function echo(options: BenchOptions): Promise<Question> {
  const programs = await buildNativePrograms();
  const { servers, notes } = await findServers(programs, options);
  const idle = options.idle > 0 ? `, with and without ${options.idle} idle ones beside them` : '';
  return {
    title: 'echo',
    work:
      `${options.connections} connections, ${options.size} B, ${options.protocol}, ` +
      `pipeline ${options.pipeline}${idle}; every byte checked`,
    metrics: loadMetrics,
    contenders: servers.flatMap((server) => contendersOf(server, programs, options)),
    notes,
  };
}

/** The server under load alone and, where idle connections are asked for, beside them. */
function contendersOf(server: EchoServer, programs: NativePrograms, options: BenchOptions): Contender[] {
  const { name, command } = server;
  const alone = serverContender(name, command, programs, { ...options, idle: 0 });
  if (options.idle === 0) return [alone];
  const idle = Math.min(options.idle, server.maxIdle);
  return [alone, serverContender(`${name}+${idle}-idle`, command, programs, { ...options, idle }, name)];
}

async function findServers(
  programs: NativePrograms,
  options: BenchOptions,
): Promise<{ servers: EchoServer[]; notes: string[] }> {
  const servers: EchoServer[] = [
    { name: 'raw-epoll', command: { program: programs.rawEcho, args: [] }, maxIdle: Infinity },
  ];
  for (const backend of await chooseBackends(options.backends)) {
    servers.push({
      name: `ioloop-${backend}`,
      command: nodeProgram('servers/handler-echo.ts', backend),
      maxIdle: backend === 'select' ? maxIdleOnSelect : Infinity,
    });
  }
  servers.push({ name: 'node-net', command: nodeProgram('peers/node-net-echo.ts'), maxIdle: Infinity });
  const notes: string[] = [];
  const peers: readonly (readonly [string, string | undefined, string])[] = [
    ['bun', findBun(), 'bench/peers/bun-echo.ts'],
    ['tornado', findPythonWith('tornado'), 'bench/peers/tornado_echo.py'],
    ['uvloop', findPythonWith('uvloop'), 'bench/peers/uvloop_echo.py'],
  ];
  for (const [name, program, file] of peers) {
    if (program === undefined) notes.push(`${name} is not installed here and is left out`);
    else servers.push({ name, command: { program, args: [file] }, maxIdle: Infinity });
  }
  return { servers, notes };
}
