import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { repositoryRoot } from './paths.ts';
import { type Command, pinned, serverCore } from './pinning.ts';

const startLimitMs = 20_000;
const stopLimitMs = 5_000;

/** A server in a process of its own, pinned to the server's core. */
export interface Server {
  readonly pid: number;
  readonly port: number;
}

/**
 * Runs `use` against a server and ends the server after it, however `use` ends.
 *
 * A server prints its port on a line of its own when it listens on 127.0.0.1, and ends on SIGTERM.
 */
export async function withServer<T>(command: Command, use: (server: Server) => Promise<T>): Promise<T> {
  const { program, args } = pinned(command, serverCore);
  const child = spawn(program, args, { cwd: repositoryRoot, stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const port = await readPort(child, command);
    if (child.pid === undefined) throw new Error(`${command.program} has no process id`);
    return await use({ pid: child.pid, port });
  } finally {
    await stop(child);
  }
}

async function readPort(child: ChildProcess, command: Command): Promise<number> {
  const name = [command.program, ...command.args].join(' ');
  if (child.stdout === null) throw new Error(`${name} has no standard output`);
  const lines = createInterface({ input: child.stdout });
  const signal = AbortSignal.timeout(startLimitMs);
  const failed = once(child, 'error', { signal }).then(([error]) => {
    throw new Error(`${name} did not start`, { cause: error });
  });
  const ended = once(lines, 'close', { signal }).then(() => {
    throw new Error(`${name} ended without printing its port`);
  });
  const printed = once(lines, 'line', { signal }).then(([line]) => Number(line));
  const port = await Promise.race([printed, failed, ended]);
  if (Number.isInteger(port) && port > 0) return port;
  throw new Error(`${name} printed something else than its port first`);
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), stopLimitMs);
  await exited;
  clearTimeout(timer);
}
