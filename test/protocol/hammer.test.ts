import * as assert from 'uvu/assert';

import { IOLoop } from '../../src/index.ts';
import { ClientFactory } from '../../src/protocol/client-factory.ts';
import { connectTcp } from '../../src/protocol/connect.ts';
import { listenTcp } from '../../src/protocol/listen.ts';
import type { ListeningPort } from '../../src/protocol/listening-port.ts';
import { Factory, type Protocol } from '../../src/protocol/protocol.ts';
import type { StartTlsOptions } from '../../src/stream/io-stream.ts';
import { authority, localhost } from '../support/certificates.ts';
import { HalfOpenHammerSide, HammerSide } from '../support/hammer.ts';
import { HammerRun } from '../support/hammer-run.ts';
import { Random } from '../support/random.ts';
import { portOf } from '../support/servers.ts';
import { simNetwork } from '../support/sim.ts';
import { turnsUntil } from '../support/streams.ts';
import { suite } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { nextTurn } from '../support/turns.ts';

const HOST = '127.0.0.1';
/** Clients and sides that are connected at a time. */
const MOST_OPEN = 300;
/** Connections between two stops of the server. */
const PER_ROUND = 500;

const AS_SERVER: StartTlsOptions = { server: true, ...localhost };
const AS_CLIENT: StartTlsOptions = { ca: authority, servername: 'localhost' };
/** One that does not trust the server. */
const AS_STRANGER: StartTlsOptions = { servername: 'localhost' };

/** A server and its clients: each side of each connection does as chance has it. */
class Round {
  readonly #run: HammerRun;
  readonly #random: Random;
  readonly #clients: HammerSide[] = [];
  readonly #servers: HammerSide[] = [];

  constructor(run: HammerRun, random: Random) {
    this.#run = run;
    this.#random = random;
  }

  /** Makes `connections`, of which one in so many shakes hands first; stops the server, on the way perhaps. */
  async strike(connections: number, encryptedOneIn: number): Promise<void> {
    const { loop } = this.#run;
    const ports = [await this.#listen(null), await this.#listen(AS_SERVER)] as const;
    const [plain, secured] = ports.map((port) => portOf(port.getHost()));
    const stopAt = Math.ceil(connections * 0.75) + this.#random.below(Math.ceil(connections / 2));
    let stopped: Promise<unknown> = Promise.resolve();
    for (let number = 0; number < connections; number++) {
      if (number === stopAt) stopped = this.#stop(ports);
      const tls = number % encryptedOneIn > 0 ? null : this.#random.below(4) > 0 ? AS_CLIENT : AS_STRANGER;
      this.#run.open++;
      connectTcp(HOST, (tls === null ? plain : secured) ?? 0, this.#clientsOf(number, tls), { loop });
      await this.#run.untilOpen(MOST_OPEN);
      if (this.#random.below(4) === 0) await nextTurn(loop);
    }
    await stopped;
    if (stopAt >= connections) await this.#run.untilOpen(0);
    await this.#stop(ports);
    await this.#run.untilOpen(0);
    // What came last may still have an error to tell.
    await nextTurn(loop);
    this.#check();
  }

  #listen(tls: StartTlsOptions | null): Promise<ListeningPort> {
    const { loop, onError } = this.#run;
    const factory = new Factory();
    factory.buildProtocol = () => this.#build(this.#servers, -1, tls);
    return listenTcp(0, factory, { loop, interface: HOST, onError });
  }

  #clientsOf(number: number, tls: StartTlsOptions | null): ClientFactory {
    const factory = new ClientFactory();
    factory.buildProtocol = () => this.#build(this.#clients, number, tls);
    factory.clientConnectionFailed = () => this.#run.closed();
    factory.clientConnectionLost = () => this.#run.closed();
    return factory;
  }

  #build(sides: HammerSide[], number: number, tls: StartTlsOptions | null): Protocol | null {
    const chance = this.#random.below(100);
    if (chance === 0) return null;
    const Side = chance % 2 === 0 ? HammerSide : HalfOpenHammerSide;
    const side = new Side(this.#run, new Random(this.#random.below(0x7fffffff)), number, tls);
    sides.push(side);
    if (chance === 1) throw side.anError();
    return side;
  }

  async #stop(ports: readonly ListeningPort[]): Promise<void> {
    const graceMs = this.#random.below(2) === 0 ? this.#random.below(10) : 60_000;
    for (const side of [...this.#clients, ...this.#servers]) side.isDisturbed ||= side.lost === 0;
    await Promise.all(ports.map((port) => port.close({ graceMs })));
  }

  /** Each side was told its end once, and heard what it should. */
  #check(): void {
    const clients = new Map(this.#clients.map((side) => [side.number, side]));
    for (const side of [...this.#clients, ...this.#servers]) assert.is(side.lost, side.made);
    for (const server of this.#servers) {
      const client = clients.get(server.number);
      if (client === undefined) continue;
      isHeard(client, server);
      isHeard(server, client);
    }
    const { failures, thrown } = this.#run;
    if (failures.length > 0)
      throw new Error(`onError was told: ${failures.join('; ')}`, { cause: failures[0] });
    if (thrown.size > 0) throw new Error(`nobody was told: ${[...thrown].join('; ')}`);
  }
}

/** What `receiver` has, a prefix as was checked, is no more than was sent; or all of it. */
function isHeard(sender: HammerSide, receiver: HammerSide): void {
  assert.ok(receiver.heard <= sender.written, `${receiver.heard} of ${sender.written} bytes`);
  if (sender.hasDelivered && receiver.isPassive) assert.is(receiver.heard, sender.written);
}

/** Nothing is left of the connections. */
function isEmpty(loop: IOLoop): void {
  const { streams, bytesQueued, bytesBuffered } = loop.metrics();
  assert.equal({ streams, bytesQueued, bytesBuffered }, { streams: 0, bytesQueued: 0, bytesBuffered: 0 });
  assert.equal(
    loop.resources().filter(({ kind, referenced }) => kind !== 'callback' && referenced),
    [],
  );
}

/** Runs `body`; its failure names `seed`. */
async function ofSeed(seed: number, body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } catch (error) {
    throw new Error(`with seed ${seed}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}

for (const backend of IOLoop.backends)
  suite(`connections that end at random, by random means, on ${backend}`, { backend }, (test) => {
    test(
      'end once for each side, last of all, and what was heard was said',
      async ({ defer }) => {
        const run = new HammerRun((onError) => new IOLoop({ backend, onError }));
        defer(() => run.loop.close({ graceMs: 0 }));
        const rounds = Math.ceil(count(500, 100_000 / IOLoop.backends.length) / PER_ROUND);
        for (let seed = 1; seed <= rounds; seed++)
          await ofSeed(seed, () => new Round(run, new Random(seed)).strike(PER_ROUND, 50));
        await turnsUntil(run.loop, () => run.loop.metrics().streams === 0);
        isEmpty(run.loop);
        assert.ok(run.connected > rounds * PER_ROUND, 'most of both sides were connected');
      },
      { limitMs: count(20_000, 1_800_000) },
    );
  });

suite('connections that end at random on a simulated network', (test) => {
  test(
    'end once for each side, last of all, and what was heard was said',
    async (context) => {
      const seeds = count(300, 10_000);
      let connected = 0;
      for (let seed = 1; seed <= seeds; seed++)
        await ofSeed(seed, async () => {
          const random = new Random(seed);
          const network = simNetwork(context, {
            seed,
            maxDelayMs: random.below(10),
            bufferSize: 512 + random.below(65_536),
            shortRead: random.below(2) / 2,
            shortWrite: random.below(2) / 2,
            spuriousAgain: random.below(3) / 10,
            interrupt: random.below(3) / 10,
          });
          const run = new HammerRun((onError) => network.createLoop({ onError }));
          await network.run(() => new Round(run, random).strike(5, 20));
          // What carries a TLS stream outlives it: its last bytes leave.
          await network.advance(60_000);
          isEmpty(run.loop);
          await network.close();
          connected += run.connected;
        });
      assert.ok(connected > 5 * seeds, 'most of both sides were connected');
    },
    { limitMs: count(20_000, 1_800_000) },
  );
});
