import { fileURLToPath } from 'node:url';
import type { Command } from './pinning.ts';

/** The root of the repository, without a slash at its end: every process of a bench runs there. */
export const repositoryRoot: string = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** A TypeScript program of this folder, run by this Node. */
export function nodeProgram(file: string, ...args: string[]): Command {
  return { program: process.execPath, args: ['--import', 'tsx', `bench/${file}`, ...args] };
}
