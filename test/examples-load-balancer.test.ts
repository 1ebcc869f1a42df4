import { createHash } from 'node:crypto';
import { createServer, type Socket } from 'node:net';
import * as assert from 'uvu/assert';

import type { IOStream, ServerOptions } from '../src/index.ts';
import { runFile } from './support/child.ts';
import { type Client, connectTo } from './support/clients.ts';
import { signal } from './support/driven.ts';
import { example, type ServerExample, startServer } from './support/examples.ts';
import { portOf, type Served, serve } from './support/servers.ts';
import { suite, type TestContext } from './support/suite.ts';
import { nextTurn, passes } from './support/turns.ts';

type Defer = TestContext['defer'];

/** A server that says its name and its client's address, then echoes until its client has ended. */
function startTarget(context: TestContext, name: string, options: ServerOptions = {}): Promise<Served> {
  const introduce = async (stream: IOStream): Promise<void> => {
    void stream.write(`${name} for ${stream.remote}\n`);
    for await (const chunk of stream) await stream.write(chunk);
    await stream.end(`bye from ${name}\n`);
  };
  return serve(context, introduce, { allowHalfOpen: true, proxyProtocol: true, ...options });
}

function balance(defer: Defer, ports: readonly number[], ...args: string[]): Promise<ServerExample> {
  return startServer('tcp-load-balancer', defer, ...ports.map((port) => `--to=127.0.0.1:${port}`), ...args);
}

function knock({ port }: ServerExample, defer: Defer): Client {
  return connectTo({ host: '127.0.0.1', port }, defer);
}

/** A port where nobody listens. */
async function deadPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const port = portOf(server.address());
  await new Promise((resolve) => server.close(resolve));
  return port;
}

suite('examples/tcp-load-balancer.ts', { limitMs: 30_000 }, (test) => {
  test('gives each client the server with the fewest, and tells that who it is', async (context) => {
    const { defer, loop } = context;
    const [a, b] = [await startTarget(context, 'a'), await startTarget(context, 'b')];
    const balancer = await balance(defer, [a.port, b.port]);
    const clients: Client[] = [];
    for (const name of ['a', 'b', 'a', 'b']) {
      const client = knock(balancer, defer);
      clients.push(client);
      await client.heard('\n');
      assert.is(client.text, `${name} for 127.0.0.1:${client.socket.localPort}\n`);
    }
    // Both of b's leave, and are replaced.
    for (const client of [clients[1], clients[3]])
      assert.match((await client?.end().all()) ?? '', /bye from b\n$/);
    while (b.server.connections > 0) await nextTurn(loop);
    for (let round = 0; round < 2; round++) await knock(balancer, defer).heard('b for ');
    assert.is(await balancer.end(), '');
    assert.equal([a.errors, b.errors], [[], []]);
  });

  test('passes the end of each half on by itself', async (context) => {
    const target = await startTarget(context, 'a');
    const balancer = await balance(context.defer, [target.port]);
    const client = knock(balancer, context.defer).end('one\n');
    assert.match(await client.all(), /^a for 127\.0\.0\.1:\d+\none\nbye from a\n$/);
    assert.is(await balancer.end(), '');
  });

  test('leaves a server that refuses alone, and serves its clients by another', async (context) => {
    const [dead, b] = [await deadPort(), await startTarget(context, 'b')];
    const balancer = await balance(context.defer, [dead, b.port]);
    for (let round = 0; round < 4; round++) {
      const client = knock(balancer, context.defer);
      await client.heard('b for ');
    }
    assert.match(await balancer.end(), new RegExp(`^127\\.0\\.0\\.1:${dead} rests: .*ECONNREFUSED.*\n$`));
  });

  test('asks it again after a while, and hangs up when nobody is there', async (context) => {
    const port = await deadPort();
    const balancer = await balance(context.defer, [port], '--retry-ms=0');
    assert.match(await knock(balancer, context.defer).all(), /^(\[ECONNRESET\])?$/);
    const late = await startTarget(context, 'late');
    await late.server.listen(port, '127.0.0.1');
    await knock(balancer, context.defer).heard('late for ');
    assert.match(await balancer.end(), /rests: .*ECONNREFUSED.*\nno server for 127\.0\.0\.1:\d+\n$/);
  });

  test('passes a reset on as one, either way', async (context) => {
    const sockets: Socket[] = [];
    const onSocket = signal<Socket>();
    const server = createServer((socket) => {
      sockets.push(socket.on('error', () => {}));
      onSocket.fire(socket);
    });
    context.defer(() => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(resolve));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const balancer = await balance(context.defer, [portOf(server.address())], '--plain');
    const client = knock(balancer, context.defer);
    const first = await onSocket.promise;
    first.write('+');
    await client.heard('+');
    first.resetAndDestroy();
    assert.is(await client.all(), '+[ECONNRESET]');
    const leaver = knock(balancer, context.defer);
    while (sockets.length < 2) await passes(1);
    const second = sockets[1];
    const ended = signal<string>();
    second?.on('error', (error) => ended.fire('code' in error ? String(error.code) : error.message));
    second?.write('+');
    await leaver.heard('+');
    leaver.reset();
    assert.is(await ended.promise, 'ECONNRESET');
    assert.is(await balancer.end(), '');
  });

  test('reads no faster than the other side takes it, and changes no byte', async (context) => {
    const { defer } = context;
    const hash = createHash('sha256');
    const gate = signal();
    const hashed = signal<string>();
    const target = await serve(
      context,
      async (stream) => {
        await gate.promise;
        for await (const chunk of stream) hash.update(chunk);
        hashed.fire(hash.digest('hex'));
      },
      { proxyProtocol: true },
    );
    const balancer = await balance(defer, [target.port]);
    const client = knock(balancer, defer);
    const data = Buffer.alloc(32 * 1024 * 1024);
    for (let at = 0; at < data.length; at += 4) data.writeUInt32LE(at, at);
    client.socket.end(data);
    // What the sockets hold has left; the rest waits for its reader.
    let before = -1;
    while (before !== client.socket.bytesWritten - client.socket.writableLength) {
      before = client.socket.bytesWritten - client.socket.writableLength;
      await passes(1000);
    }
    assert.ok(client.socket.writableLength > 0);
    gate.fire();
    assert.is(await hashed.promise, createHash('sha256').update(data).digest('hex'));
    await client.all();
    assert.is(await balancer.end(), '');
  });

  test('wants to know where to', async () => {
    for (const args of [[], ['--to=nowhere'], ['--to=host:65536']]) {
      const { stderr, code } = await runFile(example('tcp-load-balancer'), { args });
      assert.equal([stderr, code], ['--to must be HOST:PORT\n', 1]);
    }
  });
});
