import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker, type WorkerOptions } from 'node:worker_threads';

import { type ChildOptions, type ChildResult, root, runSource } from './child.ts';

let shared: string | undefined;

/**
 * A project of its own with the package in its node_modules, compiled from the sources as they are.
 *
 * Removed when the process ends.
 */
export function makeProject(): string {
  const project = realpathSync(mkdtempSync(join(tmpdir(), 'ioloop-project-')));
  process.once('exit', () => rmSync(project, { recursive: true, force: true }));
  const target = join(project, 'node_modules', 'ioloop');
  mkdirSync(target, { recursive: true });
  copyFileSync(join(root, 'package.json'), join(target, 'package.json'));
  for (const part of ['build', 'prebuilds', 'node_modules/node-gyp-build'])
    if (existsSync(join(root, part))) symlinkSync(join(root, part), join(target, '..', linkName(part)));
  const compiler = join(root, 'node_modules', '.bin', 'tsc');
  execFileSync(compiler, ['-p', 'tsconfig.build.json', '--outDir', join(target, 'dist')], { cwd: root });
  return project;
}

/** Where a part of the repository is linked to, from the project's node_modules. */
function linkName(part: string): string {
  return part.startsWith('node_modules/') ? part.slice('node_modules/'.length) : join('ioloop', part);
}

/** The project that the tests of this process share. */
export function project(): string {
  shared ??= makeProject();
  return shared;
}

/** The compiled package's main file, for `require` in a worker. */
export function compiledMain(): string {
  return join(project(), 'node_modules', 'ioloop', 'dist', 'index.js');
}

/** Runs `source`, an ES module whose imports are a user's ('ioloop', 'ioloop/raw'), in a child to its end. */
export function runInProject(source: string, options: ChildOptions = {}): Promise<ChildResult> {
  return runSource(source, { cwd: project(), plain: true, ...options });
}

/**
 * A thread that runs `source`, a CommonJS script in which `ioloop`, `raw`, `parentPort` and
 * `workerData` are declared. Nothing but it loads the addon there.
 */
export function startWorker(source: string, options: WorkerOptions = {}): Worker {
  const main = JSON.stringify(compiledMain());
  const prelude = `
    const { parentPort, workerData } = require('node:worker_threads');
    const ioloop = require(${main});
    const raw = require(${main.replace('index.js', 'raw.js')});
  `;
  return new Worker(prelude + source, { eval: true, execArgv: [], ...options });
}
