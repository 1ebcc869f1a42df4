import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

import {
  DatagramSocket,
  IOLoop,
  SeqpacketServer,
  SeqpacketSocket,
  UnixDatagramSocket,
} from '../../src/index.ts';
import { startPeer } from '../support/peers.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { within } from '../support/within.ts';

/** A path that is free, in a directory of the test's own. */
function freePath(defer: TestContext['defer'], name = 's'): string {
  const directory = mkdtempSync(join(tmpdir(), 'ioloop-peers-'));
  defer(() => rmSync(directory, { recursive: true }));
  return join(directory, name);
}

/** The port of a socket that sends back what it gets. */
async function echoOn(type: 'udp4' | 'udp6', host: string, { loop, defer }: TestContext): Promise<number> {
  const socket = new DatagramSocket({ type, loop });
  defer(() => socket.close());
  socket.onMessages((batch) => void socket.sendMany(batch));
  return (await socket.bind(0, host)).port;
}

for (const backend of IOLoop.backends)
  suite(`UDP on ${backend}, with socat and nc`, { backend, limitMs: 30_000 }, (test) => {
    for (const [what, type, host, ...command] of [
      ["socat's UDP4", 'udp4', '127.0.0.1', 'socat', '-', 'UDP4:127.0.0.1:PORT'],
      ["socat's UDP6", 'udp6', '::1', 'socat', '-', 'UDP6:[::1]:PORT'],
      ["socat's UDP4 at a dual-stack socket", 'udp6', '::', 'socat', '-', 'UDP4:127.0.0.1:PORT'],
      ["socat's UDP6 at a dual-stack socket", 'udp6', '::', 'socat', '-', 'UDP6:[::1]:PORT'],
      ['nc -u', 'udp4', '127.0.0.1', 'nc', '-u', '127.0.0.1', 'PORT'],
      ['nc -u -6', 'udp6', '::1', 'nc', '-u', '-6', '::1', 'PORT'],
    ] as const)
      test(`answers ${what}`, async (context) => {
        const port = await echoOn(type, host, context);
        const [program, ...args] = command;
        const peer = startPeer(context.defer, [
          program,
          ...args.map((arg) => arg.replace('PORT', `${port}`)),
        ]);
        peer.tell('hello\n');
        await peer.said(/^hello\n$/);
        peer.tell(`${'x'.repeat(1_000)}\n`);
        assert.is(await peer.said(/x\n$/), `hello\n${'x'.repeat(1_000)}\n`);
      });
  });

for (const backend of IOLoop.backends)
  suite(`Unix datagrams on ${backend}, with socat`, { backend, limitMs: 30_000 }, (test) => {
    for (const where of ['a path', 'an abstract name'] as const) {
      const isAbstract = where === 'an abstract name';
      const keyword = isAbstract ? 'ABSTRACT' : 'UNIX';
      const named = (path: string): string => (isAbstract ? `\0${path}` : path);

      test(`go to ${where} and back`, async ({ loop, defer }) => {
        const [path, back] = [freePath(defer), freePath(defer)];
        await using socket = new UnixDatagramSocket({ loop });
        socket.onMessages((batch) => void socket.sendMany(batch));
        await socket.bind(named(path));
        const peer = startPeer(defer, ['socat', '-', `${keyword}-SENDTO:${path},bind=${back}`]);
        peer.tell('one\n');
        await peer.said(/^one\n$/);
        peer.tell('two\n');
        await peer.said(/^one\ntwo\n$/);
      });

      test(`get an answer from ${where}`, async ({ loop, defer }) => {
        const path = freePath(defer);
        const peer = startPeer(defer, ['socat', '-dd', `${keyword}-RECVFROM:${path}`, 'EXEC:cat']);
        await peer.complained(/receiving on/);
        await using socket = new UnixDatagramSocket({ loop });
        await socket.bind(named(freePath(defer)));
        await socket.send('hello', named(path));
        for await (const { data, path: from } of socket) {
          assert.equal([String(data), from], ['hello', named(path)]);
          break;
        }
      });
    }
  });

for (const backend of IOLoop.backends)
  suite(`seqpacket on ${backend}, with socat`, { backend, limitMs: 30_000 }, (test) => {
    test('serves a client, and hears its end', async ({ loop, defer }) => {
      const path = freePath(defer);
      const messages: string[] = [];
      await using server = new SeqpacketServer(
        async (socket) => {
          for await (const { data } of socket) {
            messages.push(String(data));
            await socket.send(data);
          }
        },
        { loop },
      );
      await server.listen(path);
      const peer = startPeer(defer, ['socat', '-', `UNIX-CONNECT:${path},type=5`]);
      peer.tell('one\n');
      await peer.said(/^one\n$/);
      peer.tell('two\n');
      await peer.said(/^one\ntwo\n$/);
      assert.is(await peer.finish(), 'one\ntwo\n');
      assert.equal(messages, ['one\n', 'two\n']);
    });

    test('talks to a server, and hears its end', async ({ loop, defer }) => {
      const path = freePath(defer);
      const peer = startPeer(defer, ['socat', '-dd', `UNIX-LISTEN:${path},type=5`, '-']);
      await peer.complained(/listening on/);
      await using socket = await SeqpacketSocket.connect({ path }, { loop });
      assert.is(socket.peerCredentials().pid, peer.child.process.pid);
      await socket.send('question\n');
      await peer.said(/^question\n$/);
      peer.tell('answer\n');
      assert.is(String((await socket.receive())?.data), 'answer\n');
      peer.child.process.stdin?.end();
      assert.is(await socket.receive(), null);
      await within(5_000, peer.finish(), 'the end of socat');
    });
  });
