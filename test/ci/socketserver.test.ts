import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

import {
  type Address,
  DatagramSocket,
  IOLoop,
  IOStream,
  TCPServer,
  UDPServer,
  UnixDatagramServer,
  UnixDatagramSocket,
  UnixServer,
} from '../../src/index.ts';
import { type Peer, startPython } from '../support/peers.ts';
import { suite, type TestContext } from '../support/suite.ts';

type Defer = TestContext['defer'];

const KINDS = ['TCPServer', 'UDPServer', 'UnixStreamServer', 'UnixDatagramServer'] as const;
type Kind = (typeof KINDS)[number];

/** A server of Python's socketserver: `kind`, and the path of one in the Unix domain. It answers in capitals. */
const SERVER = `
import socketserver, sys
kind = getattr(socketserver, sys.argv[1])
class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())
class Datagrams(socketserver.BaseRequestHandler):
    def handle(self):
        data, server = self.request
        server.sendto(data.upper(), self.client_address)
with kind(('127.0.0.1', 0) if len(sys.argv) < 3 else sys.argv[2],
          Datagrams if issubclass(kind, socketserver.UDPServer) else Lines) as server:
    print('serves at', server.server_address)
    server.serve_forever()`;

/** A client in Python of a server of that kind: two questions, two answers. The last argument is a path to be called by. */
const CLIENT = `
import socket, sys
kind, where, back = sys.argv[1:]
family = socket.AF_UNIX if 'Unix' in kind else socket.AF_INET
with socket.socket(family, socket.SOCK_STREAM if kind in ('TCPServer', 'UnixStreamServer') else socket.SOCK_DGRAM) as client:
    if kind == 'UnixDatagramServer':
        client.bind(back)
    client.connect(where if 'Unix' in kind else ('127.0.0.1', int(where)))
    for word in 'one', 'two':
        client.send(word.encode() + b'\\n')
        print(client.recv(100).decode(), end='')`;

function directoryFor(defer: Defer): string {
  const directory = mkdtempSync(join(tmpdir(), 'ioloop-socketserver-'));
  defer(() => rmSync(directory, { recursive: true }));
  return directory;
}

/** Asks a server of Python's over a stream of ours. */
async function askByStream(target: { port: number } | { path: string }, loop: IOLoop): Promise<string[]> {
  await using stream = await IOStream.connect('port' in target ? { ...target, host: '127.0.0.1' } : target, {
    loop,
  });
  const answers: string[] = [];
  for (const word of ['one\n', 'two\n']) {
    await stream.write(word);
    answers.push(String(await stream.readUntil('\n')));
  }
  return answers;
}

/** Asks one by datagrams of ours: `send` sends a word, and what comes is the answer. */
async function askByDatagrams(
  socket: DatagramSocket | UnixDatagramSocket,
  send: (word: string) => Promise<void>,
): Promise<string[]> {
  const answers: string[] = [];
  await send('one\n');
  for await (const { data } of socket) {
    answers.push(String(data));
    if (answers.length === 2) break;
    await send('two\n');
  }
  return answers;
}

async function ask(kind: Kind, peer: Peer, path: string, { loop, defer }: TestContext): Promise<string[]> {
  const [, port] = /(\d+)\)\n/.exec(await peer.said(/serves at .*\n/)) ?? [];
  switch (kind) {
    case 'TCPServer':
      return askByStream({ port: Number(port) }, loop);
    case 'UnixStreamServer':
      return askByStream({ path }, loop);
    case 'UDPServer': {
      await using socket = new DatagramSocket({ type: 'udp4', loop });
      return await askByDatagrams(socket, (word) => socket.send(word, Number(port), '127.0.0.1'));
    }
    case 'UnixDatagramServer': {
      await using socket = new UnixDatagramSocket({ loop });
      await socket.bind(join(directoryFor(defer), 'client'));
      return await askByDatagrams(socket, (word) => socket.send(word, path));
    }
  }
}

/** A server of ours that answers in capitals, and where it is, for {@link CLIENT}. */
async function serve(kind: Kind, path: string, { loop, defer }: TestContext): Promise<string> {
  const answerLines = async (stream: IOStream): Promise<void> => {
    for (;;) await stream.write(String(await stream.readUntil('\n')).toUpperCase());
  };
  const answer = (request: { data: Buffer; reply: (data: string) => Promise<void> }): Promise<void> =>
    request.reply(String(request.data).toUpperCase());
  const servers = {
    TCPServer: () => new TCPServer(answerLines, { loop }),
    UDPServer: () => new UDPServer(answer, { loop }),
    UnixStreamServer: () => new UnixServer(answerLines, { loop }),
    UnixDatagramServer: () => new UnixDatagramServer(answer, { loop }),
  };
  const server = servers[kind]();
  defer(() => server.close({ graceMs: 0 }));
  const address: Address =
    server instanceof TCPServer || server instanceof UDPServer
      ? await server.listen(0, '127.0.0.1')
      : await server.listen(path);
  return 'port' in address ? `${address.port}` : address.path;
}

for (const backend of IOLoop.backends)
  suite(`Python's socketserver and ours on ${backend}`, { backend, limitMs: 30_000 }, (test) => {
    for (const kind of KINDS) {
      test(`a ${kind} of Python answers clients of ours`, async (context) => {
        const path = join(directoryFor(context.defer), 'server');
        const server = startPython(context.defer, SERVER, kind, ...(kind.startsWith('Unix') ? [path] : []));
        assert.equal(await ask(kind, server, path, context), ['ONE\n', 'TWO\n']);
      });

      test(`a ${kind} of ours answers clients in Python`, async (context) => {
        const directory = directoryFor(context.defer);
        const where = await serve(kind, join(directory, 'server'), context);
        const client = startPython(context.defer, CLIENT, kind, where, join(directory, 'client'));
        assert.is(await client.finish(), 'ONE\nTWO\n');
      });
    }
  });
