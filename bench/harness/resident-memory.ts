import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

const pauseMs = 100;
const steadyReadings = 3;
const limitMs = 5_000;

/**
 * Bytes of memory that a process holds (RSS), once that has stopped changing: allocators give pages
 * back in their own time. Where it goes on changing for seconds, what it is then.
 *
 * From smaps_rollup, which counts pages; the figure in statm is an estimate (proc_pid_statm(5)).
 */
export async function settledMemory(pid: number): Promise<number> {
  let memory = await residentMemory(pid);
  let steady = 1;
  for (let elapsedMs = 0; steady < steadyReadings && elapsedMs < limitMs; elapsedMs += pauseMs) {
    await delay(pauseMs);
    const now = await residentMemory(pid);
    steady = now === memory ? steady + 1 : 1;
    memory = now;
  }
  return memory;
}

async function residentMemory(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
  const kibibytes = /^Rss:\s+(\d+) kB$/m.exec(text)?.[1];
  if (kibibytes === undefined) throw new Error(`no Rss in /proc/${pid}/smaps_rollup`);
  return Number(kibibytes) * 1024;
}
