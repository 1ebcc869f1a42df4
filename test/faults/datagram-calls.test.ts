import * as assert from 'uvu/assert';

import { type DatagramBatch, DatagramSocket } from '../../src/index.ts';
import { Faults } from '../support/faults.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { within } from '../support/within.ts';

/** One less than a receive takes, so that it is known to have been the last. */
const BATCH = 63;
const ROUNDS = 20;
const MESSAGES: readonly { readonly data: Buffer }[] = Array.from({ length: BATCH }, () => {
  return { data: Buffer.alloc(64) };
});

/** A server that answers by `answer`, and a client that plays rounds with it. */
async function meet(
  { loop, defer }: TestContext,
  answer: (server: DatagramSocket, batch: DatagramBatch) => void,
): Promise<DatagramSocket> {
  const open = (): DatagramSocket => {
    const socket = new DatagramSocket({ type: 'udp4', loop });
    defer(() => socket.close());
    return socket;
  };
  const [server, client] = [open(), open()];
  const { port } = await server.bind(0, '127.0.0.1');
  server.onMessages((batch) => answer(server, batch));
  await client.connect(port, '127.0.0.1');
  return client;
}

/** Has `client` send {@link BATCH} datagrams `rounds` times, each when all the answers to the last are there. */
async function play(client: DatagramSocket, rounds: number): Promise<void> {
  const over = new Promise<void>((resolve) => {
    let answers = 0;
    client.onMessages((batch) => {
      answers += batch.length;
      if (answers === BATCH * rounds) resolve();
      else if (answers % BATCH === 0) void client.sendMany(MESSAGES);
    });
  });
  await client.sendMany(MESSAGES);
  await within(5_000, over, 'the last answer');
}

// Nothing fails: the calls are counted.
suite('system calls of UDP', (test) => {
  const ways: Readonly<Record<string, (server: DatagramSocket, batch: DatagramBatch) => void>> = {
    'each datagram is answered by itself': (_, batch) => {
      for (let i = 0; i < batch.length; i++) batch.reply(i, batch.data(i));
    },
    'a batch is sent back': (server, batch) => void server.sendMany(batch),
  };
  for (const [how, answer] of Object.entries(ways)) {
    test(`are one for what came and one for what leaves, where ${how}`, async (context) => {
      const client = await meet(context, answer);
      // Room for many is made when many come.
      await play(client, 8);
      const faults = new Faults(1);
      context.defer(() => faults.remove());
      await play(client, ROUNDS);
      // Both ends, as often.
      assert.is(faults.count('recvmmsg').calls, 2 * ROUNDS);
      assert.is(faults.count('sendmmsg').calls, 2 * ROUNDS);
      assert.is(faults.count('recvmsg', 'sendmsg', 'getsockopt', 'epollCtl').calls, 0);
    });
  }
});
