import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import {
  abortStream,
  acceptStream,
  addon,
  closeStream,
  openDirections,
  readPipe,
  recv,
  sendFile,
  sendVector,
  shutdownStream,
  unreadBytes,
  writePipe,
} from '../src/native.ts';
import { newFds, openFds } from './support/fds.ts';
import { compiledMain, startWorker } from './support/package.ts';
import { suite } from './support/suite.ts';
import { within } from './support/within.ts';

const EBADF = -9;

/** Two ends of a TCP connection: on the loopback it waits before connect(2) returns. */
function connectPair(): [client: number, server: number] {
  const { connectStream, listenStream, socketAddress } = addon();
  const listener = listenStream(undefined, '127.0.0.1', 0, 16, false, false, -1);
  const local = socketAddress(listener);
  assert.ok('port' in local);
  const client = connectStream(undefined, '127.0.0.1', local.port, '', 0);
  const server = acceptStream(listener);
  assert.is(closeStream(listener), 0);
  return [client, server];
}

function receive(fd: number): string {
  const target = Buffer.alloc(256);
  return target.toString('latin1', 0, recv(fd, target));
}

suite('descriptors of streams', (test) => {
  test('are closed once: what is not listed is not closed', () => {
    const [client, server] = connectPair();
    assert.is(closeStream(client), 0);
    assert.is(closeStream(client), EBADF);
    assert.is(abortStream(client), EBADF);
    addon().releaseStream(server);
    assert.is(closeStream(server), EBADF);
    addon().adoptSocket(server);
    assert.is(abortStream(server), 0);
  });

  test('send a range of views, whatever became of some of them', () => {
    const [client, server] = connectPair();
    const gone = new Uint8Array(8);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    const views = [Buffer.from('not this'), Buffer.from('..one '), gone, Buffer.alloc(0), Buffer.from('two')];
    assert.is(sendVector(client, views, 1, 4, 2), 7);
    assert.is(unreadBytes(server), 7);
    assert.is(receive(server), 'one two');
    assert.is(sendVector(client, views, 0, 1, 100), 0);
    assert.is(sendVector(client, views, 4, 99, 1), 2);
    assert.is(receive(server), 'wo');
    for (const fd of [client, server]) closeStream(fd);
  });

  test('send files, and end their half', () => {
    const directory = mkdtempSync(join(tmpdir(), 'ioloop-file-'));
    writeFileSync(join(directory, 'file'), '0123456789');
    const file = openSync(join(directory, 'file'), 'r');
    const [client, server] = connectPair();
    assert.is(sendFile(client, file, 4, 100), 6);
    assert.is(sendFile(client, file, 2 ** 33, 1), 0);
    assert.is(receive(server), '456789');
    assert.is(shutdownStream(client), 0);
    assert.is(receive(server), '');
    assert.throws(() => addon().adoptPipe(file), /not permitted/);
    assert.throws(() => addon().adoptSocket(file), /non-socket/);
    for (const fd of [client, server]) closeStream(fd);
    addon().closeFd(file);
    rmSync(directory, { recursive: true });
  });

  test('are read and written as pipes, in ranges, and say which way they are open', () => {
    const [client, server] = connectPair();
    assert.equal(openDirections(addon().adoptPipe(client)), { readable: true, writable: true });
    assert.is(writePipe(client, Buffer.from('..ping..'), 2, 4), 4);
    const target = Buffer.alloc(8, '.');
    assert.is(readPipe(server, target, 3, 100), 4);
    assert.is(target.toString(), '...ping.');
    for (const fd of [client, server]) closeStream(fd);
  });
});

suite('what streams of a worker hold', (test) => {
  test('is closed and given back with it, but for what it released', async () => {
    const before = openFds();
    const held = addon().memoryAdd(0);
    const worker = startWorker(`
      const native = require(${JSON.stringify(compiledMain().replace('index.js', 'native.js'))});
      const addon = native.addon();
      addon.memoryAdd(5_000_000_000);
      const listener = addon.listenStream(undefined, '127.0.0.1', 0, 64, false, false, -1);
      const { port } = addon.socketAddress(listener);
      const clients = [];
      for (let i = 0; i < 30; i++) {
        clients.push(addon.connectStream(undefined, '127.0.0.1', port, '', 0));
        native.acceptStream(listener);
      }
      addon.openSpare();
      addon.releaseStream(clients[0]);
      parentPort.postMessage({ released: clients[0], total: addon.memoryAdd(0) });
      setInterval(() => {}, 1000);
    `);
    const word = new Promise<{ released: number; total: number }>((resolve) =>
      worker.once('message', resolve),
    );
    const { released, total } = await within(5_000, word, 'its word');
    assert.is(total, held + 5_000_000_000);
    await within(5_000, worker.terminate(), 'its end');
    assert.is(addon().memoryAdd(0), held);
    const sockets = newFds(before, openFds()).filter((line) => /socket:|null/.test(line));
    assert.is(sockets.length, 1);
    assert.ok(sockets[0]?.startsWith(`${released} `));
    addon().adoptSocket(released);
    assert.is(closeStream(released), 0);
  });
});
