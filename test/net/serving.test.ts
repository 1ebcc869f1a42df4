import * as assert from 'uvu/assert';

import { IOLoop, IOLoopError, TCPServer, UDPServer } from '../../src/index.ts';
import { runSource } from '../support/child.ts';
import { connectTo } from '../support/clients.ts';
import { signal } from '../support/driven.ts';
import { suite } from '../support/suite.ts';
import { passes } from '../support/turns.ts';
import { within } from '../support/within.ts';

/** Socketserver's poll_interval. */
const INTERVAL_MS = 500;

/** Notes when its service actions are called. */
class Serviced extends TCPServer {
  readonly calls: number[] = [];
  onCall: () => void | Promise<void> = () => {};

  constructor(loop: IOLoop) {
    super(() => {}, { loop });
  }

  protected override serviceActions(): void | Promise<void> {
    this.calls.push(this.loop.time());
    return this.onCall();
  }
}

for (const backend of IOLoop.backends)
  suite(`a server that is serviced on ${backend}`, { backend }, (test) => {
    test('is, every half second, while it serves', async ({ loop, defer }) => {
      const server = new Serviced(loop);
      defer(() => server.close());
      const thrice = signal();
      server.onCall = () => {
        if (server.calls.length === 3) thrice.fire();
      };
      const start = loop.time();
      await server.listen(0, '127.0.0.1');
      await server.listen(0, '127.0.0.1');
      await within(5_000, thrice.promise, 'the third call');
      server.stop();
      const gaps = [start, ...server.calls].slice(0, -1).map((time, i) => (server.calls[i] ?? 0) - time);
      for (const gap of gaps) assert.ok(gap >= INTERVAL_MS, `${gap} ms`);
      assert.equal(loop.resources(), []);
    });

    test('is again after a failure, which the loop is told', async ({ defer }) => {
      const told: string[] = [];
      const loop = new IOLoop({ backend, onError: (error) => told.push(String(error)) });
      defer(() => loop.close());
      const server = new Serviced(loop);
      const thrice = signal();
      server.onCall = () => {
        if (server.calls.length === 1) throw new Error('thrown');
        if (server.calls.length === 2) return Promise.reject(new Error('rejected'));
        thrice.fire();
        return undefined;
      };
      await server.listen(0, '127.0.0.1');
      await within(5_000, thrice.promise, 'the third call');
      assert.equal(told, ['Error: thrown', 'Error: rejected']);
    });

    test('is not while it only listens, nor for one request', async ({ loop, defer }) => {
      const server = new Serviced(loop);
      defer(() => server.close());
      const { port } = await server.listen(0, '127.0.0.1', { startServing: false });
      const isTimed = (): boolean => loop.resources().some(({ kind }) => kind === 'timer');
      assert.is(isTimed(), false);
      const handled = server.handleRequest();
      assert.is(isTimed(), false);
      const client = connectTo({ port, host: '127.0.0.1' }, defer);
      await within(5_000, handled, 'the request');
      client.end();
      await client.all();
      void server.serveForever();
      await passes(1);
      assert.is(isTimed(), true);
    });

    test('is not when nothing overrides serviceActions', async ({ loop, defer }) => {
      const server = new UDPServer(() => {}, { loop });
      defer(() => server.close());
      await server.listen(0, '127.0.0.1');
      assert.is(
        loop.resources().some(({ kind }) => kind === 'timer'),
        false,
      );
    });
  });

suite('the requestQueueSize of a server', (test) => {
  test('must be an integer that a kernel can take', ({ loop }) => {
    for (const requestQueueSize of [-1, 0.5, 2 ** 31, '5'])
      assert.throws(
        () => Reflect.construct(TCPServer, [() => {}, { loop, requestQueueSize }]),
        (error: unknown) =>
          IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT') &&
          error.message.startsWith('options.requestQueueSize'),
      );
  });

  test('bounds who waits, unless listen() says otherwise', async ({ loop, defer }) => {
    for (const [requestQueueSize, backlog, waiting] of [
      [0, undefined, 1],
      [5, 0, 1],
      [0, 3, 4],
    ] as const) {
      const server = new TCPServer(() => {}, { loop, requestQueueSize });
      const { port } = await server.listen(0, '127.0.0.1', { backlog, startServing: false });
      const clients = Array.from({ length: 6 }, () => connectTo({ port, host: '127.0.0.1' }, defer));
      const connected = (): number => clients.filter(({ socket }) => !socket.connecting).length;
      // A full queue answers nobody: the others try again in a second.
      while (connected() < waiting) await passes(1);
      await passes(50);
      assert.is(connected(), waiting);
      await server.close();
      for (const { socket } of clients) socket.destroy();
    }
  });
});

suite('a process whose server', (test) => {
  const PROGRAM = `
    import { TCPServer } from './src/index.ts';
    class Server extends TCPServer { serviceActions() { console.log('serviced'); } }
    const server = new Server(() => {});
  `;

  test('is serviced ends when that is all that is left', async () => {
    const { code, stdout, stderr } = await runSource(`${PROGRAM}
      await server.listen(0, '127.0.0.1');
      server.unref();`);
    assert.equal([code, stdout, stderr], [0, '', '']);
  });

  test('listens without serving ends', async () => {
    const { code, stderr } = await runSource(`${PROGRAM}
      await server.listen(0, '127.0.0.1', { startServing: false });`);
    assert.equal([code, stderr], [0, '']);
  });

  test('waits in handleRequest() lives until the time is over', async () => {
    const { code, stdout, stderr } = await runSource(`${PROGRAM}
      await server.listen(0, '127.0.0.1', { startServing: false });
      await server.handleRequest({ timeoutMs: 20 });
      console.log('over');`);
    assert.equal([code, stdout, stderr], [0, 'over\n', '']);
  });
});
