import { type Command, canPin, generatorCore } from './pinning.ts';
import { runForJson } from './run-program.ts';
import type { Server } from './server.ts';

/**
 * One of the generators of bench/native, aimed at `server`.
 *
 * @param core Where it runs; not the server's, so that neither takes the other's time.
 */
export function generatorCommand(
  program: string,
  server: Server,
  args: readonly string[],
  core: number = generatorCore,
): Command {
  const pinning = canPin ? [`--cpu=${core}`] : [];
  return {
    program,
    args: [...args, `--server-pid=${server.pid}`, ...pinning, server.target],
  };
}

/** Runs it to its end and reads its figures. Rejects when an answer is wrong, missing or late by seconds. */
export function runGenerator(
  ...aim: Parameters<typeof generatorCommand>
): Promise<ReadonlyMap<string, unknown>> {
  return runForJson(generatorCommand(...aim));
}
