import { createServer, type Socket } from 'node:net';
import * as assert from 'uvu/assert';

import { runFile } from './support/child.ts';
import { type Client, connectTo } from './support/clients.ts';
import { signal } from './support/driven.ts';
import { example, startServer } from './support/examples.ts';
import { portOf } from './support/servers.ts';
import { suite, type TestContext } from './support/suite.ts';
import { within } from './support/within.ts';

type Defer = TestContext['defer'];

function knock(port: number, defer: Defer): Client {
  return connectTo({ host: '127.0.0.1', port }, defer);
}

suite('examples/line-chat.ts', { limitMs: 30_000 }, (test) => {
  async function join(port: number, name: string, defer: Defer): Promise<Client> {
    const client = knock(port, defer);
    await client.heard('Your name: ');
    client.send(`${name}\r\n`);
    await client.heard(`* ${name} came\n`);
    return client;
  }

  test('tells everybody what one says, and who comes and leaves', async ({ defer }) => {
    const chat = await startServer('line-chat', defer);
    const ada = await join(chat.port, 'Ada', defer);
    const bob = await join(chat.port, 'Bob', defer);
    await ada.heard('* Bob came\n');
    bob.send('hello\u001b[2J, Ada\n');
    await ada.heard('Bob: hello[2J, Ada\n');
    await bob.heard('Bob: hello[2J, Ada\n');
    bob.end();
    await ada.heard('* Bob left\n');
    ada.send('alone\n');
    await ada.heard('Ada: alone\n');
    assert.is(await chat.end(), '');
    assert.ok((await ada.all()).endsWith('* The chat is closed.\n'));
  });

  test('takes each name once, and no line without an end', async ({ defer }) => {
    const chat = await startServer('line-chat', defer);
    const ada = await join(chat.port, 'Ada', defer);
    const other = knock(chat.port, defer).send('Ada\n');
    await other.heard('Ada is here already. Your name: ');
    other.send('not a name\n');
    await other.heard('Up to 20 letters, please: ');
    other.send('Eve\n');
    await ada.heard('* Eve came\n');
    other.send('x'.repeat(2000));
    assert.match(await other.all(), /\* That line was too long\.\n(\[ECONNRESET\])?$/);
    await ada.heard('* Eve left\n');
    assert.match(await chat.end(), /^ioloop: the handler of 127.0.0.1:\d+ failed: LimitError: .*\n$/);
  });

  test('ends a guest who does not read, and nobody else', async ({ defer }) => {
    const chat = await startServer('line-chat', defer);
    const ada = await join(chat.port, 'Ada', defer);
    const deaf = await join(chat.port, 'Deaf', defer);
    deaf.socket.pause();
    const flood = `${'x'.repeat(900)}\n`.repeat(200);
    // The sockets hold a few megabytes before anything is queued.
    for (let round = 0; !ada.text.includes('* Deaf left\n'); round++) {
      ada.send(`${flood}round ${round}\n`);
      await ada.heard(`Ada: round ${round}\n`);
    }
    assert.is(await chat.end(), '');
  });
});

/** A server of Node's own that a proxy leads to, and its connections as they come. */
async function startTarget(defer: Defer): Promise<{ port: number; next: () => Promise<Socket> }> {
  const waiting: Socket[] = [];
  let onSocket = signal();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    waiting.push(socket.on('error', () => {}));
    defer(() => socket.destroy());
    onSocket.fire();
  });
  defer(() => new Promise((resolve) => server.close(resolve)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const port = portOf(server.address());
  const next = async (): Promise<Socket> => {
    onSocket = signal();
    if (waiting.length === 0) await within(5_000, onSocket.promise, 'a connection of the proxy');
    return waiting.shift() ?? next();
  };
  return { port, next };
}

suite('examples/tcp-proxy.ts', { limitMs: 30_000 }, (test) => {
  test('passes bytes on in both directions, and the end of each by itself', async ({ defer }) => {
    const target = await startTarget(defer);
    const proxy = await startServer('tcp-proxy', defer, `--to=127.0.0.1:${target.port}`);
    const client = knock(proxy.port, defer).send('ping');
    const socket = await target.next();
    const received = signal<string>();
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
      if (text === 'ping') socket.write('pong');
    });
    socket.on('end', () => received.fire(text));
    await client.heard('pong');
    client.end(', and an end');
    assert.is(await within(5_000, received.promise, 'the end at the target'), 'ping, and an end');
    socket.end(', after the end');
    assert.is(await client.all(), 'pong, after the end');
    assert.is(await proxy.end(), '');
  });

  test('reads no faster than the other side takes it', async ({ defer }) => {
    const target = await startTarget(defer);
    const proxy = await startServer('tcp-proxy', defer, `--to=127.0.0.1:${target.port}`);
    const client = knock(proxy.port, defer);
    const socket = (await target.next()).pause();
    const size = 32 * 1024 * 1024;
    let written = false;
    client.socket.write(Buffer.alloc(size), () => {
      written = true;
    });
    client.end();
    // What the sockets hold has left; the rest waits for its reader.
    let before = -1;
    while (before !== client.socket.bytesWritten - client.socket.writableLength) {
      before = client.socket.bytesWritten - client.socket.writableLength;
      for (let pass = 0; pass < 1000; pass++) await new Promise((resolve) => setImmediate(resolve));
    }
    assert.not(written);
    let taken = 0;
    for await (const chunk of socket) taken += chunk.length;
    assert.is(taken, size);
    socket.end();
    assert.is(await client.all(), '');
    assert.is(await proxy.end(), '');
  });

  test('passes a reset on as one', async ({ defer }) => {
    const target = await startTarget(defer);
    const proxy = await startServer('tcp-proxy', defer, `--to=127.0.0.1:${target.port}`);
    const client = knock(proxy.port, defer);
    const socket = await target.next();
    socket.write('+');
    await client.heard('+');
    socket.resetAndDestroy();
    assert.is(await client.all(), '+[ECONNRESET]');
    assert.match(await proxy.end(), /^ioloop: the handler of 127.0.0.1:\d+ failed: .*ECONNRESET.*\n$/);
  });

  test('closes its client when there is nobody behind, and says so', async ({ defer }) => {
    const target = await startTarget(defer);
    const proxy = await startServer('tcp-proxy', defer, '--to=127.0.0.1:1');
    assert.is(await knock(proxy.port, defer).all(), '');
    assert.match(await proxy.end(), /failed: SystemError: connect ECONNREFUSED: .*127\.0\.0\.1:1\)\n$/);
    assert.ok(target.port > 0);
  });

  test('wants to know where to', async () => {
    for (const args of [[], ['--to=nowhere'], ['--to=host:65536']]) {
      const { stderr, code } = await runFile(example('tcp-proxy'), { args });
      assert.equal([stderr, code], ['--to must be HOST:PORT\n', 1]);
    }
  });
});

suite('examples/redis-server.ts', { limitMs: 30_000 }, (test) => {
  const resp = (...words: string[]): string =>
    [`*${words.length}`, ...words.flatMap((word) => [`$${word.length}`, word]), ''].join('\r\n');

  test('answers commands that come one by one, and all at once, in order', async ({ defer }) => {
    const redis = await startServer('redis-server', defer);
    const session: readonly (readonly [command: string, reply: string])[] = [
      [resp('PING'), '+PONG\r\n'],
      [resp('ping', 'hello'), '$5\r\nhello\r\n'],
      [resp('GET', 'k'), '$-1\r\n'],
      [resp('SET', 'k', 'two\r\nlines'), '+OK\r\n'],
      [resp('GET', 'k'), '$10\r\ntwo\r\nlines\r\n'],
      [resp('INCR', 'k'), '-ERR value is not an integer or out of range\r\n'],
      [resp('INCR', 'n'), ':1\r\n'],
      [resp('INCR', 'n'), ':2\r\n'],
      [resp('DEL', 'k', 'n', 'none'), ':2\r\n'],
      [resp('EXPIRE', 'k', '10'), ':0\r\n'],
      [resp('SET', 'k', '', 'EX', '10'), '+OK\r\n'],
      [resp('EXPIRE', 'k', 'soon'), '-ERR value is not an integer or out of range\r\n'],
      [resp('EXPIRE', 'k', '10'), ':1\r\n'],
      [resp('EXPIRE', 'k', '-1'), ':1\r\n'],
      [resp('GET', 'k'), '$-1\r\n'],
      [resp('SET', 'k', 'v', 'EX'), '-ERR syntax error\r\n'],
      [resp('SET', 'k', 'v', 'EX', '0'), "-ERR invalid expire time in 'set' command\r\n"],
      [resp('SET', 'k'), "-ERR wrong number of arguments for 'set' command\r\n"],
      [resp('NONE'), "-ERR unknown command 'NONE'\r\n"],
      [resp('TWO\r\nLINES'), "-ERR unknown command 'TWO  LINES'\r\n"],
      [resp('CONFIG', 'GET', 'save'), '*2\r\n$4\r\nsave\r\n$0\r\n\r\n'],
      [resp('COMMAND'), '*0\r\n'],
      ['\r\n', ''],
      ['set inline  value\r\n', '+OK\r\n'],
      ['get inline\r\n', '$5\r\nvalue\r\n'],
      [resp('QUIT'), '+OK\r\n'],
    ];
    const commands = session.map(([command]) => command).join('');
    const replies = session.map(([, reply]) => reply).join('');
    assert.is(await knock(redis.port, defer).send(commands).all(), replies);
    const drip = knock(redis.port, defer);
    drip.socket.setNoDelay();
    await knock(redis.port, defer).send('DEL k inline\r\nQUIT\r\n').all();
    for (const byte of commands) {
      drip.send(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.is(await drip.all(), replies);
    assert.is(await redis.end(), '');
  });

  test('forgets what has expired, and not what was set anew', async ({ defer }) => {
    const redis = await startServer('redis-server', defer);
    const ask = (...commands: string[]): Promise<string> =>
      knock(redis.port, defer)
        .send([...commands, 'QUIT', ''].join('\r\n'))
        .all();
    const replies = await ask(
      'SET gone 1 PX 20',
      'SET kept 1 PX 20',
      'SET kept 2',
      'SET n 1 PX 20',
      'INCR n',
    );
    assert.is(replies, '+OK\r\n+OK\r\n+OK\r\n+OK\r\n:2\r\n+OK\r\n');
    while ((await ask('GET gone')) !== '$-1\r\n+OK\r\n');
    while ((await ask('GET n')) !== '$-1\r\n+OK\r\n');
    assert.is(await ask('GET kept'), '$1\r\n2\r\n+OK\r\n');
    assert.is(await redis.end(), '');
  });

  test('hangs up on what is no command', async ({ defer }) => {
    const redis = await startServer('redis-server', defer);
    for (const [sent, reply] of [
      ['*1\r\n+PING\r\n', "-ERR Protocol error: expected '$'\r\n"],
      ['*x\r\n', '-ERR Protocol error: invalid length\r\n'],
      ['*1\r\n$99999999\r\n', '-ERR Protocol error: invalid length\r\n'],
    ] as const)
      assert.is(await knock(redis.port, defer).send(sent).all(), reply);
    assert.is(await redis.end(), '');
  });
});
