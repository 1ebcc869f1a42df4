import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { repositoryRoot } from './paths.ts';

const python = '/usr/bin/python3';

/** Where Bun is: on PATH or among this package's own modules. */
export function findBun(): string | undefined {
  if (spawnSync('bun', ['--version']).status === 0) return 'bun';
  const local = `${repositoryRoot}/node_modules/.bin/bun`;
  return existsSync(local) ? local : undefined;
}

/** The system's Python, where that has `module`: Tornado and uvloop are Debian packages. */
export function findPythonWith(module: string): string | undefined {
  return spawnSync(python, ['-c', `import ${module}`]).status === 0 ? python : undefined;
}
