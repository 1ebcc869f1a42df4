import { getEventListeners } from 'node:events';
import * as assert from 'uvu/assert';

import { IOLoop, IOLoopError, IOStream, TCPServer } from '../../src/index.ts';
import { driven } from '../support/driven.ts';
import { suite } from '../support/suite.ts';
import { within } from '../support/within.ts';

for (const drive of ['node', 'manual'] as const) {
  suite(`connect, drive ${drive}`, { drive }, (test) => {
    test('is told that its loop was closed, whatever it waits for', async () => {
      const loop = new IOLoop({ drive, current: false });
      const { signal } = new AbortController();
      // A lookup that never answers.
      const lookup = (): void => {};
      const connecting = IOStream.connect({ host: 'nowhere.test', port: 1 }, { loop, lookup, signal });
      const refused = connecting.then(
        () => null,
        (error: unknown) => error,
      );
      await driven(loop, Promise.resolve(), 'a turn');
      const closed = loop.close();
      const error = await within(5_000, refused, 'the refusal');
      await within(5_000, closed, 'the close');
      assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_CLOSED'), String(error));
      assert.equal(getEventListeners(signal, 'abort'), []);
    });
  });
}

suite('connect', (test) => {
  test('passes the reason of its signal on', async ({ loop }) => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const lookup = (): void => {};
    const connecting = IOStream.connect(
      { host: 'nowhere.test', port: 1 },
      { loop, lookup, signal: controller.signal },
    );
    controller.abort(reason);
    try {
      await within(5_000, connecting, 'the refusal');
      assert.unreachable();
    } catch (error) {
      assert.is(error instanceof Error && error.name, 'AbortError');
      assert.is(error instanceof Error && error.cause, reason);
    }
  });

  test('leaves nothing behind on the signal of a connection that was made', async ({ loop }) => {
    const { signal } = new AbortController();
    const server = new TCPServer(() => {}, { loop });
    const { port } = await server.listen(0, '127.0.0.1');
    const stream = await within(5_000, IOStream.connect({ port }, { loop, signal }), 'the connection');
    assert.equal(getEventListeners(signal, 'abort'), []);
    await within(5_000, stream.close(), 'the close');
    await within(5_000, server.close({ graceMs: 0 }), 'the close of the server');
  });
});
