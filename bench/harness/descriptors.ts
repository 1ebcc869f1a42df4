import { execFileSync } from 'node:child_process';

/** What a process needs beside its connections, with room to spare. */
const reserved = 200;

/**
 * `wanted` connections, or as many as the limit of descriptors allows, with a note on it then.
 *
 * Node has raised its own limit as far as it may, and the programs that a bench starts inherit it.
 */
export function affordConnections(wanted: number): { connections: number; notes: string[] } {
  const limit = Number(execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim());
  // 'unlimited' is no number.
  if (Number.isNaN(limit) || wanted + reserved <= limit) return { connections: wanted, notes: [] };
  const connections = limit - reserved;
  return { connections, notes: [`ulimit -n is ${limit}: ${connections} connections in place of ${wanted}`] };
}
