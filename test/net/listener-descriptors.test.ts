import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import * as assert from 'uvu/assert';

import { IOLoop } from '../../src/index.ts';
import { type RunningChild, startFile } from '../support/child.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { within } from '../support/within.ts';

const SERVER = new URL('scarce-server.ts', import.meta.url);
const THREADS = new URL('scarce-threads.ts', import.meta.url);

interface Report {
  readonly open: number;
  readonly dropped: number;
  readonly shed: number;
  readonly errors: readonly string[];
  readonly port: number;
}

/** A server in a child that may have few descriptors open, and its clients here. */
class ScarceServer {
  readonly #child: RunningChild;
  readonly #answers: AsyncIterator<string>;
  readonly #clients: Socket[] = [];

  constructor(backend: string, defer: TestContext['defer'], script: URL = SERVER, openFiles = 64) {
    this.#child = startFile(script, { args: [backend], openFiles });
    const { stdout } = this.#child.process;
    if (stdout === null) throw new Error('the child has no standard output');
    this.#answers = createInterface(stdout)[Symbol.asyncIterator]();
    defer(() => this.#end());
  }

  async ask(command: string): Promise<unknown> {
    this.#child.process.stdin?.write(`${command}\n`);
    const { value } = await within(10_000, this.#answers.next(), `the answer to ${command}`);
    return JSON.parse(value);
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

for (const backend of IOLoop.backends)
  suite(`a listener without descriptors on ${backend}`, { limitMs: 30_000 }, (test) => {
    test('closes whom it cannot serve, makes no turn for it, and serves again', async ({ defer }) => {
      const server = new ScarceServer(backend, defer);
      await server.ask('listen');
      const { port } = await server.report();
      const served = (await server.knock(port, 200)).filter(Boolean).length;
      const { open, dropped, shed, errors } = await server.report();
      assert.ok(served > 0 && served < 64, `${served} were served`);
      assert.equal([open, dropped, shed, errors], [served, 200 - served, 200 - served, []]);
      assert.is(await server.ask('turns'), 0);
      await server.leave();
      assert.equal(await server.knock(port, 8), Array(8).fill(true));
    });

    test('looks away where its reserve is lost, and serves once there is one again', async ({ defer }) => {
      const server = new ScarceServer(backend, defer);
      await server.ask('hoard');
      await server.ask('listen');
      const { port } = await server.report();
      const waiting = server.knock(port, 4);
      const turns = Number(await server.ask('turns'));
      // Retries after 10, 20, 40, 80, 160 and 320 ms: a turn for the timer, and one for the queue.
      assert.ok(turns > 0 && turns <= 16, `${turns} turns in half a second`);
      await server.ask('free');
      assert.equal(await waiting, Array(4).fill(true));
      assert.equal((await server.report()).shed, 0);
      await server.ask('hoard');
      assert.equal(await server.knock(port, 4), Array(4).fill(false));
    });

    // A thread may take the number that another has freed to shed, so some wait until descriptors are free.
    test('shares the limit with the listeners of three other threads', async ({ defer }) => {
      const server = new ScarceServer(backend, defer, THREADS, 160);
      const { port } = await server.report();
      let settled = false;
      const outcomes = server.knock(port, 300).finally(() => {
        settled = true;
      });
      while ((await server.report()).dropped === 0);
      while (!settled) {
        server.dismiss();
        await server.report();
      }
      const served = (await outcomes).filter(Boolean).length;
      assert.is((await server.report()).dropped, 300 - served);
      await server.leave();
      assert.equal(await server.knock(port, 8), Array(8).fill(true));
    });
  });
