import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';

import { IOStream, TCPServer } from '../../src/index.ts';
import { acceptSocket, closeFd, connectSocket, listenSocket, socketAddress } from '../../src/raw.ts';
import { driven } from '../support/driven.ts';
import { suite, type TestContext } from '../support/suite.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
/** The most that one receive takes. */
const ONE_RECEIVE = 64 * KiB;

/** Two connected streams on a loop that is driven by hand. */
function pair({ loop, defer }: TestContext, options: { maxReadPerTurn?: number; maxWritePerTurn?: number }) {
  const listener = listenSocket({ port: 0 });
  const address = socketAddress(listener);
  const near = connectSocket({ host: '127.0.0.1', port: address.family === 'Unix' ? 0 : address.port });
  const far = acceptSocket(listener);
  closeFd(listener);
  const settings = { loop, maxWriteBufferSize: 64 * MiB, ...options };
  const streams = { left: IOStream.fromFd(near, settings), right: IOStream.fromFd(far, settings) };
  defer(() => {
    streams.left.abort();
    streams.right.abort();
    loop.runOnce();
  });
  return streams;
}

suite('one turn', { drive: 'manual' }, (test) => {
  test('receives no more of one stream than maxReadPerTurn, and one receive', (context) => {
    const { loop } = context;
    const { left, right } = pair(context, { maxReadPerTurn: 100 * KiB });
    let most = 0;
    right.onData(() => {});
    void left.write(Buffer.alloc(8 * MiB));
    while (right.bytesRead < 8 * MiB) {
      const before = right.bytesRead;
      loop.runOnce(1_000);
      most = Math.max(most, right.bytesRead - before);
    }
    assert.ok(most > 64 * KiB, `${most} bytes: no turn received twice`);
    assert.ok(most < 100 * KiB + ONE_RECEIVE, `${most} bytes in one turn`);
  });

  test('sends no more of one stream than maxWritePerTurn', async (context) => {
    const { loop } = context;
    const { left, right } = pair(context, { maxWritePerTurn: 10 * KiB });
    let most = 0;
    right.onData(() => {});
    // A file leaves with the turn, however long it is.
    const path = fileURLToPath(new URL('../../package-lock.json', import.meta.url));
    const { size } = statSync(path);
    const sent = left.sendFile(path);
    while (left.bytesWritten < size) {
      const before = left.bytesWritten;
      loop.runOnce(1_000);
      most = Math.max(most, left.bytesWritten - before);
    }
    assert.ok(size > 30 * KiB, `${size} bytes are no test`);
    assert.is(most, 10 * KiB);
    assert.is(await driven(loop, sent, 'sending'), size);
  });

  test('accepts no more clients than maxAcceptsPerTurn', async (context) => {
    const { loop, defer } = context;
    let accepted = 0;
    const server = new TCPServer(() => void accepted++, { loop, maxAcceptsPerTurn: 3 });
    const { port } = await driven(loop, server.listen(0, '127.0.0.1'), 'listening');
    const clients = Array.from({ length: 20 }, () => connectSocket({ host: '127.0.0.1', port }));
    defer(() => {
      for (const fd of clients) closeFd(fd);
    });
    let most = 0;
    while (accepted < clients.length) {
      const before = accepted;
      loop.runOnce(1_000);
      most = Math.max(most, accepted - before);
    }
    assert.is(most, 3);
    await driven(loop, server.close({ graceMs: 0 }), 'the close');
  });

  test('takes such limits from 1 on', ({ loop }) => {
    for (const name of ['maxReadPerTurn', 'maxWritePerTurn', 'maxAcceptsPerTurn'])
      for (const value of [0, -1, 1.5, Number.NaN, '1'])
        assert.throws(
          () => new TCPServer(() => {}, { loop, [name]: value }),
          (error: unknown) => error instanceof Error && error.message.includes(`options.${name}`),
        );
  });
});
