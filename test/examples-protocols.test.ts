import * as assert from 'uvu/assert';

import { runFile } from './support/child.ts';
import { type Client, connectTo } from './support/clients.ts';
import { example, type ServerExample, startExample, startServer } from './support/examples.ts';
import { deadPort, NodeServer } from './support/node-server.ts';
import { suite, type TestContext } from './support/suite.ts';

type Defer = TestContext['defer'];

function knock(port: number, defer: Defer): Client {
  return connectTo({ host: '127.0.0.1', port }, defer);
}

suite('examples/chat-room.ts', { limitMs: 30_000 }, (test) => {
  async function enter(room: ServerExample, name: string, defer: Defer): Promise<Client> {
    const guest = knock(room.port, defer);
    await guest.heard('Your name: ');
    guest.send(`${name}\r\n`);
    await guest.heard(`* ${name} came\n`);
    return guest;
  }

  test('tells everybody what one says, who comes, and who leaves and why', async ({ defer }) => {
    const room = await startServer('chat-room', defer);
    const ada = await enter(room, 'Ada', defer);
    const bob = await enter(room, 'Bob', defer);
    const eve = await enter(room, 'Eve', defer);
    bob.send('hello\u001b[2J, Ada\n');
    await eve.heard('Bob: hello[2J, Ada\n');
    bob.end();
    await ada.heard('* Bob left: hung up\n');
    assert.ok((await bob.all()).endsWith('* You left: hung up\n'));
    eve.reset();
    await ada.heard('* Eve left: the connection was lost: ');
    ada.send('alone\n');
    await ada.heard('Ada: alone\n');
    assert.is(await room.end(), '');
    assert.ok((await ada.all()).endsWith('Ada: alone\n* You left: the room was closed\n'));
    assert.is(await knock(room.port, defer).all(), '[ECONNREFUSED]');
  });

  test('takes each name once, and no line without an end', async ({ defer }) => {
    const room = await startServer('chat-room', defer);
    const ada = await enter(room, 'Ada', defer);
    const other = knock(room.port, defer).send('Ada\n');
    await other.heard('Ada is here already. Your name: ');
    other.send('not a name\n');
    await other.heard('Up to 20 letters, please: ');
    other.send('Eve\n');
    await ada.heard('* Eve came\n');
    other.send('x'.repeat(2000));
    await ada.heard('* Eve left: wrote a line of more than 1000 bytes\n');
    assert.match(await other.all(), /\* You left: wrote a line of more than 1000 bytes\n$/);
    assert.is(await room.end(), '');
  });

  test('has so many guests of one address, and one more when one has left', async ({ defer }) => {
    const room = await startServer('chat-room', defer, '--guests-per-peer=2');
    const ada = await enter(room, 'Ada', defer);
    const bob = await enter(room, 'Bob', defer);
    assert.is(await knock(room.port, defer).all(), '');
    bob.end();
    await ada.heard('* Bob left: ');
    await enter(room, 'Eve', defer);
    assert.is(await room.end(), '');
  });

  test('ends guests who say and hear nothing', async ({ defer }) => {
    const room = await startServer('chat-room', defer, '--idle-ms=500');
    const nameless = knock(room.port, defer);
    const ada = await enter(room, 'Ada', defer);
    const bob = await enter(room, 'Bob', defer);
    ada.send('not yet\n');
    assert.is(await nameless.all(), 'Your name: ');
    // Each line was heard by both.
    for (const guest of [ada, bob]) assert.match(await guest.all(), /Ada: not yet\n/);
    assert.is(await room.end(), '');
  });

  test('reads a guest who says too much slowly, and the others as ever', async ({ defer }) => {
    const room = await startServer('chat-room', defer);
    const ada = await enter(room, 'Ada', defer);
    const eve = await enter(room, 'Eve', defer);
    eve.send(`${'x'.repeat(99)}\n`.repeat(80_000));
    await ada.heard('Eve: xxx');
    for (let round = 0; round < 30; round++) {
      ada.send(`round ${round}\n`);
      await ada.heard(`Ada: round ${round}\n`);
    }
    // One receive, and what a second or a few have brought since.
    assert.ok(ada.text.length < 128 * 1024, `${ada.text.length} bytes`);
    assert.is(await room.end(), '');
  });

  test('ends a guest who does not read, and nobody else', async ({ defer }) => {
    const room = await startServer('chat-room', defer, '--bytes-per-second=1e12');
    const ada = await enter(room, 'Ada', defer);
    const deaf = await enter(room, 'Deaf', defer);
    deaf.socket.pause();
    const flood = `${'x'.repeat(900)}\n`.repeat(200);
    // The sockets hold a few megabytes before anything is queued.
    for (let round = 0; !ada.text.includes('* Deaf left: the connection was lost: '); round++) {
      ada.send(`${flood}round ${round}\n`);
      await ada.heard(`Ada: round ${round}\n`);
    }
    const [, queued] = /Deaf left: the connection was lost: (\d+) bytes/.exec(ada.text) ?? [];
    assert.ok(Number(queued) < 2 * 1024 * 1024, `${queued} bytes`);
    assert.is(await room.end(), '');
  });
});

suite('examples/reconnecting-client.ts', { limitMs: 30_000 }, (test) => {
  const follow = (port: number, defer: Defer, ...args: string[]) =>
    startExample('reconnecting-client', defer, { args: [...args, `127.0.0.1:${port}`] });

  test('follows a server through its restarts', async ({ defer }) => {
    const one = await NodeServer.listen(defer, (socket) => socket.write('one\n'));
    const { port } = one;
    const client = await follow(port, defer, '--delay-ms=5', '--max-delay-ms=20', '--retries=Infinity');
    await client.said(/> one\n/);
    await one.close();
    await client.said(/> one\nlost: .*\n(connecting to .*\nfailed: .*ECONNREFUSED.*\n){3}/);
    const two = await NodeServer.listen(defer, (socket) => void socket.end('two\n'), port);
    // A line proves each connection good: what comes after it is the first retry again.
    const restarted = `> two\nlost: .*\nconnecting to 127.0.0.1:${port}, retry 1\n`;
    await client.said(new RegExp(`(${restarted}){3}`));
    await two.close();
    const three = await NodeServer.listen(defer, (socket) => socket.write('three\n'), port);
    await client.said(/> three\n/);
    assert.is(await client.end(), '');
    assert.is(three.connections, 1);
  });

  test('gives up on a server that only hangs up', async ({ defer }) => {
    const node = await NodeServer.listen(defer, (socket) => void socket.end());
    const args = ['--delay-ms=1', '--retries=3', `127.0.0.1:${node.port}`];
    const { stdout, stderr, code } = await runFile(example('reconnecting-client'), { args });
    assert.equal([stderr, code], ['gave up after 3 retries\n', 1]);
    const attempts = [0, 1, 2, 3].map((retry) => `connecting to .*, retry ${retry}\nlost: .*\n`);
    assert.match(stdout, new RegExp(`^${attempts.join('')}$`));
    assert.is(node.connections, 4);
  });

  test('ends when it is interrupted while it waits', async ({ defer }) => {
    const client = await follow(await deadPort(defer), defer, '--delay-ms=60000');
    await client.said(/failed: /);
    assert.is(await client.end(), '');
  });

  test('wants to know whom to follow', async () => {
    for (const args of [[], ['nobody'], ['host:65536']]) {
      const { stderr, code } = await runFile(example('reconnecting-client'), { args });
      assert.equal([stderr, code], ['which server? HOST:PORT\n', 1]);
    }
  });
});
