import * as assert from 'uvu/assert';

import { DatagramSocket, SeqpacketSocket, UnixDatagramSocket } from '../../src/index.ts';
import { receive, textsOf, UdpSockets } from '../support/datagrams.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { within } from '../support/within.ts';

/** Bytes whose memory is somebody else's by now. */
function transferred(): Uint8Array {
  const data = new Uint8Array(16);
  structuredClone(data.buffer, { transfer: [data.buffer] });
  return data;
}

/** An array whose first place was never filled. */
function withHole<T>(message: T): T[] {
  const messages: T[] = [];
  messages[1] = message;
  return messages;
}

type Sender = { sendMany(messages: readonly unknown[]): Promise<void>; readonly bytesQueued: number };

/** One socket of each kind, connected, and how it takes a message in sendMany(). */
async function senders(context: TestContext): Promise<[Sender, (data: Uint8Array) => unknown][]> {
  const { loop } = context;
  const { client } = await new UdpSockets(context).pair();
  const unix = UnixDatagramSocket.pair({ loop });
  const seqpacket = SeqpacketSocket.pair({ loop });
  for (const socket of [...unix, ...seqpacket]) context.defer(() => socket.close());
  const untyped = (socket: object): Sender => {
    if (
      socket instanceof DatagramSocket ||
      socket instanceof UnixDatagramSocket ||
      socket instanceof SeqpacketSocket
    )
      return {
        sendMany: (messages) => Reflect.apply(socket.sendMany, socket, [messages]),
        get bytesQueued() {
          return socket.bytesQueued;
        },
      };
    throw new Error('no socket');
  };
  return [
    [untyped(client), (data) => ({ data })],
    [untyped(unix[0]), (data) => ({ data })],
    [untyped(seqpacket[0]), (data) => data],
  ];
}

suite('the messages of one sendMany()', (test) => {
  test('are all refused when one has no bytes to send, is nothing, or is missing', async (context) => {
    for (const [socket, message] of await senders(context)) {
      const good = message(Buffer.from('good'));
      for (const [messages, place] of [
        [[good, message(transferred())], 1],
        [[good, null], 1],
        [[good, undefined], 1],
        [withHole(good), 0],
      ] as const) {
        const expected = new RegExp(`^messages\\[${place}\\]`);
        assert.throws(
          () => socket.sendMany(messages),
          (error: Error) => 'code' in error && expected.test(error.message),
        );
        assert.is(socket.bytesQueued, 0);
      }
    }
  });

  test('are read once, whatever reading them again would say', async (context) => {
    const { server, client } = await new UdpSockets(context).pair();
    const received = receive(server, 2);
    let reads = 0;
    const messages = [
      {
        get data(): Uint8Array {
          return Buffer.from(`read ${++reads}`);
        },
      },
    ];
    await client.sendMany(messages);
    await client.send('next');
    assert.equal(textsOf(await received), ['read 1', 'next']);
    assert.is(client.bytesQueued, 0);
  });

  test('are refused when reading one of them closes the socket', async (context) => {
    const { client } = await new UdpSockets(context).pair();
    const messages = [
      {
        get data(): Uint8Array {
          void client.close();
          return Buffer.from('x');
        },
      },
      { data: Buffer.from('y') },
    ];
    const outcome = client.sendMany(messages).then(
      () => 'sent',
      (error: { code?: unknown }) => error.code,
    );
    assert.is(await within(2_000, outcome, 'the answer'), 'EBADF');
    assert.is(client.bytesQueued, 0);
  });
});
