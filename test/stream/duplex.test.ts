import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type Duplex, Readable, Transform, Writable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import * as assert from 'uvu/assert';

import { IOStream, type StreamOptions, toDuplex } from '../../src/index.ts';
import { Random } from '../support/random.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { passes } from '../support/turns.ts';
import { within } from '../support/within.ts';

/** A stream of ours that is connected to a socket of Node's; both closed with the test. */
async function connected(context: TestContext, options: StreamOptions = {}): Promise<[IOStream, Socket]> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  const { port } = server.address() as AddressInfo;
  const stream = await IOStream.connect({ host: '127.0.0.1', port }, { loop: context.loop, ...options });
  const [peer] = (await within(5_000, accepted, 'the connection')) as [Socket];
  context.defer(async () => {
    peer.on('error', () => {}).destroy();
    stream.abort();
    await stream.whenClosed;
    await new Promise((resolve) => server.close(resolve));
  });
  return [stream, peer];
}

/** All that comes until the end. Leaves the stream open, unlike an iteration. */
function textOf(stream: Readable): Promise<string> {
  let text = '';
  return new Promise((resolve, reject) => {
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
    });
    stream.once('end', () => resolve(text)).once('error', reject);
  });
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Takes what comes in bites that keep the writer waiting, or not, as `random` has it. */
function moodyReader(random: Random, chunks: Buffer[]): Writable {
  return new Writable({
    highWaterMark: 4096,
    write(chunk: Buffer, _encoding, callback) {
      chunks.push(Buffer.from(chunk));
      if (random.below(3) === 0) setImmediate(callback);
      else callback();
    },
  });
}

suite('duplex: reading', (test) => {
  test('begins with what the stream has read ahead', async (context) => {
    const [stream, peer] = await connected(context);
    peer.end('head body');
    assert.is((await stream.readBytes(5)).toString(), 'head ');
    stream.unshift(Buffer.from('HEAD '));
    assert.is(await within(5_000, textOf(toDuplex(stream)), 'the end'), 'HEAD body');
  });

  test('ends where the stream was told of the end before', async (context) => {
    const [stream, peer] = await connected(context, { allowHalfOpen: true });
    peer.end('last words');
    const ended = new Promise<void>((resolve) => stream.onEnd(() => resolve()));
    assert.is((await stream.readUntilClose()).toString(), 'last words');
    await within(5_000, ended, 'the end of the stream');
    const told = once(toDuplex(stream).resume(), 'end');
    await within(5_000, told, 'the end');
  });

  test('stops the peer when nobody reads', async (context) => {
    const [stream, peer] = await connected(context);
    const duplex = toDuplex(stream);
    peer.write(randomBytes(32 * 1024 * 1024));
    duplex.once('data', () => duplex.pause());
    await within(5_000, once(duplex, 'data'), 'the first bytes');
    await passes(200);
    assert.ok(stream.bytesRead < 1024 * 1024, `${stream.bytesRead} bytes were read`);
  });

  test(
    'loses and doubles nothing in a storm of pauses',
    async (context) => {
      const [stream, peer] = await connected(context);
      const duplex = toDuplex(stream);
      const random = new Random(17);
      const sent = randomBytes(count(4, 64) * 1024 * 1024);
      peer.end(sent);
      const received: Buffer[] = [];
      duplex.on('data', (chunk: Buffer) => {
        received.push(Buffer.from(chunk));
        for (let turn = random.below(4); turn > 0; turn--) duplex.pause().resume();
        if (random.below(4) !== 0) return;
        duplex.pause();
        setImmediate(() => duplex.resume());
      });
      await within(60_000, once(duplex, 'end'), 'the end');
      assert.is(digest(Buffer.concat(received)), digest(sent));
    },
    { limitMs: 90_000 },
  );

  test('tells of a reset by the code of the kernel, then closes', async (context) => {
    const [stream, peer] = await connected(context);
    const duplex = toDuplex(stream).resume();
    const order: unknown[] = [];
    duplex.on('error', ({ code }: NodeJS.ErrnoException) => order.push(code));
    duplex.on('close', (hadError: boolean) => order.push(hadError));
    peer.resetAndDestroy();
    await within(5_000, once(duplex, 'close'), 'the close').catch(() => {});
    await within(5_000, stream.whenClosed, 'the end of the stream');
    await passes(1);
    assert.equal(order, ['ECONNRESET', true]);
  });
});

suite('duplex: writing', (test) => {
  test(
    'carries random bytes through pipelines both ways',
    async (context) => {
      const [stream, peer] = await connected(context, { allowHalfOpen: true });
      const duplex = toDuplex(stream);
      peer.pipe(peer);
      const sent = randomBytes(count(8, 64) * 1024 * 1024);
      const random = new Random(23);
      const received: Buffer[] = [];
      const pieces = function* () {
        for (let at = 0; at < sent.length; ) {
          const size = 1 + random.below(100_000);
          yield sent.subarray(at, at + size);
          at += size;
        }
      };
      const there = pipeline(Readable.from(pieces()), duplex);
      const back = pipeline(duplex, moodyReader(random, received));
      await within(60_000, Promise.all([there, back]), 'both pipelines');
      assert.is(digest(Buffer.concat(received)), digest(sent));
    },
    { limitMs: 90_000 },
  );

  test('waits when the peer does not read', async (context) => {
    const [stream] = await connected(context);
    const duplex = toDuplex(stream);
    const block = Buffer.alloc(1024 * 1024);
    let written = 0;
    const source = new Readable({ read: () => void source.push(written++ < 64 ? block : null) });
    source.pipe(duplex);
    await passes(200);
    assert.ok(written < 32, `${written} MiB were taken`);
    assert.ok(stream.bytesQueued <= 2 * block.length, `${stream.bytesQueued} bytes are queued`);
    source.unpipe(duplex);
    duplex.destroy();
  });

  test('ends its half after all that was written, and reads on', async (context) => {
    const [stream, peer] = await connected(context, { allowHalfOpen: true });
    const duplex = toDuplex(stream);
    duplex.cork();
    for (const word of ['a', 'b', 'c']) duplex.write(word);
    duplex.end('d');
    assert.is(await within(5_000, textOf(peer), "the peer's end"), 'abcd');
    peer.end('answer');
    assert.is(await within(5_000, textOf(duplex), 'the answer'), 'answer');
    await within(5_000, stream.whenClosed, 'the close');
    assert.is(stream.error, null);
  });

  test('answers, before its half ends by itself, what came with the end of the peer', async (context) => {
    const [stream, peer] = await connected(context);
    const duplex = toDuplex(stream);
    duplex.on('data', (chunk: Buffer) => duplex.write(chunk.toString().toUpperCase()));
    peer.end('ten lines');
    assert.is(await within(5_000, textOf(peer), 'the answer'), 'TEN LINES');
  });

  test('answers, half open, however late', async (context) => {
    const [stream, peer] = await connected(context, { allowHalfOpen: true });
    const duplex: Duplex = toDuplex(stream);
    const slow = new Transform({
      transform: (chunk, _encoding, callback) =>
        void passes(20).then(() => callback(null, String(chunk).toUpperCase())),
    });
    const echoed = pipeline(duplex, slow, duplex);
    peer.end('ten lines');
    assert.is(await within(5_000, textOf(peer), 'the answer'), 'TEN LINES');
    await within(5_000, echoed, 'the pipeline');
  });

  test('fails a write to a peer that has reset by the code of the kernel', async (context) => {
    const [stream, peer] = await connected(context);
    const duplex = toDuplex(stream);
    const failed = once(duplex, 'error').catch((error: unknown) => [error]);
    const block = Buffer.alloc(1024 * 1024);
    const more = (error?: Error | null): void => void (error ?? duplex.write(block, more));
    more();
    peer.resetAndDestroy();
    const [error] = await within(5_000, failed, 'the error');
    assert.ok(['ECONNRESET', 'EPIPE'].includes(error.code), error.code);
  });
});

suite('duplex: closing', (test) => {
  test('destroy() delivers what was just written', async (context) => {
    const [stream, peer] = await connected(context);
    const duplex = toDuplex(stream);
    const closed = once(duplex, 'close');
    // Small writes wait for the end of the turn, and these are more than destroy() lets stand.
    duplex.cork();
    for (let index = 0; index < 4000; index++) duplex.write('last words ');
    duplex.uncork();
    duplex.destroy();
    assert.is(await within(5_000, textOf(peer), 'the end'), 'last words '.repeat(4000));
    peer.end();
    await within(5_000, closed, 'the close');
  });

  test('destroy() with much behind drops it', async (context) => {
    const [stream, peer] = await connected(context);
    const duplex = toDuplex(stream);
    const sent = Buffer.alloc(64 * 1024 * 1024);
    duplex.write(sent);
    await passes(2);
    duplex.destroy();
    assert.is(stream.fd, -1);
    // A reset overtakes what is unread at the peer, or ends it: the kernel's choice.
    const received = await within(5_000, textOf(peer), 'the end').catch(() => '');
    assert.ok(received.length < sent.length, `${received.length} bytes`);
  });

  test('destroy(error) emits the error before the close', async (context) => {
    const [stream, peer] = await connected(context);
    const duplex = toDuplex(stream);
    const order: unknown[] = [];
    const reason = new Error('enough');
    duplex.on('error', (error) => order.push(error));
    const closed = new Promise((resolve) => duplex.on('close', resolve));
    duplex.destroy(reason);
    peer.resume().end();
    order.push(await within(5_000, closed, 'the close'));
    assert.equal(order, [reason, true]);
    assert.ok(stream.closed);
  });

  test('destroySoon() closes once all is written, read or not', async (context) => {
    const [stream, peer] = await connected(context);
    const duplex = toDuplex(stream);
    const sent = Buffer.alloc(4 * 1024 * 1024, 'x');
    peer.write('nobody reads this');
    duplex.write(sent);
    duplex.destroySoon();
    const received = await within(5_000, textOf(peer), 'the end');
    assert.is(received.length, sent.length);
    peer.end();
    await within(5_000, stream.whenClosed, 'the close');
  });

  test('a stream that is closed finishes it', async (context) => {
    const [stream, peer] = await connected(context);
    const duplex = toDuplex(stream).resume();
    const done = finished(duplex);
    void stream.close();
    peer.resume().end();
    await within(5_000, done, 'finished()');
    assert.ok(duplex.destroyed);
  });
});

suite('duplex: what a net.Socket has', (test) => {
  test('addresses', async (context) => {
    const [stream, peer] = await connected(context);
    const duplex = toDuplex(stream);
    assert.is(duplex.remoteAddress, peer.localAddress);
    assert.is(duplex.remotePort, peer.localPort);
    assert.is(duplex.remoteFamily, peer.localFamily);
    assert.is(duplex.localAddress, peer.remoteAddress);
    assert.is(duplex.localPort, peer.remotePort);
    assert.is(duplex.localFamily, peer.remoteFamily);
    assert.equal(duplex.address(), { address: '127.0.0.1', family: 'IPv4', port: peer.remotePort });
  });

  test('its state and its counts', async (context) => {
    const [stream, peer] = await connected(context);
    const duplex = toDuplex(stream);
    assert.equal([duplex.connecting, duplex.pending, duplex.encrypted], [false, false, false]);
    assert.is(duplex.readyState, 'open');
    duplex.write('four');
    peer.write('seven..');
    await within(5_000, Promise.all([once(duplex, 'data'), once(peer, 'data')]), 'both');
    assert.is(duplex.bytesRead, 7);
    assert.is(duplex.bytesWritten, 4);
    duplex.setNoDelay().setKeepAlive(true, 1000).setKeepAlive(false).destroy();
    assert.is(duplex.readyState, 'closed');
  });

  test('a time of idleness that activity begins anew', async (context) => {
    const [stream, peer] = await connected(context);
    const duplex = toDuplex(stream).resume();
    const fired = once(duplex, 'timeout');
    duplex.setTimeout(3_600_000);
    duplex.setTimeout(50);
    await within(5_000, Promise.all([once(duplex, 'data'), peer.write('x')]), 'the byte');
    const seen = context.loop.time();
    await within(5_000, fired, 'the timeout');
    // The byte was seen in a turn whose clock was read at its start.
    assert.ok(context.loop.time() - seen > 45, 'early');
    let again = 0;
    const count = (): number => again++;
    duplex.setTimeout(1, count).setTimeout(0, count);
    assert.is(duplex.listenerCount('timeout'), 0);
    assert.is(context.loop.metrics().timers, 0);
    assert.is(again, 0);
  });

  test('ref and unref', async (context) => {
    const [stream] = await connected(context);
    const duplex = toDuplex(stream);
    const referenced = (): boolean | undefined =>
      context.loop.resources().find(({ fd }) => fd === stream.fd)?.referenced;
    assert.is(duplex.unref(), duplex);
    assert.is(referenced(), false);
    assert.is(duplex.ref(), duplex);
    assert.is(referenced(), true);
  });
});
