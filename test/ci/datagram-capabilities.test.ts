import * as assert from 'uvu/assert';

import { DatagramSocket, IOLoop, type SocketOptions, SystemError } from '../../src/index.ts';
import { runSource } from '../support/child.ts';
import { suite } from '../support/suite.ts';

/** What takes CAP_NET_ADMIN. */
const privileged = {
  SO_MARK: 7,
  SO_PREFER_BUSY_POLL: true,
  SO_PRIORITY: 7,
  SO_RCVBUFFORCE: 2 ** 28,
} satisfies SocketOptions;
/** What takes a capability on some kernels, or to be changed. */
const halfPrivileged = { SO_BINDTODEVICE: 'lo', SO_BUSY_POLL: 50 } satisfies SocketOptions;

for (const backend of IOLoop.backends)
  suite(`a datagram socket with options that take capabilities on ${backend}`, { backend }, (test) => {
    test('sends and receives', async ({ loop }) => {
      await using receiver = new DatagramSocket({ type: 'udp4', loop });
      await using sender = new DatagramSocket({ type: 'udp4', loop });
      for (const socket of [receiver, sender])
        for (const [name, value] of Object.entries({ ...privileged, ...halfPrivileged }))
          socket.setOption(name, value);
      const { port } = await receiver.bind(0, '127.0.0.1');
      await sender.send('hello', port, '127.0.0.1');
      for await (const { data } of receiver) {
        assert.is(String(data), 'hello');
        break;
      }
      const read = ['SO_MARK', 'SO_PREFER_BUSY_POLL', 'SO_PRIORITY', 'SO_BUSY_POLL'];
      assert.equal(
        read.map((name) => receiver.getOption(name)),
        [7, 1, 7, 50],
      );
      assert.ok(receiver.getOption('SO_RCVBUF') >= 2 ** 28);
    });
  });

suite('options of datagram sockets that take capabilities', (test) => {
  test('are EPERM by name without them', async () => {
    const { stdout, stderr, code } = await runSource(`
      import { DatagramSocket, SystemError, UnixDatagramSocket } from './src/index.ts';
      const sockets = [new DatagramSocket({ type: 'udp4' }), new DatagramSocket({ type: 'udp6' }), new UnixDatagramSocket()];
      process.setuid(65534);
      const attempt = (socket, name, value) => {
        try {
          socket.setOption(name, value);
          console.log(name, 'set');
        } catch (error) {
          console.log(name, error.code, error.syscall, error.message.includes(name));
        }
      };
      for (const socket of sockets)
        for (const [name, value] of Object.entries(${JSON.stringify(privileged)})) attempt(socket, name, value);
      const [udp] = sockets;
      attempt(udp, 'SO_BINDTODEVICE', 'lo');
      attempt(udp, 'SO_BINDTODEVICE', '');
      attempt(udp, 'SO_BUSY_POLL', 50);
      await Promise.all(sockets.map((socket) => socket.close()));`);
    assert.is(code, 0, stderr);
    const refused = Object.keys(privileged).map((name) => `${name} EPERM setsockopt true`);
    const lines = stdout.trim().split('\n');
    assert.equal(lines.splice(0, 3 * refused.length), [...refused, ...refused, ...refused]);
    const [bound = '', changed, polled = ''] = lines;
    // Linux 5.7 lets everybody bind a socket to a device once, and 5.17 poll for as long as they like.
    assert.match(bound, /^SO_BINDTODEVICE (set|EPERM setsockopt true)$/);
    assert.is(changed, 'SO_BINDTODEVICE EPERM setsockopt true');
    assert.match(polled, /^SO_BUSY_POLL (set|EPERM setsockopt true)$/);
  });

  test('name a device that is not there', async ({ loop }) => {
    await using socket = new DatagramSocket({ type: 'udp6', loop });
    assert.throws(
      () => socket.setOption('SO_BINDTODEVICE', 'no-such'),
      (error: unknown) => error instanceof SystemError && error.code === 'ENODEV',
    );
  });
});
