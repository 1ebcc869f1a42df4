import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import * as assert from 'uvu/assert';

import { type RunningChild, startFile } from './child.ts';
import type { TestContext } from './suite.ts';
import { within } from './within.ts';

/** What a server says of itself. */
export interface Report {
  readonly open: number;
  readonly dropped: number;
  readonly shed: number;
  readonly errors: readonly string[];
  readonly port: number;
}

/** A server in a child that may have few descriptors open, and its clients here. It obeys lines, and answers in JSON. */
export class ScarceServer {
  readonly #child: RunningChild;
  readonly #answers: AsyncIterator<string>;
  readonly #clients: Socket[] = [];

  constructor(script: URL, args: readonly string[], defer: TestContext['defer'], openFiles = 512) {
    this.#child = startFile(script, { args, openFiles });
    const { stdout } = this.#child.process;
    if (stdout === null) throw new Error('the child has no standard output');
    this.#answers = createInterface(stdout)[Symbol.asyncIterator]();
    defer(() => this.#end());
  }

  async ask(command: string): Promise<unknown> {
    this.#child.process.stdin?.write(`${command}\n`);
    const { value, done } = await within(10_000, this.#answers.next(), `the answer to ${command}`);
    if (!done) return JSON.parse(value);
    const { code, signal, stderr } = await this.#child.result;
    throw new Error(`the server has ended (${signal ?? code}): ${stderr}`);
  }

  async report(): Promise<Report> {
    return (await this.ask('report')) as Report;
  }

  /** Connects `count` clients; for each whether it was served: else it was closed. */
  knock(port: number, count: number): Promise<boolean[]> {
    return Promise.all(Array.from({ length: count }, () => this.#knock(port)));
  }

  /** Ends those who were served, and waits until the server has heard it. */
  async leave(): Promise<void> {
    for (const client of this.#clients.splice(0)) client.destroy();
    while ((await this.report()).open > 0);
  }

  /** Ends those who have been served so far. */
  dismiss(): void {
    for (const client of this.#clients) if (client.bytesRead > 0) client.destroy();
  }

  async #knock(port: number): Promise<boolean> {
    const client = connect(port, '127.0.0.1');
    client.on('error', () => {});
    this.#clients.push(client);
    return within(
      10_000,
      Promise.race([once(client, 'data').then(() => true), once(client, 'close').then(() => false)]),
      'the end of waiting in the queue',
    );
  }

  async #end(): Promise<void> {
    for (const client of this.#clients) client.destroy();
    this.#child.process.stdin?.end();
    const { code, stderr } = await this.#child.result;
    assert.is(code, 0, stderr);
  }
}
