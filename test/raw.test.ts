import { fstatSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import * as assert from 'uvu/assert';

import { type Address, Interest, Ready, SystemError } from '../src/index.ts';
import * as raw from '../src/raw.ts';
import { EAGAIN } from '../src/raw.ts';
import { newFds, openFds } from './support/fds.ts';
import { startWorker } from './support/package.ts';
import { Sockets } from './support/sockets.ts';
import { suite, type TestContext } from './support/suite.ts';
import { within } from './support/within.ts';

const EPIPE = -32;
const EBADF = -9;

/** The places that a test of every family goes through. */
function places(defer: TestContext['defer']): Map<string, raw.SocketTarget> {
  const directory = mkdtempSync(join(tmpdir(), 'ioloop-'));
  defer(() => rmSync(directory, { recursive: true }));
  const all = new Map<string, raw.SocketTarget>([
    ['IPv4', { port: 0 }],
    ['Unix', { path: join(directory, 's') }],
  ]);
  // A container may have no IPv6 at all.
  const addresses = Object.values(networkInterfaces()).flat();
  if (addresses.some((each) => each?.address === '::1')) all.set('IPv6', { host: '::1', port: 0 });
  if (process.platform === 'linux') all.set('abstract', { path: `\0ioloop-${process.pid}` });
  return all;
}

function targetOf(address: Address): raw.SocketTarget {
  return address.family === 'Unix' ? { path: address.path } : { host: address.address, port: address.port };
}

/** Resolves with what `fd` is ready for. */
function ready({ loop }: TestContext, fd: number, interest: number): Promise<number> {
  const told = new Promise<number>((resolve) => {
    loop.addHandler(fd, (_, events) => void (loop.removeHandler(fd) && resolve(events)), interest);
  });
  return within(5_000, told, `readiness of fd ${fd}`);
}

/** Both ends of a connection to a new listener at `target`, and the listener; closed with the test. */
async function connected(context: TestContext, target: raw.SocketTarget): Promise<[number, number, number]> {
  const sockets = new Sockets(context.defer);
  const listener = sockets.adopt(raw.listenSocket(target));
  const client = sockets.adopt(raw.connectSocket(targetOf(raw.socketAddress(listener))));
  await ready(context, listener, Interest.READ);
  return [client, sockets.adopt(raw.acceptSocket(listener)), listener];
}

/** Whether `error` is the kernel's `code`, said of `words`. */
function refusal(code: string, ...words: string[]): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof SystemError, inspect(error));
    assert.is(error.code, code);
    assert.ok(error.errno < 0);
    for (const word of words) assert.ok(error.message.includes(word), error.message);
    return true;
  };
}

suite('raw sockets', (test) => {
  test('listen, connect, accept, send, receive and end, on every family', async (context) => {
    for (const [family, target] of places(context.defer)) {
      const [client, server, listener] = await connected(context, target);
      assert.is(raw.acceptSocket(listener), EAGAIN, family);
      await ready(context, client, Interest.WRITE);
      assert.is(raw.socketError(client), 0);
      const buffer = Buffer.alloc(16);
      assert.is(raw.recv(server, buffer), EAGAIN);
      assert.is(raw.send(client, Buffer.from('hello')), 5);
      await ready(context, server, Interest.READ);
      assert.is(raw.recv(server, buffer), 5);
      assert.is(buffer.toString('utf8', 0, 5), 'hello');
      raw.shutdownFd(client);
      await ready(context, server, Interest.READ);
      assert.is(raw.recv(server, buffer), 0);
      assert.is(raw.send(server, Buffer.from('still')), 5);
      await ready(context, client, Interest.READ);
      assert.is(raw.recv(client, buffer), 5);
      assert.is(raw.send(client, buffer), EPIPE);
      assert.ok(fstatSync(client).isSocket());
    }
  });

  test('say where they are and whom they talk to', async (context) => {
    for (const [family, target] of places(context.defer)) {
      const [client, server, listener] = await connected(context, target);
      const address = raw.socketAddress(listener);
      assert.equal(raw.peerAddress(client), address);
      assert.equal(raw.peerAddress(server), raw.socketAddress(client));
      assert.throws(() => raw.peerAddress(listener), refusal('ENOTCONN', `fd ${listener}`));
      if (address.family === 'Unix') {
        assert.is('path' in target && target.path, address.path);
        assert.is(raw.peerAddress(server).toString(), '');
        continue;
      }
      assert.is(address.family, family);
      assert.ok(address.port > 0);
      const literal = family === 'IPv6' ? '[::1]' : '127.0.0.1';
      assert.is(`${address}`, `${literal}:${address.port}`);
    }
  });

  test('take parts of a buffer, and no byte beside them', async (context) => {
    const [client, server] = await connected(context, { port: 0 });
    assert.is(raw.send(client, Buffer.from('0123456789'), 2, 3), 3);
    assert.is(raw.send(client, Buffer.from('0123456789'), 8), 2);
    await ready(context, server, Interest.READ);
    const target = Buffer.alloc(8, '.');
    assert.is(raw.recv(server, target, 1, 4), 4);
    assert.is(target.toString(), '.2348...');
    assert.is(raw.recv(server, target.subarray(6), 1), 1);
    assert.is(target.toString(), '.2348..9');
    assert.is(raw.recv(server, new Uint8Array(new SharedArrayBuffer(4))), EAGAIN);
  });

  test('take no more than the kernel has room for, then would block', async (context) => {
    const [client, server] = await connected(context, { port: 0 });
    const block = Buffer.alloc(1 << 20);
    let sent = 0;
    let last = raw.send(client, block);
    for (; last > 0; last = raw.send(client, block)) sent += last;
    assert.is(last, EAGAIN);
    let received = 0;
    while (received < sent) {
      await ready(context, server, Interest.READ);
      const count = raw.recv(server, block);
      assert.ok(count > 0);
      received += count;
    }
    assert.is(received, sent);
    await ready(context, client, Interest.WRITE);
  });

  test('work together with those of Node', async ({ defer }) => {
    const sockets = new Sockets(defer);
    const server = createServer((socket) => socket.end('from Node'));
    defer(() => new Promise((resolve) => server.close(resolve)));
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    assert.ok(typeof address === 'object' && address !== null);
    const fd = raw.connectSocket({ port: address.port });
    // Node owns it from here, and closes it.
    const stream = new Socket({ fd: fd });
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => void chunks.push(chunk));
    await within(5_000, new Promise((resolve) => stream.once('close', resolve)), 'the end');
    assert.is(Buffer.concat(chunks).toString(), 'from Node');
    assert.ok(sockets.pair()[0] >= 0);
  });

  test('answer what cannot be: EADDRINUSE, ECONNREFUSED, ENOENT, EADDRNOTAVAIL, a long path', async (context) => {
    const sockets = new Sockets(context.defer);
    const listener = sockets.adopt(raw.listenSocket({ port: 0 }));
    const address = raw.socketAddress(listener);
    assert.ok('port' in address);
    const { port } = address;
    assert.throws(() => raw.listenSocket({ port }), refusal('EADDRINUSE', `127.0.0.1:${port}`));
    assert.throws(
      () => raw.listenSocket({ host: '192.0.2.1', port: 0 }),
      refusal('EADDRNOTAVAIL', '192.0.2.1:0'),
    );
    assert.throws(() => raw.connectSocket({ path: '/no/such/path' }), refusal('ENOENT', '/no/such/path'));
    const long = `/tmp/${'x'.repeat(200)}`;
    assert.throws(() => raw.connectSocket({ path: long }), refusal('ENAMETOOLONG', long));
    assert.throws(() => raw.listenSocket({ path: long }), refusal('ENAMETOOLONG', long));
    sockets.close(listener);
    const client = sockets.adopt(raw.connectSocket({ port }));
    const events = await ready(context, client, Interest.WRITE);
    assert.ok((events & Ready.WRITE) !== 0);
    const error = raw.toSystemError(raw.socketError(client), 'connect');
    assert.ok(refusal('ECONNREFUSED', 'connect')(error));
  });

  test('share a port when all of them ask for it', ({ defer }) => {
    const sockets = new Sockets(defer);
    const first = raw.socketAddress(sockets.adopt(raw.listenSocket({ port: 0, reusePort: true })));
    assert.ok('port' in first);
    const second = sockets.adopt(raw.listenSocket({ port: first.port, reusePort: true }));
    assert.equal(raw.socketAddress(second), first);
    assert.throws(() => raw.listenSocket({ port: first.port }), refusal('EADDRINUSE'));
  });

  test('answer -EBADF, or throw it, for what is not open', ({ defer }) => {
    const sockets = new Sockets(defer);
    const [closed] = sockets.pair();
    sockets.close(closed);
    const buffer = Buffer.alloc(1);
    const fds = [closed, 0x7fffffff];
    for (const fd of fds) {
      for (const result of [
        raw.recv(fd, buffer),
        raw.send(fd, buffer),
        raw.acceptSocket(fd),
        raw.socketError(fd),
      ])
        assert.is(result, EBADF);
      for (const call of [raw.socketAddress, raw.peerAddress, raw.shutdownFd, raw.closeFd])
        assert.throws(() => call(fd), refusal('EBADF', `fd ${fd}`), call.name);
    }
  });
});

suite('raw descriptors of a worker', (test) => {
  test('are closed with it, but for those that it closed', async () => {
    const before = openFds();
    const worker = startWorker(`
      const listener = raw.listenSocket({ port: 0 });
      const target = { port: raw.socketAddress(listener).port };
      const held = [];
      for (let i = 0; i < 50; i++) {
        held.push(raw.connectSocket(target));
        const accepted = raw.acceptSocket(listener);
        if (accepted >= 0) held.push(accepted);
      }
      for (const fd of held.splice(0, 20)) raw.closeFd(fd);
      parentPort.postMessage(held.length);
    `);
    // Both at once: its last word may come together with its end.
    const word = new Promise((resolve) => worker.once('message', resolve));
    const end = new Promise((resolve) => worker.once('exit', resolve));
    assert.ok(Number(await within(5_000, word, 'its word')) >= 30);
    await within(5_000, end, 'its end');
    const sockets = newFds(before, openFds()).filter((line) => line.includes('socket:'));
    assert.equal(sockets, []);
  });
});
