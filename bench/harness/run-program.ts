import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { repositoryRoot } from './paths.ts';
import type { Command } from './pinning.ts';

const run = promisify(execFile);
const limitMs = 300_000;

/**
 * Runs a program to its end and reads the JSON object that it prints.
 *
 * Rejects, with what stood on stderr, when the program's status is not 0.
 */
export async function runForJson(command: Command): Promise<ReadonlyMap<string, unknown>> {
  const { stdout } = await run(command.program, [...command.args], {
    cwd: repositoryRoot,
    timeout: limitMs,
  });
  const value: unknown = JSON.parse(stdout);
  if (typeof value !== 'object' || value === null) throw new TypeError(`no JSON object: ${stdout}`);
  return new Map(Object.entries(value));
}

/** The number under `key`. @throws TypeError when there is none. */
export function numberAt(values: ReadonlyMap<string, unknown>, key: string): number {
  const value = values.get(key);
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw new TypeError(`'${key}' is no number: ${String(value)}`);
}

/** The numbers of the object under `key`. @throws TypeError when there is none. */
export function mapAt(values: ReadonlyMap<string, unknown>, key: string): ReadonlyMap<string, unknown> {
  const value = values.get(key);
  if (typeof value === 'object' && value !== null) return new Map(Object.entries(value));
  throw new TypeError(`'${key}' is no object: ${String(value)}`);
}
