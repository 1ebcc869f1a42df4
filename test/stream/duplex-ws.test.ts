import { once } from 'node:events';
import { createServer } from 'node:http';
import * as assert from 'uvu/assert';
import { WebSocket, WebSocketServer } from 'ws';

import { IOStream, TCPServer, toDuplex } from '../../src/index.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { within } from '../support/within.ts';

/** A WebSocket server of ws on connections of ours that sends back what it gets; its port. */
async function serve({ loop, defer }: TestContext): Promise<number> {
  const http = createServer();
  const sockets = new WebSocketServer({ server: http });
  sockets.on('connection', (socket) => {
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  const server = new TCPServer((stream) => void http.emit('connection', toDuplex(stream)), { loop });
  const { port } = await server.listen(0, '127.0.0.1');
  http.emit('listening');
  defer(async () => {
    sockets.close();
    http.close();
    await server.close({ graceMs: 0 });
  });
  return port;
}

/** The client of ws over Node's own socket, or over a stream of ours. */
const clients: Record<string, (context: TestContext, port: number) => Promise<WebSocket>> = {
  'a socket of Node': async (_context, port) => new WebSocket(`ws://127.0.0.1:${port}`),
  'a stream of ours': async ({ loop }, port) => {
    const stream = await IOStream.connect({ host: '127.0.0.1', port }, { loop });
    return new WebSocket(`ws://127.0.0.1:${port}`, { createConnection: () => toDuplex(stream) });
  },
};

for (const [name, open] of Object.entries(clients)) {
  suite(`ws on our streams, from ${name}`, (test) => {
    /** A client that is open; closed with the test. */
    async function opened(context: TestContext): Promise<WebSocket> {
      const socket = await open(context, await serve(context));
      context.defer(() => socket.terminate());
      await within(5_000, once(socket, 'open'), 'the opening');
      return socket;
    }

    test('echoes text and bytes, in order', async (context) => {
      const socket = await opened(context);
      const received: string[] = [];
      const all = new Promise<void>((resolve) => {
        socket.on('message', (data, isBinary) => {
          received.push(`${isBinary} ${data}`);
          if (received.length === 100) resolve();
        });
      });
      for (let index = 0; index < 50; index++) {
        socket.send(`text ${index}`);
        socket.send(Buffer.from(`bytes ${index}`));
      }
      await within(5_000, all, 'the echoes');
      const expected = Array.from({ length: 50 }, (_, index) => [
        `false text ${index}`,
        `true bytes ${index}`,
      ]);
      assert.equal(received, expected.flat());
    });

    test('echoes a message of 8 MB', async (context) => {
      const socket = await opened(context);
      const message = Buffer.alloc(8 * 1024 * 1024, 'm');
      const echo = once(socket, 'message');
      socket.send(message);
      const [data] = (await within(8_000, echo, 'the echo')) as [Buffer];
      assert.ok(data.equals(message));
    });

    test('answers a ping and closes with its code and reason', async (context) => {
      const socket = await opened(context);
      const pong = once(socket, 'pong');
      socket.ping('are you there');
      assert.is(String((await within(5_000, pong, 'the pong'))[0]), 'are you there');
      const closed = once(socket, 'close');
      socket.close(4321, 'enough');
      const [code, reason] = await within(5_000, closed, 'the close');
      assert.equal([code, String(reason)], [4321, 'enough']);
    });
  });
}
