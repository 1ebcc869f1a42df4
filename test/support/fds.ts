import { fstatSync, readdirSync, readlinkSync } from 'node:fs';

/** The open descriptors of this process by number, each with what it refers to. */
export type OpenFds = ReadonlyMap<number, string>;

const directory = process.platform === 'linux' ? '/proc/self/fd' : '/dev/fd';

/** What `fd` refers to, so that a number that was closed and reused is told from the old one. */
function describe(fd: number): string {
  if (process.platform === 'linux') return readlinkSync(`${directory}/${fd}`);
  const { dev, ino, mode } = fstatSync(fd);
  return `${mode.toString(8)} ${dev}:${ino}`;
}

/** The descriptors that are open now. On FreeBSD it sees those above 2 only where fdescfs is mounted. */
export function openFds(): OpenFds {
  const open = new Map<number, string>();
  for (const name of readdirSync(directory)) {
    const fd = Number(name);
    try {
      open.set(fd, describe(fd));
    } catch {
      // The descriptor of the listing itself, closed by now.
    }
  }
  return open;
}

/** What is open in `after` and was not in `before`, one line for each. */
export function newFds(before: OpenFds, after: OpenFds): string[] {
  return [...after]
    .filter(([fd, target]) => before.get(fd) !== target)
    .map(([fd, target]) => `${fd} ${target}`);
}

/**
 * Opens what Node opens once per process, so that no test is blamed for it: the pipe through which
 * libuv passes signals, child exits included.
 */
export function openLastingFds(): void {
  const ignore = (): void => {};
  process.on('SIGWINCH', ignore);
  process.off('SIGWINCH', ignore);
}
