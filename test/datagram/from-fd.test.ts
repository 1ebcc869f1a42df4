import { closeSync, openSync } from 'node:fs';
import * as assert from 'uvu/assert';

import { DatagramSocket } from '../../src/index.ts';
import { addon } from '../../src/native.ts';
import { WANT } from '../../src/native-datagrams.ts';
import { closeFd, listenSocket, socketAddress } from '../../src/raw.ts';
import { codeOf, receive, textsOf, UdpSockets } from '../support/datagrams.ts';
import { newFds, openFds } from '../support/fds.ts';
import { suite } from '../support/suite.ts';

/** A bound descriptor that belongs to nobody here, as an inherited one. */
function inheritedFd(type: 'udp4' | 'udp6', host: string): number {
  const fd = addon().openDatagram(type);
  addon().bindDatagram(fd, undefined, host, 0, -1);
  addon().releaseStream(fd);
  return fd;
}

suite('DatagramSocket.fromFd', (test) => {
  for (const [type, host] of [
    ['udp4', '127.0.0.1'],
    ['udp6', '::1'],
  ] as const) {
    test(`takes over a bound socket of ${type}, its descriptor with it`, async (context) => {
      const { loop } = context;
      const sockets = new UdpSockets(context);
      const fd = inheritedFd(type, host);
      const socket = sockets.adopt(DatagramSocket.fromFd(fd, { loop }));
      assert.is(socket.fd, fd);
      assert.is(socket.local.address, host);
      socket.onMessages((batch) => batch.reply(0, 'answer'));
      const client = sockets.open({ type });
      await client.connect(socket.local.port, host);
      const answers = receive(client, 1);
      await client.send('question');
      assert.equal(textsOf(await answers), ['answer']);
      await socket.close();
      assert.throws(() => socketAddress(fd), /EBADF/);
    });
  }

  test('answers from the address that was asked, where it is bound to all', async (context) => {
    const sockets = new UdpSockets(context);
    const socket = sockets.adopt(
      DatagramSocket.fromFd(inheritedFd('udp4', '0.0.0.0'), { loop: context.loop }),
    );
    socket.onMessages((batch) => batch.reply(0, 'answer'));
    const client = sockets.open();
    await client.connect(socket.local.port, '127.0.0.2');
    const answers = receive(client, 1);
    await client.send('question');
    assert.equal(textsOf(await answers), ['answer']);
  });

  test('knows a socket that is connected', async (context) => {
    const sockets = new UdpSockets(context);
    const server = await sockets.bind();
    const fd = inheritedFd('udp4', '127.0.0.1');
    addon().connectDatagram(fd, undefined, '127.0.0.1', server.local.port);
    const client = sockets.adopt(DatagramSocket.fromFd(fd, { loop: context.loop }));
    const received = receive(server, 1);
    await client.send('no destination');
    assert.equal(textsOf(await received), ['no destination']);
    assert.throws(() => client.send('x', 9), /connected/);
    client.disconnect();
    assert.throws(() => client.send('x'), /port/);
  });

  test('takes apart what the kernel joins, since it was told to before', async (context) => {
    const sockets = new UdpSockets(context);
    const fd = inheritedFd('udp4', '127.0.0.1');
    addon().wantControl(fd, WANT.GRO);
    const socket = sockets.adopt(DatagramSocket.fromFd(fd, { loop: context.loop }));
    const client = sockets.open({ sendOffload: true });
    await client.connect(socket.local.port, '127.0.0.1');
    const received = receive(socket, 3);
    await client.sendMany(['a', 'b', 'c'].map((text) => ({ data: Buffer.from(text) })));
    assert.equal(textsOf(await received), ['a', 'b', 'c']);
  });

  test('sets the options that it is given', (context) => {
    const sockets = new UdpSockets(context);
    const { loop } = context;
    const options = { loop, receiveBufferSize: 20_000, reuseAddress: true, packetInfo: true };
    const socket = sockets.adopt(DatagramSocket.fromFd(inheritedFd('udp4', '127.0.0.1'), options));
    assert.is(socket.getOption('SO_RCVBUF'), 40_000);
    assert.is(socket.getOption('SO_REUSEADDR'), 1);
  });

  test('leaves to its owner what it refuses', (context) => {
    const { loop } = context;
    const refused = (fd: number, code: string, options: object = {}): void =>
      assert.throws(
        () => DatagramSocket.fromFd(fd, { loop, ...options }),
        (error: unknown) => codeOf(error) === code,
      );
    const listener = listenSocket({ port: 0 });
    refused(listener, 'EINVAL');
    closeFd(listener);
    const file = openSync('/dev/null', 'r');
    refused(file, 'ENOTSOCK');
    closeSync(file);
    refused(999_999, 'EBADF');
    refused(-1, 'ERR_IOLOOP_INVALID_ARGUMENT');
    const fd = inheritedFd('udp4', '127.0.0.1');
    refused(fd, 'ERR_IOLOOP_INVALID_ARGUMENT', { maxBatch: 0 });
    refused(fd, 'ERR_IOLOOP_INVALID_ARGUMENT', { receiveOffload: 1 });
    assert.ok('port' in socketAddress(fd));
    const before = openFds();
    closeFd(fd);
    assert.is(newFds(openFds(), before).length, 1, 'the descriptor was closed before');
  });
});
