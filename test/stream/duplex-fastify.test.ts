import { createServer } from 'node:http';
import fastify, { type FastifyInstance } from 'fastify';
import * as assert from 'uvu/assert';

import { TCPServer, toDuplex } from '../../src/index.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { within } from '../support/within.ts';

/** `app` on connections of ours, by its `serverFactory`; where it answers. */
async function serve({ loop, defer }: TestContext, define: (app: FastifyInstance) => void): Promise<string> {
  const http = createServer();
  const app = fastify({ serverFactory: (handler) => http.on('request', handler) });
  define(app);
  await app.ready();
  const server = new TCPServer((stream) => void http.emit('connection', toDuplex(stream)), { loop });
  const { port } = await server.listen(0, '127.0.0.1');
  http.emit('listening');
  defer(async () => {
    await app.close();
    http.close();
    await server.close({ graceMs: 0 });
  });
  return `http://127.0.0.1:${port}`;
}

suite('fastify on our streams', (test) => {
  test('answers JSON with JSON', async (context) => {
    const base = await serve(context, (app) => {
      app.post('/double/:name', ({ body, params }) => ({ ...(params as object), list: [body, body] }));
    });
    const answer = fetch(`${base}/double/x`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', connection: 'close' },
      body: '{"deep":[1,2,3]}',
    });
    const response = await within(5_000, answer, 'the head');
    assert.is(response.status, 200);
    const deep = { deep: [1, 2, 3] };
    assert.equal(await response.json(), { name: 'x', list: [deep, deep] });
  });

  test('checks what comes by its schema', async (context) => {
    const base = await serve(context, (app) => {
      const querystring = { type: 'object', required: ['n'], properties: { n: { type: 'integer' } } };
      app.get('/', { schema: { querystring } }, ({ query }) => query);
    });
    const ask = (path: string): Promise<Response> =>
      within(5_000, fetch(`${base}${path}`, { headers: { connection: 'close' } }), path);
    assert.equal(await (await ask('/?n=5')).json(), { n: 5 });
    assert.is((await ask('/?n=five')).status, 400);
    assert.is((await ask('/elsewhere')).status, 404);
  });

  test('says 413 to a body over its limit, and 500 when a handler throws', async (context) => {
    const base = await serve(context, (app) => {
      app.post('/', { bodyLimit: 10 }, () => 'never');
      app.get('/', () => {
        throw new Error('as it may be');
      });
    });
    const headers = { 'content-type': 'text/plain', connection: 'close' };
    const big = fetch(base, { method: 'POST', headers, body: 'x'.repeat(1000) });
    assert.is((await within(5_000, big, 'the refusal')).status, 413);
    assert.is(
      (await within(5_000, fetch(base, { headers: { connection: 'close' } }), 'the failure')).status,
      500,
    );
  });

  test('streams an answer of 10 MB', async (context) => {
    const base = await serve(context, (app) => {
      app.get('/', (_request, reply) => reply.send(Buffer.alloc(10_000_000, 'y')));
    });
    const response = await within(5_000, fetch(base, { headers: { connection: 'close' } }), 'the head');
    assert.is((await within(5_000, response.arrayBuffer(), 'the body')).byteLength, 10_000_000);
  });
});
