import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer, get } from 'node:http';
import type { Server } from 'node:net';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { Worker } from 'node:worker_threads';
import * as assert from 'uvu/assert';

import { Interest, type IOLoop } from '../src/index.ts';
import { Sockets } from './support/sockets.ts';
import { suite, type TestContext } from './support/suite.ts';
import { passes } from './support/turns.ts';
import { within } from './support/within.ts';

/** What else a loop may be doing. Returns how to stop it. */
const NEIGHBOURS: Readonly<Record<string, (context: TestContext) => () => void>> = {
  'an idle loop': ({ loop, defer }) => {
    const [near] = new Sockets(defer).pair();
    loop.addHandler(near, () => {}, Interest.READ);
    const timer = loop.callLater(1e7, () => {});
    return () => {
      timer.cancel();
      loop.removeHandler(near);
    };
  },
  'a handler that is always ready': ({ loop, defer }) => {
    const fd = new Sockets(defer).ended();
    loop.addHandler(fd, () => {}, Interest.READ);
    return () => void loop.removeHandler(fd);
  },
  'callbacks without end': ({ loop }) => {
    let going = true;
    const next = (): void => {
      if (going) loop.addCallback(next);
    };
    next();
    return () => {
      going = false;
    };
  },
  'handlers that await without end': ({ loop, defer }) => {
    const fd = new Sockets(defer).ended();
    loop.addHandler(fd, () => new Promise((resolve) => setImmediate(resolve)), Interest.READ);
    return () => void loop.removeHandler(fd);
  },
};

async function listening(server: Server, defer: TestContext['defer']): Promise<number> {
  defer(() => new Promise((resolve) => server.close(resolve)));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
}

for (const [neighbour, occupy] of Object.entries(NEIGHBOURS))
  suite(`beside ${neighbour}`, (test) => {
    test("Node's timers, ticks and immediates run", async (context) => {
      const stop = occupy(context);
      for (let i = 0; i < 20; i++) {
        await within(5_000, new Promise((resolve) => setImmediate(resolve)), 'an immediate');
        await within(5_000, new Promise((resolve) => setTimeout(resolve, 0)), 'a timer');
        await within(5_000, new Promise<void>((resolve) => process.nextTick(resolve)), 'a tick');
      }
      stop();
      await passes(3);
    });

    test('files are written and read', async (context) => {
      const stop = occupy(context);
      const directory = await mkdtemp(join(tmpdir(), 'ioloop-'));
      const path = join(directory, 'file');
      for (let i = 0; i < 10; i++) {
        await within(5_000, writeFile(path, `round ${i}`), 'the write');
        assert.is(await within(5_000, readFile(path, 'utf8'), 'the read'), `round ${i}`);
      }
      await rm(directory, { recursive: true });
      stop();
      await passes(3);
    });

    test('net echoes and http answers', async (context) => {
      const stop = occupy(context);
      const echo = await listening(
        createServer((socket) => socket.pipe(socket)),
        context.defer,
      );
      const web = await listening(
        createHttpServer((_, response) => response.end('hello')),
        context.defer,
      );
      const client = connect(echo, '127.0.0.1');
      for (let i = 0; i < 20; i++) {
        client.write(`${i}`);
        assert.is(String((await within(5_000, once(client, 'data'), 'the echo'))[0]), `${i}`);
        const answer = new Promise<string>((resolve, reject) => {
          get({ port: web, host: '127.0.0.1', agent: false }, (response) =>
            text(response).then(resolve, reject),
          ).on('error', reject);
        });
        assert.is(await within(5_000, answer, 'the answer'), 'hello');
      }
      client.end();
      await within(5_000, once(client.resume(), 'close'), 'the end');
      stop();
      await passes(3);
    });

    test('threads start, talk and end', async (context) => {
      const stop = occupy(context);
      const worker = new Worker(
        "require('node:worker_threads').parentPort.once('message', (m) => { throw m + 1; })",
        {
          eval: true,
          execArgv: [],
        },
      );
      worker.postMessage(41);
      const [thrown] = await within(10_000, once(worker, 'error'), "the thread's error");
      assert.is(thrown, 42);
      stop();
      await passes(3);
    });
  });

suite('a handler that is always ready', (test) => {
  test("lets Node's loop go round between any two turns", async ({ loop, defer }) => {
    const fd = new Sockets(defer).ended();
    const log: string[] = [];
    loop.addHandler(fd, () => void log.push('turn'), Interest.READ);
    let immediates = 0;
    await within(
      10_000,
      new Promise<void>((resolve) => {
        const immediate = (): void => {
          log.push('immediate');
          if (++immediates < 200) setImmediate(immediate);
          else resolve();
        };
        setImmediate(immediate);
      }),
      'two hundred immediates',
    );
    loop.removeHandler(fd);
    assert.ok(log.filter((entry) => entry === 'turn').length >= 100, 'the handler was called all along');
    const begin = log.indexOf('immediate');
    const doubled = log
      .slice(begin)
      .findIndex((entry, i, rest) => entry === 'turn' && rest[i + 1] === 'turn');
    assert.is(doubled, -1, 'an immediate ran between any two turns');
  });

  test('and one that adds callbacks, too', async ({ loop }) => {
    assert.ok((await turnsBetweenImmediates(loop)) <= 1);
  });
});

/** The most turns that a chain of callbacks got between two immediates. */
async function turnsBetweenImmediates(loop: IOLoop): Promise<number> {
  let going = true;
  const next = (): void => {
    if (going) loop.addCallback(next);
  };
  next();
  await passes(5);
  let most = 0;
  for (let i = 0; i < 200; i++) {
    const before = loop.metrics().turns;
    await passes(1);
    most = Math.max(most, loop.metrics().turns - before);
  }
  going = false;
  await passes(3);
  return most;
}
