import { AsyncLocalStorage } from 'node:async_hooks';
import * as assert from 'uvu/assert';

import { Arrivals, UdpSockets } from '../support/datagrams.ts';
import { suite } from '../support/suite.ts';
import { within } from '../support/within.ts';

const storage = new AsyncLocalStorage<string>();

suite('the async context of a UDP socket', (test) => {
  test('is, in a listener, that in which it was set', async (context) => {
    const sockets = new UdpSockets(context);
    const [peer, socket] = [await sockets.bind(), await sockets.bind()];
    const contexts = new Arrivals<string | undefined>();
    await storage.run('sender', () => socket.send('first', peer.local.port));
    storage.run('listener', () => socket.onMessages(() => contexts.add(storage.getStore())));
    await peer.send('1', socket.local.port);
    await contexts.first(1, 'context');
    storage.run('another', () => {
      socket.pause();
      socket.resume();
    });
    await peer.send('2', socket.local.port);
    await contexts.first(2, 'contexts');
    storage.run('another listener', () => socket.onMessages(() => contexts.add(storage.getStore())));
    await peer.send('3', socket.local.port);
    await contexts.first(3, 'contexts');
    assert.equal(contexts.all, ['listener', 'listener', 'another listener']);
  });

  test('does not leak from one listener into another', async (context) => {
    const sockets = new UdpSockets(context);
    const pair = [await sockets.bind(), await sockets.bind()];
    const contexts = new Arrivals<string | undefined>();
    for (const socket of pair) {
      socket.onMessages(() => {
        contexts.add(storage.getStore());
        storage.enterWith('leaked');
      });
    }
    const client = sockets.open();
    for (const { local } of pair) await client.send('x', local.port);
    await contexts.first(2, 'contexts');
    assert.equal(contexts.all, [undefined, undefined]);
  });

  test('is, in an iteration, that of its function', async (context) => {
    const { server, client } = await new UdpSockets(context).pair();
    const iterate = async (): Promise<string | undefined> => {
      for await (const _ of server) return storage.getStore();
      return undefined;
    };
    const told = storage.run('reader', iterate);
    await storage.run('sender', () => client.send('x'));
    assert.is(await within(5_000, told, 'the datagram'), 'reader');
  });
});
