import { once } from 'node:events';
import {
  Agent,
  createServer,
  type IncomingMessage,
  request,
  type ServerOptions,
  type ServerResponse,
} from 'node:http';
import { connect, type Socket } from 'node:net';
import * as assert from 'uvu/assert';

import { IOStream, TCPServer, toDuplex } from '../../src/index.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { passes } from '../support/turns.ts';
import { within } from '../support/within.ts';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/**
 * A server of node:http on connections of ours; its port.
 *
 * It never listens itself, and 'listening' is what starts the interval in which it looks for requests
 * over `headersTimeout` and `requestTimeout`: so it is told. close() ends that interval.
 */
async function serve({ loop, defer }: TestContext, answer: Answer, options: ServerOptions = {}) {
  const http = createServer(options, answer);
  const server = new TCPServer((stream) => void http.emit('connection', toDuplex(stream)), { loop });
  const { port } = await server.listen(0, '127.0.0.1');
  http.emit('listening');
  defer(() => {
    http.close();
    return server.close({ graceMs: 0 });
  });
  return { http, server, port };
}

/** A raw client; closed with the test. */
async function dial({ defer }: TestContext, port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  await once(socket, 'connect');
  defer(() => socket.destroy());
  return socket;
}

function textOf(stream: NodeJS.ReadableStream): Promise<string> {
  let text = '';
  return new Promise((resolve, reject) => {
    stream.setEncoding('latin1').on('data', (piece: string) => {
      text += piece;
    });
    stream.once('end', () => resolve(text)).once('error', reject);
  });
}

const hello: Answer = (_request, response) => void response.end('hello');
const upper: Answer = (incoming, response) =>
  void textOf(incoming).then((body) => response.end(body.toUpperCase()));

suite('node:http on our streams', (test) => {
  test('answers request after request on one connection', async (context) => {
    const { port } = await serve(context, upper);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    context.defer(() => agent.destroy());
    const ports = new Set<number | undefined>();
    for (const word of ['one', 'two', 'three']) {
      const sent = request({ port, host: '127.0.0.1', agent, method: 'POST' });
      sent.end(word);
      const [response] = (await within(5_000, once(sent, 'response'), 'the head')) as [IncomingMessage];
      ports.add(response.socket.localPort);
      assert.is(await within(5_000, textOf(response), 'the body'), word.toUpperCase());
    }
    assert.is(ports.size, 1);
  });

  test('answers a pipeline in order, and its last request with a close', async (context) => {
    const { port, server } = await serve(context, (incoming, response) => void response.end(incoming.url));
    const socket = await dial(context, port);
    const paths = Array.from({ length: 100 }, (_, index) => `/${index}`);
    const heads = paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: x\r\n`);
    socket.write(`${heads.join('\r\n')}Connection: close\r\n\r\n`);
    const text = await within(5_000, textOf(socket), 'the answers');
    const bodies = [...text.matchAll(/\r\n\r\n(\/\d+)/g)].map(([, path]) => path);
    assert.equal(bodies, paths);
    socket.end();
    while (server.connections > 0) await passes(1);
  });

  test('carries a big body to a client that reads slowly, and ends with it', async (context) => {
    const body = Buffer.alloc(10 * 1024 * 1024, 'b');
    const { port } = await serve(context, (_request, response) => void response.end(body));
    const socket = await dial(context, port);
    socket.write('GET / HTTP/1.0\r\n\r\n');
    let size = 0;
    socket.on('data', (chunk: Buffer) => {
      size += chunk.length;
      socket.pause();
      setImmediate(() => socket.resume());
    });
    await within(8_000, once(socket, 'end'), 'the end');
    assert.ok(size > body.length && size < body.length + 500, `${size} bytes`);
  });

  test('stops a client that sends a body nobody reads', async (context) => {
    let arrived: (incoming: IncomingMessage) => void = () => {};
    const incoming = new Promise<IncomingMessage>((resolve) => {
      arrived = resolve;
    });
    const { port } = await serve(context, (unread) => arrived(unread));
    const socket = await dial(context, port);
    const length = 64 * 1024 * 1024;
    socket.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n`);
    socket.write(Buffer.alloc(length));
    const { socket: adapted } = await within(5_000, incoming, 'the request');
    await passes(200);
    assert.ok(adapted.bytesRead < 1024 * 1024, `${adapted.bytesRead} bytes were read`);
  });

  test('says 400 to what is no request, although it destroys at once', async (context) => {
    const { port } = await serve(context, hello);
    const socket = await dial(context, port);
    socket.write('NONSENSE\r\n\r\n');
    assert.match(await within(5_000, textOf(socket), 'the answer'), /^HTTP\/1\.1 400 Bad Request/);
  });

  test('says 408 to a client that is too slow with its head', async (context) => {
    const slow = { headersTimeout: 20, requestTimeout: 20, connectionsCheckingInterval: 10 };
    const { port } = await serve(context, hello, slow);
    const socket = await dial(context, port);
    socket.write('GET / HTTP/1.1\r\nHo');
    assert.match(await within(5_000, textOf(socket), 'the answer'), /^HTTP\/1\.1 408 Request Timeout/);
  });

  test('closes a connection that is kept alive for nothing', async (context) => {
    const { port } = await serve(context, hello, { keepAliveTimeout: 10 });
    const socket = await dial(context, port);
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    assert.match(await within(5_000, textOf(socket), 'the end'), /hello$/);
  });

  test('tells a handler that its client has left', async (context) => {
    let left: () => void = () => {};
    const gone = new Promise<void>((resolve) => {
      left = resolve;
    });
    const { port } = await serve(context, (_request, response) => {
      response.once('close', left);
      socket.resetAndDestroy();
    });
    const socket = await dial(context, port);
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await within(5_000, gone, 'the word');
  });

  test('hands an upgrade over with the bytes behind its head', async (context) => {
    const { port, http } = await serve(context, hello);
    http.on('upgrade', (_request, socket, head) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n');
      socket.write(head);
      socket.pipe(socket);
    });
    const socket = await dial(context, port);
    socket.write('GET / HTTP/1.1\r\nHost: x\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nfirst ');
    socket.end('second');
    assert.match(await within(5_000, textOf(socket), 'the echo'), /\r\n\r\nfirst second$/);
  });

  test('asks over a stream of ours', async (context) => {
    const { port } = await serve(context, upper);
    const stream = await IOStream.connect({ host: '127.0.0.1', port }, { loop: context.loop });
    const sent = request({ createConnection: () => toDuplex(stream), method: 'PUT' });
    sent.end('ours to ours');
    const [response] = (await within(5_000, once(sent, 'response'), 'the head')) as [IncomingMessage];
    assert.is(await within(5_000, textOf(response), 'the body'), 'OURS TO OURS');
    await within(5_000, stream.whenClosed, 'the end of the connection');
  });

  test('knows the addresses of its client', async (context) => {
    const { port } = await serve(context, ({ socket }, response) => {
      response.end(`${socket.remoteAddress} ${socket.remotePort} ${socket.localPort}`);
    });
    const socket = await dial(context, port);
    socket.write('GET / HTTP/1.0\r\n\r\n');
    const text = await within(5_000, textOf(socket), 'the answer');
    assert.ok(text.endsWith(`127.0.0.1 ${socket.localPort} ${port}`), text);
  });
});
