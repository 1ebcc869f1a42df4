import * as assert from 'uvu/assert';

import { DatagramSocket, type SystemError } from '../../src/index.ts';
import { codeOf } from '../support/datagrams.ts';
import { Faults, type SystemCall } from '../support/faults.ts';
import { Random } from '../support/random.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { count, long } from '../support/tier.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

const CLIENTS = 8;
const BURSTS = 100;
const ROUND_LIMIT_MS = 60_000;
const CALLS: readonly SystemCall[] = ['recvmmsg', 'sendmmsg', 'recvmsg', 'sendmsg', 'epollWait'];

/** What loses nothing: it is tried again. */
function harmlessFaults(seed: number): Faults {
  const faults = new Faults(seed);
  for (const call of ['recvmmsg', 'sendmmsg'] as const)
    faults.fail(call, 0.15, 'EAGAIN').fail(call, 0.1, 'EINTR').shorten(call, 0.4);
  return faults.fail('epollWait', 0.1, 'EINTR').reorder('epollWait', 0.3).repeat('epollWait', 0.2);
}

/** What loses a datagram, which is told of. */
function losingFaults(seed: number): Faults {
  return harmlessFaults(seed).fail('sendmmsg', 0.05, 'ENOBUFS').fail('recvmmsg', 0.05, 'ENOMEM');
}

/** One round of echoes over a server: what was sent, what came back, and what became of the rest. */
class Echoes {
  /** Errors that onError was told of, at either end. */
  readonly errors: string[] = [];
  readonly #server: DatagramSocket;
  readonly #clients: readonly DatagramSocket[];
  readonly #random: Random;
  /** For each client, the numbers that came back to it. */
  readonly #echoes: number[][] = [];
  #sent = 0;
  #came = 0;
  #rejected = 0;

  constructor({ loop, defer }: TestContext, seed: number) {
    const onError = ({ code, syscall }: SystemError): void => void this.errors.push(`${syscall} ${code}`);
    const offloads = { sendOffload: seed % 2 === 0, receiveOffload: seed % 3 === 0 };
    const open = (): DatagramSocket => {
      const socket = new DatagramSocket({ type: 'udp4', loop, onError, ...offloads });
      defer(() => socket.close());
      return socket;
    };
    this.#server = open();
    this.#clients = Array.from({ length: CLIENTS }, open);
    this.#random = new Random(seed);
  }

  async connect(): Promise<void> {
    const { port } = await this.#server.bind(0, '127.0.0.1');
    this.#server.onMessages((batch) => {
      if (this.#random.below(2) === 0) void this.#server.sendMany(batch);
      else for (let i = 0; i < batch.length; i++) batch.reply(i, batch.data(i));
    });
    for (const [place, client] of this.#clients.entries()) {
      await client.connect(port, '127.0.0.1');
      this.#echoes[place] = [];
      client.onMessages((batch) => {
        for (let i = 0; i < batch.length; i++) this.#take(place, batch.data(i));
      });
    }
  }

  /** Has each client send some, and waits until all of them are back or known to be lost. */
  async burst(): Promise<void> {
    const sends: Promise<void>[] = [];
    for (const [place, client] of this.#clients.entries()) {
      const messages = Array.from({ length: 1 + this.#random.below(8) }, () => this.#message(place));
      if (this.#random.below(2) === 0) void client.sendMany(messages);
      else for (const { data } of messages) sends.push(client.send(data));
    }
    const results = await Promise.allSettled(sends);
    this.#rejected += results.filter(({ status }) => status === 'rejected').length;
    while (this.#came + this.#lost < this.#sent) await nextTurn(this.#server.loop);
  }

  /** Nothing came twice, out of order, or from nowhere, and each loss was told once. */
  check(): void {
    for (const numbers of this.#echoes)
      for (const [place, number] of numbers.entries())
        if (place > 0) assert.ok(number > (numbers[place - 1] ?? 0), `${number} after ${numbers[place - 1]}`);
    assert.is(this.#came + this.#lost, this.#sent);
    assert.is(this.#server.dropped, 0);
  }

  get #lost(): number {
    return this.#rejected + this.errors.filter((error) => error === 'send ENOBUFS').length;
  }

  #message(place: number): { readonly data: Buffer } {
    const data = Buffer.alloc(8 + this.#random.below(200), this.#sent);
    data.writeUInt32LE(this.#sent++, 0);
    data.writeUInt32LE(place, 4);
    return { data };
  }

  #take(place: number, data: Buffer): void {
    const number = data.readUInt32LE(0);
    assert.is(data.readUInt32LE(4), place);
    assert.ok(
      data.subarray(8).every((byte) => byte === (number & 0xff)),
      `datagram ${number} is not whole`,
    );
    this.#echoes[place]?.push(number);
    this.#came++;
  }
}

/** Runs rounds of echoes under faults until so many of them were met. */
async function echoUnder(
  makeFaults: (seed: number) => Faults,
  faultsToMeet: number,
  context: TestContext,
  check: (echoes: Echoes) => void,
): Promise<void> {
  let met = 0;
  for (let seed = 1; met < faultsToMeet; seed++) {
    const echoes = new Echoes(context, seed);
    await echoes.connect();
    const faults = makeFaults(seed);
    try {
      const bursts = async (): Promise<void> => {
        for (let i = 0; i < BURSTS; i++) await echoes.burst();
      };
      await within(ROUND_LIMIT_MS, bursts(), `the echoes of seed ${seed}`);
      const { calls, faults: count } = faults.count(...CALLS);
      assert.ok(count > calls * 0.2, `only ${count} of ${calls} calls met a fault`);
      met += count;
    } finally {
      faults.remove();
    }
    echoes.check();
    check(echoes);
  }
}

suite('datagrams under faults', { limitMs: long ? 3_600_000 : 300_000 }, (test) => {
  test('are lost, doubled and reordered by none that passes', async (context) => {
    await echoUnder(harmlessFaults, count(20_000, 1_000_000), context, ({ errors }) => {
      assert.equal(errors, []);
    });
  });

  test('are lost one by one where the kernel has no room, and each loss is told', async (context) => {
    const kinds = new Set<string>();
    await echoUnder(losingFaults, count(10_000, 500_000), context, ({ errors }) => {
      for (const error of errors) kinds.add(error);
    });
    assert.equal([...kinds].sort(), ['recvmmsg ENOMEM', 'send ENOBUFS']);
  });

  test('need no kernel that takes many at a time', async (context) => {
    const single = (seed: number): Faults => {
      const faults = new Faults(seed).fail('recvmmsg', 1, 'ENOSYS').fail('sendmmsg', 1, 'ENOSYS');
      for (const call of ['recvmsg', 'sendmsg'] as const)
        faults.fail(call, 0.15, 'EAGAIN').fail(call, 0.1, 'EINTR');
      return faults;
    };
    await echoUnder(single, count(5_000, 200_000), context, ({ errors }) => {
      assert.equal(errors, []);
    });
  });
});

/** Two sockets that are connected, on the test's loop, and what they told of errors. */
async function pairOf({ loop, defer }: TestContext, options: object = {}) {
  const errors: unknown[] = [];
  const open = (): DatagramSocket => {
    const socket = new DatagramSocket({
      type: 'udp4',
      loop,
      onError: (error) => errors.push(error.code),
      ...options,
    });
    defer(() => socket.close());
    return socket;
  };
  const [server, client] = [open(), open()];
  const { port } = await server.bind(0, '127.0.0.1');
  await client.connect(port, '127.0.0.1');
  return { server, client, errors };
}

/** The texts that `socket` receives next. */
async function texts(socket: DatagramSocket, length: number): Promise<string[]> {
  const received: string[] = [];
  const iterate = async (): Promise<void> => {
    for await (const { data } of socket) if (received.push(data.toString()) === length) return;
  };
  await within(5_000, iterate(), `${length} datagrams`);
  return received;
}

/** What became of promises, each by the code of its error. */
async function codesOf(promises: readonly Promise<void>[]): Promise<unknown[]> {
  const outcomes = promises.map((promise) => promise.then(() => 'sent', codeOf));
  return within(5_000, Promise.all(outcomes), 'the outcome of sends');
}

suite('a UDP socket under one fault', (test) => {
  test('queues what the kernel does not take, no more than it may, and sends it later', async (context) => {
    const { server, client, errors } = await pairOf(context, { maxQueueSize: 6 });
    const faults = new Faults(1).fail('sendmmsg', 1, 'EAGAIN');
    context.defer(() => faults.remove());
    const data = ['one', 'two', 'three', 'four'].map((text) => Buffer.from(text));
    const sends = codesOf(data.map((bytes) => client.send(bytes)));
    for (const bytes of data) bytes.fill('x');
    assert.is(client.bytesQueued, 6);
    void client.send('unawaited');
    const flushed = client.flush();
    await nextTurn(context.loop);
    await nextTurn(context.loop);
    assert.is(client.bytesQueued, 6);
    faults.remove();
    const received = texts(server, 2);
    assert.equal(await sends, ['sent', 'sent', 'ERR_IOLOOP_BUFFER_FULL', 'ERR_IOLOOP_BUFFER_FULL']);
    await within(5_000, flushed, 'the flush');
    assert.equal(await received, ['one', 'two']);
    assert.is(client.bytesQueued, 0);
    assert.equal(errors, ['ENOBUFS']);
  });

  test('closes after closeTimeoutMs although the kernel takes nothing, and says what was lost', async (context) => {
    const { client, errors } = await pairOf(context, { closeTimeoutMs: 1 });
    const faults = new Faults(1).fail('sendmmsg', 1, 'EAGAIN');
    context.defer(() => faults.remove());
    const sends = codesOf(['one', 'two'].map((text) => client.send(text)));
    void client.send('unawaited');
    const flushed = client.flush();
    await within(5_000, client.close(), 'the end');
    assert.equal(await sends, ['ECANCELED', 'ECANCELED']);
    await within(5_000, flushed, 'the flush');
    await nextTurn(context.loop);
    assert.equal(errors, ['ECANCELED']);
    assert.is(client.bytesQueued, 0);
  });

  test('sends what waits when its loop cannot watch it', async (context) => {
    const { server, client, errors } = await pairOf(context);
    const received = texts(server, 2);
    const faults = new Faults(1).fail('sendmmsg', 1, 'EAGAIN').fail('epollCtl', 1, 'ENOMEM');
    context.defer(() => faults.remove());
    const sends = codesOf(['one', 'two'].map((text) => client.send(text)));
    await nextTurn(context.loop);
    faults.remove();
    assert.equal(await sends, ['sent', 'sent']);
    assert.equal(await received, ['one', 'two']);
    assert.equal(errors, []);
  });

  for (const code of ['ENOBUFS', 'ENOMEM', 'EPERM', 'ENETUNREACH'] as const) {
    test(`tells ${code} of the one that it meets, and sends the next`, async (context) => {
      const { server, client } = await pairOf(context);
      const faults = new Faults(1).fail('sendmmsg', 1, code);
      context.defer(() => faults.remove());
      const refused = codesOf([client.send('one'), client.sendMany([{ data: Buffer.from('two') }])]);
      faults.remove();
      const received = texts(server, 1);
      await client.send('three');
      assert.equal(await refused, [code, code]);
      assert.equal(await received, ['three']);
    });
  }

  test('does without UDP_GRO where the kernel has none, but not without what was asked for', (context) => {
    const faults = new Faults(1).fail('setsockopt', 1, 'ENOPROTOOPT');
    context.defer(() => faults.remove());
    const { loop } = context;
    const socket = new DatagramSocket({ type: 'udp4', loop, receiveOffload: true });
    context.defer(() => socket.close());
    assert.throws(
      () => new DatagramSocket({ type: 'udp4', loop, packetInfo: true }),
      (error: unknown) => codeOf(error) === 'ENOPROTOOPT',
    );
  });

  test('ends with an error where its descriptor is gone', async (context) => {
    const { server, client, errors } = await pairOf(context);
    const over = texts(server, 1).catch((error: unknown) => [String(codeOf(error))]);
    const faults = new Faults(1).fail('recvmmsg', 1, 'EBADF');
    context.defer(() => faults.remove());
    await client.send('never read');
    assert.equal(await over, ['EBADF']);
    assert.is(server.closed, true);
    assert.equal(errors, ['EBADF']);
  });
});
