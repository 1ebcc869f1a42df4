import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import * as assert from 'uvu/assert';

import { type Address, IOLoop, IOLoopError, type IOStream, SystemError, TCPServer } from '../../src/index.ts';
import { closeFd, connectSocket, listenSocket, socketAddress } from '../../src/raw.ts';
import { root } from '../support/child.ts';
import { connectTo } from '../support/clients.ts';
import { portOf } from '../support/servers.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { within } from '../support/within.ts';

/** Tells a client where it connected to. */
const tellLocal = (stream: IOStream): Promise<void> => stream.write(stream.local.toString());

function makeServer({ loop, defer }: TestContext): TCPServer {
  const server = new TCPServer(tellLocal, { loop });
  defer(() => server.close({ graceMs: 0 }));
  return server;
}

/** What `promise` rejects with. */
async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => assert.unreachable('it was allowed'),
    (reason: unknown) => reason,
  );
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof SystemError && error.code === code;
}

for (const backend of IOLoop.backends)
  suite(`a TCP server on ${backend}`, { backend }, (test) => {
    test('listens at several places', async (context) => {
      const server = makeServer(context);
      const first = await server.listen(0, '127.0.0.1');
      const second = await server.listen(0, '::1');
      assert.equal(server.addresses, [first, second]);
      for (const { address: host, port } of [first, second])
        assert.match(await connectTo({ host, port }, context.defer).all(), new RegExp(`:${port}$`));
    });

    test('listens at both families without a host', async (context) => {
      const { port } = await makeServer(context).listen(0);
      for (const host of ['127.0.0.1', '::1'])
        assert.match(await connectTo({ host, port }, context.defer).all(), new RegExp(`:${port}$`));
    });

    test('listens at all addresses of a name, on one port', async (context) => {
      const server = makeServer(context);
      const asked: string[] = [];
      const { port } = await server.listen(0, 'name.test', {
        lookup: (name, _options, callback) => {
          asked.push(name);
          callback(null, [
            { address: '127.0.0.2', family: 4 },
            { address: '::1', family: 6 },
          ]);
        },
      });
      const places = server.addresses.map(String);
      assert.equal([places.sort(), asked], [[`127.0.0.2:${port}`, `[::1]:${port}`], ['name.test']]);
      for (const host of ['127.0.0.2', '::1'])
        assert.match(await connectTo({ host, port }, context.defer).all(), new RegExp(`:${port}$`));
    });

    test('says which port is taken', async (context) => {
      const server = makeServer(context);
      const { port } = await server.listen(0, '127.0.0.1');
      const error = await rejection(server.listen(port, '127.0.0.1'));
      assert.ok(isCode(error, 'EADDRINUSE'));
      assert.match(String(error), new RegExp(`127\\.0\\.0\\.1:${port}`));
      assert.is(server.addresses.length, 1);
    });

    test('shares a port by reusePort', async (context) => {
      const servers = [makeServer(context), makeServer(context)];
      let port = 0;
      for (const server of servers) ({ port } = await server.listen(port, '127.0.0.1', { reusePort: true }));
      assert.equal(
        servers.map(({ addresses }) => portOf(addresses[0] ?? null)),
        [port, port],
      );
      const unshared = await rejection(makeServer(context).listen(port, '127.0.0.1'));
      assert.ok(isCode(unshared, 'EADDRINUSE'));
    });

    test('takes over a socket that listens', async (context) => {
      const server = makeServer(context);
      const fd = listenSocket({ host: '127.0.0.1', port: 0 });
      const address: Address = socketAddress(fd);
      assert.equal(await server.listenFd(fd), address);
      assert.is(
        await connectTo({ host: '127.0.0.1', port: portOf(address) }, context.defer).all(),
        `${address}`,
      );
      server.stop();
      assert.throws(() => closeFd(fd), /EBADF/);
    });

    test('leaves what does not listen to its owner', async (context) => {
      const server = makeServer(context);
      const listener = listenSocket({ host: '127.0.0.1', port: 0 });
      const fd = connectSocket({ port: portOf(socketAddress(listener)) });
      context.defer(() => {
        for (const open of [listener, fd]) closeFd(open);
      });
      assert.ok(isCode(await rejection(server.listenFd(fd)), 'EINVAL'));
      assert.ok(isCode(await rejection(server.listenFd(9999)), 'EBADF'));
      assert.equal(server.addresses, []);
    });

    test('refuses arguments that are none', async (context) => {
      const server = makeServer(context);
      for (const args of [[], [-1], [65536], ['80'], [0, ''], [0, 'x', 1], [0, '::1', { backlog: -1 }]]) {
        const refused: Promise<unknown> = Reflect.apply(server.listen, server, args);
        assert.ok(IOLoopError.is(await rejection(refused), 'ERR_IOLOOP_INVALID_ARGUMENT'), String(args));
      }
      for (const fd of [-1, 1.5, '3']) {
        const refused: Promise<unknown> = Reflect.apply(server.listenFd, server, [fd]);
        assert.ok(IOLoopError.is(await rejection(refused), 'ERR_IOLOOP_INVALID_ARGUMENT'), String(fd));
      }
    });
  });

/** Serves what a service manager handed over; ends with its standard input. */
const ACTIVATED = `
  import { listenFds, TCPServer } from './src/index.ts';
  const server = new TCPServer((stream) => stream.write(String(stream.local)));
  const inherited = listenFds({ unset: true });
  for (const { fd } of inherited) await server.listenFd(fd);
  console.log(JSON.stringify([inherited, server.addresses.map(String), process.env.LISTEN_FDS ?? null]));
  process.stdin.on('end', () => server.close()).resume();
`;

suite('a server under systemd', (test) => {
  test('serves on the sockets of LISTEN_FDS', async ({ defer }) => {
    const sockets = ['127.0.0.1', '::1'].map((host) => listenSocket({ host, port: 0 }));
    defer(() => {
      for (const fd of sockets) closeFd(fd);
    });
    // The shell knows its own process id, which is Node's after exec.
    const handOver = 'LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=four:six exec "$0" "$@"';
    const argv = ['--import', 'tsx', '--input-type=module', '--eval', ACTIVATED];
    const child = spawn('sh', ['-c', handOver, process.execPath, ...argv], {
      cwd: root,
      stdio: ['pipe', 'pipe', 'inherit', ...sockets],
    });
    const ended = once(child, 'close');
    defer(() => ended);
    defer(() => child.kill('SIGKILL'));
    const { stdout, stdin } = child;
    assert.ok(stdout !== null && stdin !== null);
    const [line] = await within(10_000, once(stdout, 'data'), 'the first line');
    const places = sockets.map((fd) => socketAddress(fd));
    assert.equal(JSON.parse(String(line)), [
      [
        { fd: 3, name: 'four' },
        { fd: 4, name: 'six' },
      ],
      places.map(String),
      null,
    ]);
    for (const place of places) {
      assert.ok(place.family !== 'Unix');
      const socket = connect({ host: place.address, port: place.port });
      assert.is(await within(5_000, text(socket), 'the answer'), String(place));
    }
    stdin.end();
    const [code] = await within(5_000, ended, 'the end of the child');
    assert.is(code, 0);
  });
});
