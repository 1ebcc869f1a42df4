import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

import { DatagramSocket, SeqpacketSocket, UnixDatagramSocket } from '../../src/index.ts';
import { type Peer, startPeer } from '../support/peers.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { within } from '../support/within.ts';

type Defer = TestContext['defer'];

/** Serves the socket that it was started with, and tells one message. */
const SERVER = `
  import { DatagramSocket, listenFds, SeqpacketServer, UnixDatagramServer, UnixDatagramSocket } from './src/index.ts';
  const [{ fd, name }] = listenFds({ unset: true });
  const kind = process.argv.at(-1);
  const tell = (data) => console.log(name, String(data));
  if (kind === 'seqpacket') {
    const server = new SeqpacketServer(async (socket) => {
      tell((await socket.receive()).data);
      void server.close();
    });
    await server.listenFd(fd);
  } else {
    const socket = kind === 'udp' ? DatagramSocket.fromFd(fd) : UnixDatagramSocket.fromFd(fd);
    for await (const { data } of socket) {
      tell(data);
      break;
    }
    await socket.close();
  }`;

/** A server that Debian's package "systemd" starts once somebody sends to `where`: systemd-socket-activate(1). */
async function activate(defer: Defer, kind: string, where: string, option: string): Promise<Peer> {
  const node = [process.execPath, '--import', 'tsx', '--input-type=module', '--eval', SERVER, '--', kind];
  // It hands on no more of its environment than it is told to.
  const ours = Object.keys(process.env).filter((name) => name.startsWith('IOLOOP_'));
  const options = [option, `--listen=${where}`, ...ours.map((name) => `--setenv=${name}`)];
  const peer = startPeer(defer, ['systemd-socket-activate', ...options, ...node]);
  await peer.complained(/Listening on/);
  return peer;
}

function freePath(defer: Defer): string {
  const directory = mkdtempSync(join(tmpdir(), 'ioloop-activation-'));
  defer(() => rmSync(directory, { recursive: true }));
  return join(directory, 's');
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  return port;
}

suite("sockets of systemd's", { limitMs: 30_000 }, (test) => {
  const check = async (peer: Peer): Promise<void> => {
    assert.is(await within(20_000, peer.finish(), 'the end of the server'), 'unknown hello\n');
  };

  test('may be of UDP', async ({ loop, defer }) => {
    const port = await freePort();
    const peer = await activate(defer, 'udp', `127.0.0.1:${port}`, '--datagram');
    await using socket = new DatagramSocket({ type: 'udp4', loop });
    await socket.send('hello', port);
    await check(peer);
  });

  test('may be of Unix datagrams', async ({ loop, defer }) => {
    const path = freePath(defer);
    const peer = await activate(defer, 'unix', path, '--datagram');
    await using socket = new UnixDatagramSocket({ loop });
    await socket.send('hello', path);
    await check(peer);
  });

  test('may be of seqpacket', async ({ loop, defer }) => {
    const path = freePath(defer);
    const peer = await activate(defer, 'seqpacket', path, '--seqpacket');
    await using socket = await SeqpacketSocket.connect({ path }, { loop });
    await socket.send('hello');
    await check(peer);
  });
});
