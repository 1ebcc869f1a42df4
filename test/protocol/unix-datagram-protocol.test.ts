import { existsSync, statSync } from 'node:fs';
import * as assert from 'uvu/assert';

import { IOLoop, IOLoopError } from '../../src/index.ts';
import {
  type ConnectUnixDatagramOptions,
  connectUnixDatagram,
  type ListenUnixDatagramOptions,
  listenUnixDatagram,
  type UnixDatagramTransport,
} from '../../src/protocol/index.ts';
import { ExpectedErrors, NotingUnixProtocol } from '../support/datagram-protocols.ts';
import { codeOf, rejection } from '../support/datagrams.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { fill, numbersOf, take, UnixSockets, upTo } from '../support/unix-sockets.ts';
import { within } from '../support/within.ts';

/** A protocol at `path`, stopped with the test. */
async function listenAt(
  context: TestContext,
  path: string,
  protocol: NotingUnixProtocol,
  options: ListenUnixDatagramOptions = {},
): Promise<UnixDatagramTransport> {
  const onError = new ExpectedErrors(context).add;
  const transport = await listenUnixDatagram(path, protocol, { loop: context.loop, onError, ...options });
  context.defer(() => transport.stopListening());
  return transport;
}

/** A protocol that is connected to `path`, stopped with the test. */
async function connectTo(
  context: TestContext,
  path: string,
  protocol: NotingUnixProtocol,
  options: ConnectUnixDatagramOptions = {},
): Promise<UnixDatagramTransport> {
  const onError = new ExpectedErrors(context).add;
  const transport = await connectUnixDatagram(path, protocol, { loop: context.loop, onError, ...options });
  context.defer(() => transport.stopListening());
  return transport;
}

for (const backend of IOLoop.backends)
  suite(`a Unix datagram protocol on ${backend}`, { backend }, (test) => {
    for (const kind of ['a path', 'an abstract name'] as const)
      test(`answers a connected one, each at ${kind}`, async (context) => {
        const sockets = new UnixSockets(context);
        const nul = kind === 'a path' ? '' : '\0';
        const [path, back] = [nul + sockets.path(), nul + sockets.path()];
        const senders: string[] = [];
        const server = new NotingUnixProtocol((data, address, { transport }) => {
          senders.push(address.path);
          transport.write(`re: ${data}`, address);
        });
        const listening = await listenAt(context, path, server);
        const client = new NotingUnixProtocol();
        const connected = await connectTo(context, path, client, { bindAddress: back });
        assert.equal(
          [listening.getPeer(), connected.getPeer()?.path, connected.getHost().path],
          [null, path, back],
        );
        connected.write('one');
        connected.write('two', { path });
        await client.events.first(3, 'events');
        await connected.stopListening();
        await listening.stopListening();
        assert.equal(client.events.all, ['start', 're: one', 're: two', 'stop']);
        assert.equal(server.events.all, ['start', 'one', 'two', 'stop']);
        assert.equal(senders, [back, back]);
        assert.equal([existsSync(path), existsSync(back)], [false, false]);
      });

    test('cannot answer who has no name, and is told so', async (context) => {
      const errors = new ExpectedErrors(context, 'ENOTCONN');
      const path = new UnixSockets(context).path();
      const server = new NotingUnixProtocol((data, address, { transport }) => transport.write(data, address));
      await listenAt(context, path, server, { onError: errors.add });
      const client = await connectTo(context, path, new NotingUnixProtocol());
      client.write('hello');
      await errors.first(1, 'error');
    });

    test('is for its owner alone, unless it is told otherwise', async (context) => {
      const sockets = new UnixSockets(context);
      const [mine, all] = [sockets.path(), sockets.path()];
      await listenAt(context, mine, new NotingUnixProtocol());
      await listenAt(context, all, new NotingUnixProtocol(), { mode: 0o666 });
      assert.equal([statSync(mine).mode & 0o777, statSync(all).mode & 0o777], [0o600, 0o666]);
    });

    test('is told when its peer has gone', async (context) => {
      const sockets = new UnixSockets(context);
      const peer = await sockets.bind();
      const client = new NotingUnixProtocol();
      const transport = await connectTo(context, peer.local.path, client);
      transport.write('hello');
      assert.is((await take(peer, 1)).length, 1);
      await peer.close();
      transport.write('anybody?');
      await client.events.first(2, 'events');
      assert.equal(client.events.all, ['start', 'refused']);
    });

    test('is not started when nobody is there, or its own name is taken', async (context) => {
      const { loop } = context;
      const sockets = new UnixSockets(context);
      const protocol = new NotingUnixProtocol();
      const back = sockets.path();
      const lonely = connectUnixDatagram(sockets.path(), protocol, { loop, bindAddress: back });
      assert.is(codeOf(await rejection(lonely)), 'ENOENT');
      assert.not(existsSync(back));
      const peer = await sockets.bind();
      for (const refused of [
        listenUnixDatagram(peer.local.path, protocol, { loop }),
        connectUnixDatagram(peer.local.path, protocol, { loop, bindAddress: peer.local.path }),
      ])
        assert.is(codeOf(await rejection(refused)), 'EADDRINUSE');
      for (const bad of [
        listenUnixDatagram('', protocol, { loop }),
        connectUnixDatagram(peer.local.path, protocol, { loop, bindAddress: '' }),
        // @ts-expect-error for those who have no compiler
        listenUnixDatagram(sockets.path(), {}, { loop }),
      ])
        assert.is(codeOf(await rejection(bad)), 'ERR_IOLOOP_INVALID_ARGUMENT');
      assert.equal(protocol.events.all, []);
    });

    test('delivers what it has written when its loop is closed', async (context) => {
      const sockets = new UnixSockets(context);
      const peer = await sockets.bind();
      const loop = new IOLoop({ backend });
      const protocol = new NotingUnixProtocol();
      const transport = await connectUnixDatagram(peer.local.path, protocol, { loop });
      const sent = fill(transport.getHandle(), (data) => transport.write(data));
      const closed = loop.close();
      assert.equal(protocol.events.all, ['start']);
      assert.equal(numbersOf(await take(peer, sent)), upTo(sent));
      await within(2_000, closed, 'the end of the loop');
      assert.equal(protocol.events.all, ['start', 'stop']);
    });

    test('does not write to nowhere', async (context) => {
      const transport = await listenAt(context, new UnixSockets(context).path(), new NotingUnixProtocol());
      assert.throws(
        () => transport.write('nowhere'),
        (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'),
      );
    });
  });
