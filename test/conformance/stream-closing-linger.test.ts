import { createHash, randomFillSync } from 'node:crypto';
import * as assert from 'uvu/assert';

import { IOLoop, IOStream } from '../../src/index.ts';
import { closeFd, EAGAIN, recv, send, shutdownFd } from '../../src/raw.ts';
import { tcpFds, turnsUntil, unixFds } from '../support/streams.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

const MiB = 1024 * 1024;
const LIMIT_MS = 20_000;
const kinds = { tcp: tcpFds, unix: unixFds } as const;

/** A stream, and the descriptor of a client that does what a test says; both closed with the test. */
function connect({ loop, defer }: TestContext, fds: typeof tcpFds): { stream: IOStream; client: number } {
  const [client, near] = fds();
  const stream = IOStream.fromFd(near, { loop });
  defer(() => {
    stream.abort();
    closeFd(client);
    return stream.whenClosed;
  });
  return { stream, client };
}

/** Reads `client` to its end, at most `most` bytes a turn; the SHA-256 of it, or -errno. */
async function readSlowly(loop: IOLoop, client: number, most: number): Promise<string | number> {
  const hash = createHash('sha256');
  const buffer = Buffer.alloc(most);
  for (;;) {
    const received = recv(client, buffer);
    if (received > 0) hash.update(buffer.subarray(0, received));
    else if (received === 0) return hash.digest('hex');
    else if (received !== EAGAIN) return received;
    await nextTurn(loop);
  }
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

for (const backend of IOLoop.backends)
  for (const [kind, fds] of Object.entries(kinds))
    suite(`a lingering close: ${kind} on ${backend}`, { backend, limitMs: 30_000 }, (test) => {
      test('delivers all to a client that has sent what nobody read, and reads slowly', async (context) => {
        const { loop } = context;
        const { stream, client } = connect(context, fds);
        const bytes = randomFillSync(Buffer.alloc(count(8, 50) * MiB));
        send(client, Buffer.from('a line that nobody reads\n'));
        void stream.write(bytes);
        const closed = stream.close();
        const received = await within(LIMIT_MS, readSlowly(loop, client, 256 * 1024), 'the bytes');
        assert.is(received, sha256(bytes));
        shutdownFd(client);
        await within(LIMIT_MS, closed, 'the close');
        assert.is(stream.error, null);
      });

      test('delivers all to a client that goes on sending', async (context) => {
        const { loop } = context;
        const { stream, client } = connect(context, fds);
        const answer = randomFillSync(Buffer.alloc(100_000));
        send(client, Buffer.alloc(10_000, 'q'));
        void stream.write(answer);
        void stream.close();
        for (let i = 0; i < 20; i++) {
          await nextTurn(loop);
          send(client, Buffer.alloc(5_000, 'm'));
        }
        assert.is(await within(LIMIT_MS, readSlowly(loop, client, 10_000), 'the bytes'), sha256(answer));
        shutdownFd(client);
        await within(LIMIT_MS, stream.whenClosed, 'the close');
      });

      test('drains 256 KiB and no more', async (context) => {
        const { loop } = context;
        const { stream, client } = connect(context, fds);
        send(client, Buffer.alloc(1));
        await turnsUntil(loop, () => stream.bytesRead > 0);
        stream.pause();
        send(client, Buffer.alloc(1_000));
        void stream.close();
        const before = stream.bytesRead;
        const flood = Buffer.alloc(64 * 1024);
        await within(
          LIMIT_MS,
          turnsUntil(loop, () => {
            send(client, flood);
            return stream.fd < 0;
          }),
          'the end of its patience',
        );
        const drained = stream.bytesRead - before;
        assert.ok(drained > 256 * 1024 && drained <= 320 * 1024 + 1_000, `${drained} bytes`);
        assert.is(stream.error, null);
      });

      test('does not linger where nothing is unread and all is acknowledged', async (context) => {
        const { loop } = context;
        const { stream, client } = connect(context, fds);
        send(client, Buffer.from('question\n'));
        assert.is(String(await within(LIMIT_MS, stream.readUntil('\n'), 'the question')), 'question\n');
        void stream.write('answer');
        await stream.flush();
        const buffer = Buffer.alloc(10);
        await turnsUntil(loop, () => recv(client, buffer) === 6);
        void stream.close();
        await nextTurn(loop);
        await nextTurn(loop);
        assert.is(stream.fd, -1);
        assert.is(recv(client, buffer), 0);
      });
    });
