import * as assert from 'uvu/assert';

import {
  IOLoop,
  IOLoopError,
  IOStream,
  type SocketOptions,
  type StreamHandler,
  SystemError,
  TCPServer,
  UnixServer,
} from '../../src/index.ts';
import { addon } from '../../src/native.ts';
import { connectPair } from '../support/streams.ts';
import { suite, type TestContext } from '../support/suite.ts';

const isInvalid = (error: unknown): boolean => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT');
const isRefused =
  (code: string, name: string) =>
  (error: unknown): boolean =>
    error instanceof SystemError &&
    error.code === code &&
    error.syscall === 'setsockopt' &&
    error.message.includes(name);

/** Each option of the table with a value that has its type: those that are left out here do not compile. */
const everyOption: { [Name in keyof Required<SocketOptions>]: NonNullable<SocketOptions[Name]> } = {
  SO_BROADCAST: true,
  SO_BINDTODEVICE: 'lo',
  SO_BUSY_POLL: 0,
  SO_DONTROUTE: true,
  SO_INCOMING_CPU: 0,
  SO_KEEPALIVE: true,
  SO_LINGER: 1,
  SO_MARK: 1,
  SO_OOBINLINE: true,
  SO_PASSCRED: true,
  SO_PREFER_BUSY_POLL: true,
  SO_PRIORITY: 1,
  SO_RCVBUF: 65_536,
  SO_RCVBUFFORCE: 65_536,
  SO_RCVLOWAT: 1,
  SO_REUSEADDR: true,
  SO_REUSEPORT: true,
  SO_RXQ_OVFL: true,
  SO_SNDBUF: 65_536,
  SO_SNDBUFFORCE: 65_536,
  SO_SNDLOWAT: 1,
  SO_TIMESTAMPNS: true,
  SO_ZEROCOPY: true,
  TCP_CONGESTION: 'reno',
  TCP_CORK: true,
  TCP_DEFER_ACCEPT: 1,
  TCP_FASTOPEN: 16,
  TCP_FASTOPEN_CONNECT: true,
  TCP_KEEPCNT: 3,
  TCP_KEEPIDLE: 10,
  TCP_KEEPINTVL: 10,
  TCP_LINGER2: 10,
  TCP_MAXSEG: 1000,
  TCP_NODELAY: true,
  TCP_NOPUSH: false,
  TCP_NOTSENT_LOWAT: 16_384,
  TCP_QUICKACK: true,
  TCP_SYNCNT: 2,
  TCP_USER_TIMEOUT: 5000,
  TCP_WINDOW_CLAMP: 65_536,
  IP_BIND_ADDRESS_NO_PORT: true,
  IP_FREEBIND: true,
  IP_MTU: 1500,
  IP_MTU_DISCOVER: 2,
  IP_MULTICAST_ALL: false,
  IP_MULTICAST_LOOP: true,
  IP_MULTICAST_TTL: 1,
  IP_PKTINFO: true,
  IP_RECVERR: true,
  IP_TOS: 0x10,
  IP_TRANSPARENT: true,
  IP_TTL: 32,
  IPV6_DONTFRAG: true,
  IPV6_MTU: 1500,
  IPV6_MTU_DISCOVER: 2,
  IPV6_MULTICAST_ALL: false,
  IPV6_MULTICAST_HOPS: 1,
  IPV6_MULTICAST_LOOP: true,
  IPV6_RECVERR: true,
  IPV6_TCLASS: 0x10,
  IPV6_UNICAST_HOPS: 32,
  IPV6_V6ONLY: true,
  UDP_CORK: true,
  UDP_GRO: true,
  UDP_SEGMENT: 1000,
};

/** What a TCP connection takes from anybody, and reads as it was set. */
const plainOptions = [
  ...(['SO_KEEPALIVE', 'SO_LINGER', 'SO_OOBINLINE', 'SO_PRIORITY', 'SO_RCVLOWAT'] as const),
  ...(['TCP_CORK', 'TCP_KEEPCNT', 'TCP_KEEPIDLE', 'TCP_KEEPINTVL', 'TCP_LINGER2', 'TCP_NODELAY'] as const),
  ...(['TCP_NOTSENT_LOWAT', 'TCP_QUICKACK', 'TCP_SYNCNT', 'TCP_USER_TIMEOUT', 'TCP_WINDOW_CLAMP'] as const),
  ...(['IP_FREEBIND', 'IP_MTU_DISCOVER', 'IP_RECVERR', 'IP_TOS', 'IP_TTL'] as const),
];

/** A server that tells each client nothing, and where it is. */
async function serve(
  { loop, defer }: TestContext,
  socketOptions: SocketOptions,
  handler: StreamHandler = () => {},
): Promise<number> {
  const server = new TCPServer(handler, { loop });
  defer(() => server.close({ graceMs: 0 }));
  const { port } = await server.listen(0, '127.0.0.1', { socketOptions });
  return port;
}

suite('socket options', (test) => {
  if (process.platform === 'linux')
    test('are all there that the table says, with values of their kinds', () => {
      for (const [name, value] of Object.entries(everyOption)) {
        const option = addon().socketOption(name);
        assert.ok(option !== null, name);
        assert.is(option[2] === 'string', typeof value === 'string', name);
      }
    });

  test('read as they were set', async (context) => {
    const { left } = await connectPair('tcp', context);
    for (const name of plainOptions) {
      const value = everyOption[name];
      left.setOption(name, value);
      assert.is(left.getOption(name), Number(value), name);
    }
    left.setOption('SO_LINGER', -1);
    assert.is(left.getOption('SO_LINGER'), -1);
    left.setOption('SO_RCVBUF', 40_000);
    assert.ok(left.getOption('SO_RCVBUF') >= 40_000);
  });

  test('that are texts are read as such', async (context) => {
    const { left } = await connectPair('tcp', context);
    left.setOption('TCP_CONGESTION', 'reno');
    assert.is(left.getOptionText('TCP_CONGESTION'), 'reno');
    assert.is(left.getOptionText('SO_BINDTODEVICE'), '');
    assert.throws(() => left.getOptionText('SO_RCVBUF'), isInvalid);
    assert.throws(() => left.getOption('TCP_CONGESTION'), isInvalid);
  });

  test('that are refused are named', async (context) => {
    const { left } = await connectPair('tcp', context);
    assert.throws(() => left.setOption('TCP_CONGESTION', 'none such'), isRefused('ENOENT', 'TCP_CONGESTION'));
    assert.throws(() => left.setOption('IP_TTL', 256), isRefused('EINVAL', 'IP_TTL'));
    assert.throws(() => left.setOption('SO_NONESUCH', 1), isInvalid);
    assert.throws(() => left.setOption('IP_TTL', '32'), isInvalid);
    const unix = await connectPair('unix', context);
    assert.throws(() => unix.left.setOption('TCP_NODELAY', true), isRefused('ENOTSUP', 'TCP_NODELAY'));
  });

  test('tell of the connection with TCP_INFO', async (context) => {
    const { left, right } = await connectPair('tcp', context);
    await left.write('hello');
    await right.readBytes(5);
    const { state, rttUs, sendMss, bytesReceived } = right.tcpInfo();
    assert.equal([state, bytesReceived], [1, 5]);
    assert.ok(left.tcpInfo().rttUs > 0 && rttUs >= 0 && sendMss > 0);
  });
});

for (const backend of IOLoop.backends)
  suite(`socket options before bind and connect on ${backend}`, { backend }, (test) => {
    test('are set on listeners, and inherited by what those accept', async (context) => {
      const { loop } = context;
      const accepted: number[] = [];
      const port = await serve(context, { IP_TOS: 0x10, TCP_USER_TIMEOUT: 5000 }, (stream) => {
        accepted.push(stream.getOption('IP_TOS'), stream.getOption('TCP_USER_TIMEOUT'));
        void stream.close();
      });
      const stream = await IOStream.connect({ host: '127.0.0.1', port }, { loop });
      await stream.readUntilClose();
      await stream.whenClosed;
      assert.equal(accepted, [0x10, 5000]);
    });

    test('are in force when the connection is made', async (context) => {
      const port = await serve(context, {});
      const socketOptions: SocketOptions = {
        TCP_MAXSEG: 1000,
        SO_RCVBUF: 40_000,
        IP_TTL: 32,
        SO_MARK: undefined,
      };
      const stream = await IOStream.connect({ host: '127.0.0.1', port }, { socketOptions });
      context.defer(() => stream.abort());
      // Later it would have no effect: the peer has been told.
      assert.ok(stream.tcpInfo().advertisedMss <= 1000);
      assert.ok(stream.getOption('SO_RCVBUF') >= 40_000);
      assert.is(stream.getOption('IP_TTL'), 32);
    });

    if (process.platform === 'linux') {
      test('hold a client back until it has said something', async (context) => {
        const { loop } = context;
        const heard: string[] = [];
        const port = await serve(context, { TCP_DEFER_ACCEPT: 30 }, async (stream) => {
          heard.push(`accepted with ${stream.tcpInfo().bytesReceived}`);
        });
        const stream = await IOStream.connect({ host: '127.0.0.1', port }, { loop });
        await stream.write('hello');
        await stream.readUntilClose();
        await stream.whenClosed;
        assert.equal(heard, ['accepted with 5']);
      });

      test('open fast', async (context) => {
        const { loop } = context;
        const port = await serve(context, { TCP_FASTOPEN: 16 }, async (stream) => {
          await stream.write(await stream.readBytes(5));
        });
        const socketOptions = { TCP_FASTOPEN_CONNECT: true };
        const stream = await IOStream.connect({ host: '127.0.0.1', port }, { loop, socketOptions });
        await stream.write('hello');
        assert.is(String(await stream.readUntilClose()), 'hello');
        await stream.whenClosed;
      });
    }

    test('of IPv6 are set on sockets of IPv6 alone', async (context) => {
      const socketOptions = { IPV6_UNICAST_HOPS: 7, IP_TTL: 8 };
      const server = new TCPServer(() => {}, context);
      context.defer(() => server.close({ graceMs: 0 }));
      const { port } = await server.listen(0, undefined, { socketOptions });
      for (const [host, name, value] of [
        ['127.0.0.1', 'IP_TTL', 8],
        ['::1', 'IPV6_UNICAST_HOPS', 7],
      ] as const) {
        const stream = await IOStream.connect({ host, port }, { socketOptions });
        assert.is(stream.getOption(name), value);
        stream.abort();
      }
    });

    test('that are refused are named, and leave nothing open', async (context) => {
      const { loop } = context;
      const refused = async (promise: Promise<unknown>): Promise<unknown> => {
        try {
          await promise;
        } catch (error) {
          return error;
        }
        throw new Error('it was not refused');
      };
      const socketOptions = { IP_TTL: 256 };
      const isNamed = isRefused('EINVAL', 'IP_TTL');
      const server = new TCPServer(() => {}, { loop });
      assert.ok(isNamed(await refused(server.listen(0, '127.0.0.1', { socketOptions }))));
      const port = await serve(context, {});
      for (const host of ['127.0.0.1', 'localhost'])
        assert.ok(isNamed(await refused(IOStream.connect({ host, port }, { loop, socketOptions }))));
      const path = `\0ioloop-options-${process.pid}`;
      const unix = new UnixServer(() => {}, { loop });
      const listening = unix.listen(path, { socketOptions: { TCP_FASTOPEN: 1 } });
      assert.ok(isRefused('ENOTSUP', 'TCP_FASTOPEN')(await refused(listening)));
      for (const wrong of [{ SO_NONESUCH: 1 }, { IP_TTL: 'x' }, 3]) {
        const options = { loop, socketOptions: wrong };
        const dialed: Promise<unknown> = Reflect.apply(IOStream.connect, IOStream, [{ port }, options]);
        assert.ok(isInvalid(await refused(dialed)), JSON.stringify(wrong));
        const listened: Promise<unknown> = Reflect.apply(server.listen, server, [0, '127.0.0.1', options]);
        assert.ok(isInvalid(await refused(listened)), JSON.stringify(wrong));
      }
      await Promise.all([server.close(), unix.close()]);
    });

    test('are set on Unix sockets, too', async (context) => {
      const { loop, defer } = context;
      const path = `\0ioloop-buffers-${process.pid}`;
      const sizes: number[] = [];
      const server = new UnixServer((stream) => void sizes.push(stream.getOption('SO_SNDBUF')), { loop });
      defer(() => server.close({ graceMs: 0 }));
      await server.listen(path, { socketOptions: { SO_SNDBUF: 40_000 } });
      const stream = await IOStream.connect({ path }, { loop, socketOptions: { SO_SNDBUF: 20_000 } });
      assert.is(stream.getOption('SO_SNDBUF'), 40_000);
      stream.abort();
    });
  });
