import { execFile } from 'node:child_process';
import { basename } from 'node:path';
import { promisify } from 'node:util';
import { buildFolder, repositoryRoot } from './paths.ts';

const run = promisify(execFile);
const programs = {
  load: pathOf('ioloop-load'),
  burst: pathOf('ioloop-burst'),
  hold: pathOf('ioloop-hold'),
  drip: pathOf('ioloop-drip'),
  messages: pathOf('ioloop-messages'),
  flood: pathOf('ioloop-flood'),
  rawEcho: pathOf('ioloop-raw-echo'),
  rawLines: pathOf('ioloop-raw-lines'),
  rawDatagramEcho: pathOf('ioloop-raw-datagram-echo'),
  rawDatagramCount: pathOf('ioloop-raw-datagram-count'),
  rawWake: pathOf('ioloop-raw-wake'),
} as const;

/** Paths of what bench/native builds. */
export type NativePrograms = typeof programs;

/**
 * Builds the generators and the raw-epoll references with CMake, or finds them up to date.
 *
 * Rejects with what to do about it when that fails.
 */
export async function buildNativePrograms(): Promise<NativePrograms> {
  const targets = Object.values(programs).map((path) => basename(path));
  const configure = ['-S', '.', '-B', buildFolder, '-DIOLOOP_BENCH=ON', '-DCMAKE_BUILD_TYPE=Release'];
  const build = ['--build', buildFolder, '--parallel', '2', '--target', ...targets];
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
  return programs;
}

function pathOf(name: string): string {
  return `${repositoryRoot}/${buildFolder}/bench/native/${name}`;
}
