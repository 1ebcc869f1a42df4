import * as assert from 'uvu/assert';

import { DatagramSocket, IOLoop, type SystemError } from '../../src/index.ts';
import { memoryBudget } from '../../src/stream/memory-budget.ts';
import { codeOf } from '../support/datagrams.ts';
import { Random } from '../support/random.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

const SOCKETS = 6;
const STEPS = 300;
/** What may be told, since peers come and go and queues are short. */
const EXPECTED: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ENOBUFS',
  'EMSGSIZE',
  'ERR_IOLOOP_BUFFER_FULL',
]);
/** Who sends a message, in which game, and which one it is. */
const HEADER_SIZE = 12;
const TOO_LONG = new Uint8Array(70_000);

/** One socket, and what it has received. */
interface Player {
  readonly socket: DatagramSocket;
  readonly received: Set<number>;
  isConnected: boolean;
}

/** Sockets to which anything is done, in an order that a seed says. */
class Crowd {
  readonly #context: TestContext;
  readonly #seed: number;
  readonly #random: Random;
  readonly #players: Player[] = [];
  readonly #unexpected: unknown[] = [];
  readonly #promises: Promise<unknown>[] = [];
  #sent = 0;
  #taken = 0;

  constructor(context: TestContext, seed: number) {
    this.#context = context;
    this.#seed = seed;
    this.#random = new Random(seed);
  }

  async play(): Promise<void> {
    while (this.#players.length < SOCKETS) await this.#open();
    for (let step = 0; step < STEPS; step++) {
      for (const player of this.#players.filter(({ socket }) => socket.closed)) await this.#replace(player);
      await this.#act();
      if (this.#random.below(3) === 0) await nextTurn(this.#context.loop);
    }
    await Promise.all(this.#players.map(({ socket }) => socket.close()));
    await Promise.all(this.#promises);
    assert.equal(this.#unexpected, []);
    assert.ok(this.#taken * 10 > this.#sent, `of ${this.#sent} only ${this.#taken} were received`);
    for (const { socket } of this.#players) assert.equal([socket.bytesQueued, socket.bytesBuffered], [0, 0]);
  }

  async #open(): Promise<void> {
    const onError = (error: SystemError): void => this.#note(error);
    const packetInfo = this.#random.below(2) === 0;
    const maxBatch = 1 + this.#random.below(8);
    const socket = new DatagramSocket({
      ...{ type: 'udp4', loop: this.#context.loop, packetInfo, maxBatch, onError },
      ...{ maxQueueLength: 4, sendOffload: packetInfo },
    });
    this.#context.defer(() => socket.close());
    await socket.bind(0, this.#random.below(2) === 0 ? '0.0.0.0' : '127.0.0.1');
    this.#players.push({ socket, received: new Set(), isConnected: false });
  }

  async #act(): Promise<void> {
    const player = this.#draw();
    const { socket } = player;
    const port = this.#draw().socket.local.port;
    switch (this.#random.below(12)) {
      case 0:
        await this.#replace(player);
        break;
      case 1:
        if (player.isConnected) socket.disconnect();
        else await socket.connect(port, '127.0.0.1');
        player.isConnected = !player.isConnected;
        break;
      case 2:
        socket.pause();
        break;
      case 3:
        socket.onMessages(null);
        await this.#iterate(player);
        break;
      case 4:
      case 5:
        socket.resume();
        socket.onMessages((batch) => {
          for (let i = 0; i < batch.length; i++) {
            this.#take(player, batch.data(i));
            if (this.#random.below(3) === 0) batch.reply(i, this.#message());
          }
          if (this.#random.below(20) === 0) void socket.close();
        });
        break;
      case 6:
        this.#watch(player.isConnected ? socket.send(TOO_LONG) : socket.send(TOO_LONG, port));
        break;
      default:
        this.#send(player, port);
    }
  }

  /** Another one takes the place of one that is closed. */
  async #replace(player: Player): Promise<void> {
    await player.socket.close();
    this.#players.splice(this.#players.indexOf(player), 1);
    await this.#open();
  }

  /** Takes what waits already. */
  async #iterate({ socket, received }: Player): Promise<void> {
    const iteration = socket[Symbol.asyncIterator]();
    await nextTurn(this.#context.loop);
    for (let waits = socket.bytesBuffered; waits > 0; waits = socket.bytesBuffered) {
      const { value } = await iteration.next();
      this.#take({ received }, value.data);
    }
    await iteration.return?.();
  }

  #send({ socket, isConnected }: Player, port: number): void {
    const destination = isConnected ? {} : { port };
    const messages = Array.from({ length: this.#random.below(6) }, () => ({
      data: this.#message(),
      ...destination,
    }));
    if (this.#random.below(2) === 0) this.#watch(socket.sendMany(messages));
    else void socket.sendMany(messages);
  }

  /** A message that there is once. */
  #message(): Buffer {
    const data = Buffer.alloc(HEADER_SIZE + this.#random.below(100), this.#sent);
    data.writeUInt32LE(process.pid, 0);
    data.writeUInt32LE(this.#seed, 4);
    data.writeUInt32LE(this.#sent++, 8);
    return data;
  }

  #take({ received }: Pick<Player, 'received'>, data: Buffer): void {
    // Ports are free as soon as they are closed, and somebody else may have this one's by now.
    if (
      data.length < HEADER_SIZE ||
      data.readUInt32LE(0) !== process.pid ||
      data.readUInt32LE(4) !== this.#seed
    )
      return;
    const number = data.readUInt32LE(8);
    assert.ok(number < this.#sent, `${number} was never sent`);
    assert.is(received.has(number), false, `${number} came twice`);
    assert.ok(
      data.subarray(HEADER_SIZE).every((byte) => byte === (number & 0xff)),
      `${number} is not whole`,
    );
    received.add(number);
    this.#taken++;
  }

  #watch(promise: Promise<void>): void {
    this.#promises.push(promise.catch((error: unknown) => this.#note(error)));
  }

  #note(error: unknown): void {
    if (!EXPECTED.has(codeOf(error))) this.#unexpected.push(error);
  }

  #draw(): Player {
    const player = this.#players[this.#random.below(this.#players.length)];
    if (player === undefined) throw new Error('nobody is there');
    return player;
  }
}

for (const backend of IOLoop.backends) {
  suite(`UDP sockets in any order of calls, on ${backend}`, { backend, limitMs: 600_000 }, (test) => {
    test('invent nothing, double nothing, and leave nothing behind', async (context) => {
      const before = memoryBudget.used;
      for (let seed = 1; seed <= count(10, 1_000); seed++)
        await within(30_000, new Crowd(context, seed).play(), `the end of seed ${seed}`);
      assert.is(memoryBudget.used, before);
    });
  });
}
