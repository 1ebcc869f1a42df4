import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { repositoryRoot } from './paths.ts';

const run = promisify(execFile);

/** Compiles the servers that Node runs, ours and its own. Rejects with what the compiler says. */
export async function compileServers(): Promise<void> {
  const compiler = `${repositoryRoot}/node_modules/.bin/tsc`;
  try {
    await run(compiler, ['-p', 'tsconfig.bench.json'], { cwd: repositoryRoot });
  } catch (cause) {
    const said = cause instanceof Error && 'stdout' in cause ? String(cause.stdout) : '';
    throw new Error(`the servers cannot be compiled; is the package built? (npm run build)\n${said}`, {
      cause,
    });
  }
}
