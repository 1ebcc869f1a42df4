import { fileURLToPath } from 'node:url';
import type { Command } from './pinning.ts';

/** The root of the repository, without a slash at its end: every process of a bench runs there. */
export const repositoryRoot: string = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** What a bench builds stands here. */
export const buildFolder = 'build-bench';

/**
 * A server of this folder, run by this Node: compiled before, by {@link compileServers}, since a loader
 * of TypeScript would be measured with it.
 */
export function serverProgram(file: string, ...args: string[]): Command {
  const compiled = `${buildFolder}/js/${file.replace(/\.ts$/, '.js')}`;
  return { program: process.execPath, args: [compiled, ...args] };
}

/** A TypeScript program of this folder, run by this Node. */
export function nodeProgram(file: string, ...args: string[]): Command {
  return { program: process.execPath, args: ['--import', 'tsx', `bench/${file}`, ...args] };
}
