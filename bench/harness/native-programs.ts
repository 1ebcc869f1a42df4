import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { repositoryRoot } from './paths.ts';

const run = promisify(execFile);
const folder = 'build-bench';

/** Paths of what bench/native builds. */
export interface NativePrograms {
  readonly load: string;
  readonly rawEcho: string;
  readonly rawWake: string;
}

/**
 * Builds the load generator and the raw-epoll references with CMake, or finds them up to date.
 *
 * Rejects with what to do about it when that fails.
 */
export async function buildNativePrograms(): Promise<NativePrograms> {
  const targets = ['ioloop-load', 'ioloop-raw-echo', 'ioloop-raw-wake'];
  const configure = ['-S', '.', '-B', folder, '-DIOLOOP_BENCH=ON', '-DCMAKE_BUILD_TYPE=Release'];
  const build = ['--build', folder, '--parallel', '2', '--target', ...targets];
  for (const args of [configure, build]) {
    try {
      await run('cmake', args, { cwd: repositoryRoot });
    } catch (cause) {
      throw new Error(
        `the native programs cannot be built: this needs Linux, CMake 3.18 and a C++20 compiler.\n` +
          `What failed is: cmake ${args.join(' ')}`,
        { cause },
      );
    }
  }
  return {
    load: `${repositoryRoot}/${folder}/bench/native/ioloop-load`,
    rawEcho: `${repositoryRoot}/${folder}/bench/native/ioloop-raw-echo`,
    rawWake: `${repositoryRoot}/${folder}/bench/native/ioloop-raw-wake`,
  };
}
