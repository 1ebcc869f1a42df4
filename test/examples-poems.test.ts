import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';

import { runFile } from './support/child.ts';
import { type Client, connectTo } from './support/clients.ts';
import { signal } from './support/driven.ts';
import { example, type ServerExample, startServer } from './support/examples.ts';
import { deadPort, NodeServer } from './support/node-server.ts';
import { suite, type TestContext } from './support/suite.ts';

type Defer = TestContext['defer'];

function knock(port: number, defer: Defer): Client {
  return connectTo({ host: '127.0.0.1', port }, defer);
}

async function isFree(port: number, defer: Defer): Promise<void> {
  assert.is(await knock(port, defer).all(), '[ECONNREFUSED]', `port ${port}`);
}

const POEMS = ['eternity', 'fame', 'wind'].map((title) => ({
  title,
  text: readFileSync(new URL(`../examples/poems/${title}.txt`, import.meta.url), 'latin1'),
}));

/** A poem server, and its ports in the order of its poems. */
async function startPoems(
  defer: Defer,
  count: number,
  ...args: string[]
): Promise<ServerExample & { readonly ports: number[] }> {
  const server = await startServer('poem-server', defer, ...args);
  const listening = await server.said(new RegExp(`^(?:\\w+: 127.0.0.1:\\d+\\n){${count}}`));
  return { ...server, ports: [...listening.matchAll(/:(\d+)\n/g)].map(([, port]) => Number(port)) };
}

suite('examples/poem-server.ts', { limitMs: 30_000 }, (test) => {
  test('recites each poem on its port, to all who listen', async ({ defer }) => {
    const server = await startPoems(defer, 3, '--pause-ms=1');
    const listeners = [...server.ports, ...server.ports].map((port) => knock(port, defer));
    const heard = await Promise.all(listeners.map((listener) => listener.all()));
    const texts = POEMS.map(({ text }) => text);
    assert.equal(heard, [...texts, ...texts]);
    const told = await server.said(/(?: heard .*){6}/s);
    for (const { title, text } of POEMS) {
      const line = new RegExp(`^${title}: .*:\\d+ heard ${text.length} of ${text.length} bytes$`, 'gm');
      assert.is(told.match(line)?.length, 2, told);
    }
    assert.is(await server.end(), '');
    for (const port of server.ports) await isFree(port, defer);
  });

  test('has those who listen hear it out before it ends, and tells who has left', async ({ defer }) => {
    const server = await startPoems(defer, 3, '--pause-ms=200');
    const [, , port = 0] = server.ports;
    const [stays, leaves] = [knock(port, defer), knock(port, defer)];
    await stays.heard('Who has ');
    await leaves.heard('Who has ');
    leaves.reset();
    await server.said(/wind: .* heard \d{2} of 124 bytes\n/);
    server.child.process.kill('SIGINT');
    await server.said(/wind: no more\n/);
    for (const freed of server.ports) await isFree(freed, defer);
    assert.is(await stays.all(), POEMS[2]?.text);
    const { stdout, stderr, code } = await server.child.result;
    assert.equal([stderr, code], ['', 0]);
    assert.match(stdout, /(?:\w+: no more\n){3}wind: .* heard 124 of 124 bytes\n$/);
  });

  test('starts and stops a poem once, however many ports it has', async ({ defer }) => {
    const server = await startPoems(defer, 6, '--host=127.0.0.1', '--host=127.0.0.1');
    assert.is(new Set(server.ports).size, 6);
    assert.is(await server.end(), '');
    const { stdout } = await server.child.result;
    assert.match(stdout, /\d\neternity: no more\nfame: no more\nwind: no more\n$/);
  });

  test('is never ahead of who listens slowly', async ({ defer }) => {
    const directory = mkdtempSync(join(tmpdir(), 'ioloop-poems-'));
    defer(() => rmSync(directory, { recursive: true }));
    const epic = join(directory, 'epic.txt');
    const size = 32 * 1024 * 1024;
    writeFileSync(epic, Buffer.alloc(size, 'tum te '));
    const server = await startPoems(defer, 1, '--bytes=65536', '--pause-ms=0', epic);
    const slow = knock(server.port, defer);
    await slow.heard('tum');
    slow.socket.pause();
    assert.is((await knock(server.port, defer).all()).length, size);
    slow.reset();
    const told = await server.said(/(?: heard .*){2}/s);
    // The sockets hold a few megabytes.
    const [, bytes] = / heard \d+ of .* heard (\d+) of /s.exec(told) ?? [];
    assert.ok(Number(bytes) < 16 * 1024 * 1024, told);
    assert.is(await server.end(), '');
  });

  test('names a poem that there is not, and listens to nobody then', async () => {
    const wind = fileURLToPath(new URL('../examples/poems/wind.txt', import.meta.url));
    const missing = await runFile(example('poem-server'), { args: ['--port=0', wind, '/not/there.txt'] });
    assert.match(missing.stderr, /^ENOENT: .*'\/not\/there.txt'\n$/);
    const mute = await runFile(example('poem-server'), { args: ['--bytes=0'] });
    assert.is(mute.stderr, '--bytes must be a number from 1\n');
    assert.equal([missing.code, mute.code], [1, 1]);
  });
});

suite('examples/poem-client.ts', { limitMs: 30_000 }, (test) => {
  const download = (...args: (string | number)[]) =>
    runFile(example('poem-client'), { args: args.map(String) });

  test('downloads from all at once, and prints in the order asked for', async ({ defer }) => {
    const server = await startPoems(defer, 3, '--pause-ms=1');
    const [eternity = 0, fame = 0, wind = 0] = server.ports;
    const { stdout, stderr, code } = await download(wind, `127.0.0.1:${fame}`, `localhost:${eternity}`);
    assert.equal([stderr, code], ['', 0]);
    const printed = [...stdout.matchAll(/^-- (\S+): (\d+) bytes in \d+ ms\n(.*?\n)\n(?=-- |\d)/gms)];
    assert.equal(
      printed.map(([, place, bytes, text]) => [place, Number(bytes), text]),
      [
        [`127.0.0.1:${wind}`, 124, POEMS[2]?.text],
        [`127.0.0.1:${fame}`, 89, POEMS[1]?.text],
        [`localhost:${eternity}`, 143, POEMS[0]?.text],
      ],
    );
    assert.match(stdout, /\n3 of 3 poems in \d+ ms\n$/);
    assert.is(await server.end(), '');
  });

  test('tells who refused, hung up or did not end, and hears the others', async ({ defer }) => {
    const over = signal();
    // Those that wait for another are asked at the same time, or there is no end.
    const first = await NodeServer.listen(
      defer,
      (socket) => void over.promise.then(() => socket.end('first\n')),
    );
    const second = await NodeServer.listen(
      defer,
      (socket) => void socket.on('close', over.fire).end('second\n'),
    );
    const refuses = await deadPort(defer);
    const hangsUp = await NodeServer.listen(defer, (socket) => {
      socket.write('hal');
      void over.promise.then(() => socket.resetAndDestroy());
    });
    const tooLong = await NodeServer.listen(defer, (socket) => socket.end(Buffer.alloc(2 ** 20 + 1)));
    const endless = await NodeServer.listen(defer, (socket) => socket.write('and so on\n'));
    const ports = [first.port, refuses, hangsUp.port, tooLong.port, endless.port, second.port];
    const { stdout, stderr, code } = await download('--deadline-ms=2000', ...ports);
    assert.match(
      stdout,
      /^-- \S+: 6 bytes in \d+ ms\nfirst\n\n-- \S+: 7 bytes in \d+ ms\nsecond\n\n2 of 6 poems in \d+ ms\n$/,
    );
    const [refused = '', cut = '', long, late] = stderr.split('\n');
    assert.match(refused, new RegExp(`^-- ${refuses}: connect ECONNREFUSED: `));
    assert.match(
      cut,
      new RegExp(`^-- ${hangsUp.port}: cut off after 3 bytes, the connection was lost: .*ECONNRESET`),
    );
    assert.is(long, `-- ${tooLong.port}: it is longer than 1048576 bytes`);
    assert.is(late, `-- ${endless.port}: not done within 2000 ms`);
    assert.is(code, 1);
  });

  test('wants to know from where', async () => {
    for (const [args, complaint] of [
      [[], 'which servers? [HOST:]PORT ...\n'],
      [['nowhere'], '[HOST:]PORT is wanted, not "nowhere"\n'],
      [['host:65536'], '[HOST:]PORT is wanted, not "host:65536"\n'],
    ] as const) {
      const { stderr, code } = await download(...args);
      assert.equal([stderr, code], [complaint, 1]);
    }
  });
});
