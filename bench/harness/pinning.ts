import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';

/** A program to run, and with what. */
export interface Command {
  readonly program: string;
  readonly args: readonly string[];
}

/** Server and generator each have a core of their own: neither takes the other's time. */
export const serverCore = 0;
export const generatorCore = 1;

const hasTaskset = spawnSync('taskset', ['-c', '0', 'true']).status === 0;

/** Whether this machine lets processes be pinned: util-linux's taskset and two cores. */
export const canPin: boolean = hasTaskset && availableParallelism() >= 2;

/** `command` on that core alone, as it is where nothing can be pinned. taskset execs: the pid is the program's. */
export function pinned(command: Command, core: number): Command {
  if (!canPin) return command;
  return { program: 'taskset', args: ['-c', String(core), command.program, ...command.args] };
}
