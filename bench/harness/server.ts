import { LineProgram } from './line-program.ts';
import { type Command, pinned, serverCore } from './pinning.ts';

const startLimitMs = 20_000;

/** A server in a process of its own, pinned to the server's core. */
export interface Server {
  readonly pid: number;
  /** Where it listens: '127.0.0.1:8000', or '@name' in the abstract namespace of Unix sockets. */
  readonly target: string;
  /** The next line that it prints after that. Rejects when it ends first or takes longer. */
  nextLine(limitMs: number): Promise<string>;
}

/**
 * Runs `use` against a server and ends the server after it, however `use` ends.
 *
 * A server prints its port on a line of its own when it listens on 127.0.0.1, '@' and its name when it
 * listens at an abstract one, and ends on SIGTERM.
 */
export async function withServer<T>(command: Command, use: (server: Server) => Promise<T>): Promise<T> {
  const program = new LineProgram(pinned(command, serverCore));
  try {
    const target = targetOf(await program.nextLine(startLimitMs));
    return await use({ pid: program.pid, target, nextLine: (limitMs) => program.nextLine(limitMs) });
  } finally {
    await program.stop();
  }
}

function targetOf(line: string): string {
  if (line.startsWith('@')) return line;
  const port = Number(line);
  if (!Number.isInteger(port) || port <= 0) throw new Error(`a server printed '${line}', not its port`);
  return `127.0.0.1:${port}`;
}
