import * as assert from 'uvu/assert';

import { IOStream, StreamClosedError } from '../../src/index.ts';
import { tcpFds } from '../support/streams.ts';
import { suite } from '../support/suite.ts';
import { within } from '../support/within.ts';

/** Two connected streams. */
function pair(loop: Parameters<typeof IOStream.fromFd>[1]): { left: IOStream; right: IOStream } {
  const [left, right] = tcpFds();
  return { left: IOStream.fromFd(left, loop), right: IOStream.fromFd(right, loop) };
}

suite('a stream that was reset', (test) => {
  test('counts what it has left for nobody, who can still read it', async ({ loop }) => {
    const { left, right } = pair({ loop });
    await within(5_000, left.write(Buffer.alloc(10_000)), 'the write');
    while (right.bytesBuffered < 10_000)
      await new Promise((resolve) => loop.addCallback(() => resolve(null)));
    assert.is(loop.metrics().bytesBuffered, 10_000);
    left.abort();
    await within(5_000, right.whenClosed, 'the close');
    assert.is(loop.metrics().bytesBuffered, 0);
    assert.is((await right.readBytes(10_000)).length, 10_000);
    assert.is(loop.metrics().bytesBuffered, 0);
  });
});

suite('a stream that the loop cannot watch any more', (test) => {
  test('is reset, says why, and holds nobody up', async ({ loop }) => {
    const victim = pair({ loop });
    const other = pair({ loop });
    const { handlers } = loop;
    const update = handlers.update.bind(handlers);
    // What epoll_ctl(2) says when there is no memory.
    const error = new Error('ENOMEM');
    handlers.update = (fd) => {
      handlers.update = update;
      assert.is(fd, victim.left.fd);
      throw error;
    };
    victim.right.pause();
    const lost = victim.left.write(Buffer.alloc(15_000_000));
    void other.left.write('in the same turn');
    const said = await within(5_000, other.right.readBytes(16), 'the neighbour');
    assert.is(String(said), 'in the same turn');
    await within(5_000, victim.left.whenClosed, 'the close');
    assert.is(victim.left.error, error);
    const refused = await within(
      5_000,
      lost.then(
        () => null,
        (thrown: unknown) => thrown,
      ),
      'the write',
    );
    assert.instance(refused, StreamClosedError);
    assert.is(loop.metrics().bytesQueued, 0);
    for (const stream of [victim.right, other.left, other.right]) stream.abort();
  });
});
