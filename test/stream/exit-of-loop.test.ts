import * as assert from 'uvu/assert';

import { IOLoop, IOLoopError, IOStream } from '../../src/index.ts';
import { closeFd } from '../../src/raw.ts';
import { onEmptyStack } from '../support/driven.ts';
import { tcpFds } from '../support/streams.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

const MiB = 1024 * 1024;
const LIMIT_MS = 8_000;

/** A stream on a loop that the test ends, and its peer on the test's own. */
function connect({ loop, defer }: TestContext, drive: 'node' | 'manual' = 'node') {
  const ending = new IOLoop({ drive, backend: loop.backend, current: false });
  const [near, far] = tcpFds();
  const stream = IOStream.fromFd(near, { loop: ending });
  const peer = IOStream.fromFd(far, { loop, readAhead: 1 });
  peer.pause();
  defer(async () => {
    peer.abort();
    await Promise.all([peer.whenClosed, ending.close({ graceMs: 0 })]);
  });
  return { ending, stream, peer };
}

async function received(peer: IOStream): Promise<number> {
  let total = 0;
  peer.resume();
  for await (const chunk of peer) total += chunk.length;
  return total;
}

async function outcome(promise: Promise<unknown>): Promise<string> {
  return within(LIMIT_MS, promise, 'the outcome').then(
    () => 'settled',
    (error) => (IOLoopError.is(error) ? error.code : String(error)),
  );
}

suite('the end of a loop with streams', { limitMs: 20_000 }, (test) => {
  test('waits until what was written is delivered', async (context) => {
    const { ending, stream, peer } = connect(context);
    const reading = outcome(stream.readBytes(1));
    void stream.write(Buffer.alloc(16 * MiB));
    const closed = ending.close();
    assert.is(await within(LIMIT_MS, received(peer), 'the bytes'), 16 * MiB);
    await within(LIMIT_MS, closed, 'the end of the loop');
    assert.is(await reading, 'ERR_IOLOOP_STREAM_CLOSED');
    assert.is(stream.error, null);
    assert.is(stream.fd, -1);
  });

  test('waits for so long and no longer, then aborts', async (context) => {
    const { ending, stream } = connect(context);
    const written = outcome(stream.write(Buffer.alloc(16 * MiB)));
    let told = 0;
    stream.onClose(() => told++);
    await within(LIMIT_MS, ending.close({ graceMs: 20 }), 'the end of the loop');
    assert.is(await written, 'ERR_IOLOOP_STREAM_CLOSED');
    await within(LIMIT_MS, stream.whenClosed, 'the close');
    assert.is(told, 1);
    assert.is(stream.bytesQueued, 0);
  });

  test('comes at once when it is driven by hand, after one last send', async (context) => {
    const { ending, stream, peer } = connect(context, 'manual');
    void stream.write('last words');
    const reading = outcome(stream.readBytes(1));
    await onEmptyStack(() => void ending.close());
    assert.is(stream.fd, -1);
    assert.is(await reading, 'ERR_IOLOOP_STREAM_CLOSED');
    await within(LIMIT_MS, stream.whenClosed, 'the close');
    peer.resume();
    assert.is(String(await within(LIMIT_MS, peer.readBytes(10), 'the bytes')), 'last words');
  });

  test('comes inside the listener of a stream of its own', async (context) => {
    const { ending, stream, peer } = connect(context);
    const closed = new Promise<void>((resolve) => {
      stream.onData(() => {
        void stream.write('answer');
        resolve(ending.close());
      });
    });
    void peer.write('question');
    assert.is(await within(LIMIT_MS, received(peer), 'the answer'), 'answer'.length);
    await within(LIMIT_MS, closed, 'the end of the loop');
    assert.is(stream.error, null);
  });

  test('leaves nothing to be done with its streams', async (context) => {
    const { ending, stream } = connect(context);
    await within(LIMIT_MS, ending.close(), 'the end of the loop');
    assert.is(await outcome(stream.write('x')), 'ERR_IOLOOP_STREAM_CLOSED');
    assert.is(await outcome(stream.readBytes(1)), 'ERR_IOLOOP_STREAM_CLOSED');
    assert.is(await outcome(stream.close()), 'settled');
    stream.abort();
    stream.ref().unref();
    const [near, far] = tcpFds();
    assert.throws(
      () => IOStream.fromFd(near, { loop: ending }),
      (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_CLOSED'),
    );
    closeFd(near);
    closeFd(far);
    await nextTurn(context.loop);
  });
});
