import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { repositoryRoot } from './paths.ts';
import type { Command } from './pinning.ts';

const stopLimitMs = 5_000;

/** A running program that is spoken with in lines. What it has to complain about goes to our stderr. */
export class LineProgram {
  readonly #name: string;
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;
  readonly #exited: Promise<unknown>;

  constructor({ program, args }: Command) {
    this.#name = [program, ...args].join(' ');
    this.#child = spawn(program, [...args], { cwd: repositoryRoot, stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    // A program that cannot be started says so here; its lines then end at once.
    this.#exited = once(this.#child, 'exit').catch((error: unknown) => error);
    this.#child.stdin.on('error', () => {});
  }

  /** @throws Error when it did not start. */
  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`${this.#name} did not start`);
    return this.#child.pid;
  }

  /** The next line that it prints. Rejects when it ends first or takes longer than `limitMs`. */
  async nextLine(limitMs: number): Promise<string> {
    const clock = new AbortController();
    const late = delay(limitMs, undefined, { signal: clock.signal }).then(() => {
      throw new Error(`${this.#name} printed nothing for ${limitMs} ms`);
    });
    try {
      const { done, value } = await Promise.race([this.#lines.next(), late]);
      if (done !== true) return value;
      throw new Error(`${this.#name} (${this.pid}) ended without printing what was expected`);
    } finally {
      clock.abort();
    }
  }

  writeLine(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  /** Ends its input and waits for it. Rejects when its status is not 0. */
  async finish(): Promise<void> {
    this.#child.stdin.end();
    await this.#exited;
    if (this.#child.exitCode !== 0) {
      throw new Error(`${this.#name} ended with ${this.#child.exitCode ?? this.#child.signalCode}`);
    }
  }

  /** Ends it by SIGTERM, by SIGKILL where that takes seconds; no effect once it has ended. */
  async stop(): Promise<void> {
    const { pid, exitCode, signalCode } = this.#child;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), stopLimitMs);
    await this.#exited;
    clearTimeout(timer);
  }
}
