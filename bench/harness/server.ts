import { LineProgram } from './line-program.ts';
import { type Command, pinned, serverCore } from './pinning.ts';

const startLimitMs = 20_000;

/** A server in a process of its own, pinned to the server's core. */
export interface Server {
  readonly pid: number;
  readonly port: number;
  /** The next line that it prints after its port. Rejects when it ends first or takes longer. */
  nextLine(limitMs: number): Promise<string>;
}

/**
 * Runs `use` against a server and ends the server after it, however `use` ends.
 *
 * A server prints its port on a line of its own when it listens on 127.0.0.1, and ends on SIGTERM.
 */
export async function withServer<T>(command: Command, use: (server: Server) => Promise<T>): Promise<T> {
  const program = new LineProgram(pinned(command, serverCore));
  try {
    const line = await program.nextLine(startLimitMs);
    const port = Number(line);
    if (!Number.isInteger(port) || port <= 0) throw new Error(`a server printed '${line}', not its port`);
    return await use({ pid: program.pid, port, nextLine: (limitMs) => program.nextLine(limitMs) });
  } finally {
    await program.stop();
  }
}
