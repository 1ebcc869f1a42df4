import * as assert from 'uvu/assert';

import { IOLoop, IOLoopError, IOStream, StreamClosedError } from '../../src/index.ts';
import { signal } from '../support/driven.ts';
import { serve } from '../support/servers.ts';
import { poke, Sockets } from '../support/sockets.ts';
import { suite } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

/** Echoes lines, each with `prefix`. */
function echoLines(prefix: string) {
  return async (stream: IOStream): Promise<void> => {
    for (;;) await stream.write(`${prefix}${await stream.readUntil('\n')}`);
  };
}

for (const backend of IOLoop.backends)
  suite(`adopt() on ${backend}`, { backend }, (test) => {
    test('serves a stream that somebody else accepted, with what is unread of it', async (context) => {
      const { loop, defer } = context;
      const [near, far] = new Sockets(defer).pairToKeep();
      const heard = signal<string>();
      const served = await serve(context, async (stream, address) => {
        assert.is(address.family, 'Unix');
        heard.fire((await stream.readBytes(5)).toString());
      });
      served.server.stop();
      const stream = IOStream.fromFd(near, { loop, unread: Buffer.from('read') });
      served.server.adopt(stream);
      assert.is(served.server.connections, 1);
      poke(far);
      assert.is(await within(5_000, heard.promise, 'the bytes'), 'read!');
      const other = IOStream.fromFd(far, { loop });
      assert.is((await within(5_000, other.readUntilClose(), 'the end')).length, 0);
      await other.close();
      assert.is(served.server.connections, 0);
    });

    test('moves a connection, and what is unread of it, to another server', async (context) => {
      const second = await serve(context, echoLines('second '));
      const first = await serve(context, async (stream) => {
        stream.unshift(await stream.readBytes(1));
        second.server.adopt(stream);
      });
      const client = first.connect().send('one\n');
      await client.heard('second one\n');
      assert.equal([first.server.connections, second.server.connections], [0, 1]);
      await within(5_000, first.server.close({ graceMs: 60_000 }), 'the end of the first');
      client.send('two\n');
      await client.heard('second two\n');
      const closed = second.server.close({ graceMs: 60_000 });
      await client.all();
      await within(5_000, closed, 'the end of the second');
    });

    test('moves what is reported, too', async (context) => {
      const second = await serve(context, async () => {
        throw new Error('of the second');
      });
      const first = await serve(context, (stream) => second.server.adopt(stream));
      assert.is(await first.connect().all(), '');
      assert.equal([first.errors, second.errors.map(String)], [[], ['Error: of the second']]);
    });

    test('lets a closing server end when its last connection has moved', async (context) => {
      const gate = signal();
      const second = await serve(context, echoLines(''));
      const first = await serve(context, async (stream) => {
        await gate.promise;
        second.server.adopt(stream);
      });
      const client = first.connect().send('one\n');
      while (context.loop.metrics().bytesBuffered === 0) await nextTurn(context.loop);
      const closed = first.server.close({ graceMs: 60_000 });
      gate.fire();
      await within(5_000, closed, 'the end of the first');
      await client.heard('one\n');
    });

    test('brings a stream home that was detached', async (context) => {
      const served = await serve(context, async (stream) => {
        const line = (await stream.readUntil('\n')).toString();
        if (line === 'again\n') {
          const { fd, unread } = stream.detach();
          served.server.adopt(IOStream.fromFd(fd, { loop: context.loop, unread }));
        } else {
          await stream.write(line);
        }
      });
      assert.is(await served.connect().send('again\nagain\nlast\n').all(), 'last\n');
    });

    test('is refused: by what is no stream, of another loop, or closed', async (context) => {
      const { loop, defer } = context;
      const served = await serve(context, () => {});
      const { server } = served;
      for (const none of [null, 3, {}])
        assert.throws(
          () => Reflect.apply(server.adopt, server, [none]),
          (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'),
        );
      const sockets = new Sockets(defer);
      const other = new IOLoop({ backend });
      const [foreign, foreignPeer] = sockets.pairToKeep();
      const abroad = IOStream.fromFd(foreign, { loop: other });
      assert.throws(
        () => server.adopt(abroad),
        (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE'),
      );
      await other.close();
      const [near, far] = sockets.pairToKeep();
      const stream = IOStream.fromFd(near, { loop });
      stream.abort();
      assert.throws(
        () => server.adopt(stream),
        (error: unknown) => error instanceof StreamClosedError && error.stream === stream,
      );
      assert.is(server.connections, 0);
      await server.close();
      const open = IOStream.fromFd(far, { loop });
      assert.throws(
        () => server.adopt(open),
        (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_CLOSED'),
      );
      await open.close();
      await IOStream.fromFd(foreignPeer, { loop }).close();
    });
  });
