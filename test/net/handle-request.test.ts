import { once } from 'node:events';
import * as assert from 'uvu/assert';

import { AbortError, IOLoop, IOLoopError, TCPServer } from '../../src/index.ts';
import { connectTo } from '../support/clients.ts';
import { driven, onEmptyStack } from '../support/driven.ts';
import { kinds, override, until } from '../support/request-servers.ts';
import { suite } from '../support/suite.ts';
import { passes } from '../support/turns.ts';
import { within } from '../support/within.ts';

/** The code of what `promise` rejects with. */
async function codeOf(promise: Promise<void>): Promise<string> {
  try {
    await within(5_000, promise, 'the refusal');
    return 'none';
  } catch (error) {
    if (error instanceof AbortError || error instanceof IOLoopError) return error.code;
    throw error;
  }
}

const AT_REST = { startServing: false };

for (const backend of IOLoop.backends)
  for (const { name, make } of kinds)
    suite(`handleRequest() of a ${name} on ${backend}`, { backend }, (test) => {
      test('serves exactly one; the others wait in the kernel', async (context) => {
        let served = 0;
        const { server, listen, ask } = make(context, () => void served++);
        await listen(AT_REST);
        const asked = ['one', 'two', 'three'].map(ask);
        const answers: string[] = [];
        for (const answer of asked) void answer.then((text) => answers.push(text));
        await passes(20);
        assert.is(served, 0);
        for (const turn of [1, 2, 3]) {
          await within(5_000, server.handleRequest(), 'the end of the request');
          await until(context.loop, 'the answer', () => answers.length === turn);
          await passes(20);
          assert.equal([served, answers.length], [turn, turn]);
        }
        assert.equal(answers.sort(), ['ONE', 'THREE', 'TWO']);
      });

      test('waits for the first to come, wherever that is', async (context) => {
        const { server, listen, ask } = make(context);
        await listen(AT_REST);
        await listen(AT_REST);
        const handled = server.handleRequest({ timeoutMs: 60_000 });
        assert.is(await within(5_000, ask('one'), 'the answer'), 'ONE');
        await within(5_000, handled, 'the end of the request');
        const timers = context.loop
          .resources()
          .filter(({ kind, referenced }) => kind === 'timer' && referenced);
        assert.equal(timers, [], 'what timed the wait');
      });

      test('settles when the handler is done, and not before', async (context) => {
        let finish = (): void => {};
        const gate = new Promise<void>((resolve) => {
          finish = resolve;
        });
        const { server, listen, ask } = make(context, () => gate);
        await listen(AT_REST);
        let isDone = false;
        const handled = server.handleRequest().then(() => {
          isDone = true;
        });
        const answer = ask('one');
        await passes(20);
        assert.is(isDone, false);
        finish();
        assert.is(await within(5_000, answer, 'the answer'), 'ONE');
        await within(5_000, handled, 'the end of the request');
      });

      test('calls handleTimeout when none comes, and may be called again', async (context) => {
        const { server, listen, ask } = make(context);
        let timeouts = 0;
        override(server, { handleTimeout: () => void timeouts++ });
        await listen(AT_REST);
        const before = context.loop.time();
        await within(5_000, server.handleRequest({ timeoutMs: 20 }), 'the timeout');
        assert.ok(context.loop.time() - before >= 20);
        assert.is(timeouts, 1);
        const answer = ask('one');
        await within(5_000, server.handleRequest({ timeoutMs: 60_000 }), 'the end of the request');
        assert.equal([await answer, timeouts], ['ONE', 1]);
      });

      test('rejects with what handleTimeout throws', async (context) => {
        const { server, listen } = make(context);
        override(server, {
          handleTimeout: async () => {
            throw new IOLoopError('ERR_IOLOOP_TIMEOUT', 'on purpose');
          },
        });
        await listen(AT_REST);
        assert.is(await codeOf(server.handleRequest({ timeoutMs: 1 })), 'ERR_IOLOOP_TIMEOUT');
      });

      test('settles when the request was refused, or has failed', async (context) => {
        const errors: unknown[] = [];
        const { server, listen, ask } = make(
          context,
          () => {
            throw new Error('on purpose');
          },
          (error) => errors.push(error),
        );
        await listen(AT_REST);
        void ask('one');
        await within(5_000, server.handleRequest(), 'the end of the failure');
        assert.equal(errors.map(String), ['Error: on purpose']);
        for (const verdict of [false, Promise.resolve(false)]) {
          override(server, { verifyRequest: () => verdict });
          void ask('two');
          await within(5_000, server.handleRequest(), 'the end of the refusal');
        }
        assert.is(errors.length, 1);
      });

      test('is refused where the server serves, waits, or listens nowhere', async (context) => {
        const { server, listen, ask } = make(context);
        assert.is(await codeOf(server.handleRequest()), 'ERR_IOLOOP_INVALID_STATE');
        await listen(AT_REST);
        const waiting = codeOf(server.handleRequest());
        assert.is(await codeOf(server.handleRequest()), 'ERR_IOLOOP_INVALID_STATE');
        assert.is(await codeOf(server.serveForever()), 'ERR_IOLOOP_INVALID_STATE');
        server.stop();
        assert.is(await waiting, 'ERR_IOLOOP_CLOSED');
        await listen();
        assert.is(await codeOf(server.handleRequest()), 'ERR_IOLOOP_INVALID_STATE');
        assert.is(await within(5_000, ask('one'), 'the answer'), 'ONE');
        await server.close();
        assert.is(await codeOf(server.handleRequest()), 'ERR_IOLOOP_CLOSED');
        assert.is(await codeOf(server.serveForever()), 'ERR_IOLOOP_CLOSED');
      });

      test('ends with its signal; who comes then waits for the next call', async (context) => {
        const { server, listen, ask } = make(context);
        await listen(AT_REST);
        const controller = new AbortController();
        const waiting = codeOf(server.handleRequest({ signal: controller.signal }));
        controller.abort();
        assert.is(await waiting, 'ABORT_ERR');
        const answer = ask('one');
        await passes(20);
        await within(5_000, server.handleRequest(), 'the end of the request');
        assert.is(await answer, 'ONE');
      });

      test('may be followed by serveForever(), which ends with the server', async (context) => {
        const { server, listen, ask } = make(context);
        await listen(AT_REST);
        const first = ask('one');
        await within(5_000, server.handleRequest(), 'the end of the request');
        const served = server.serveForever();
        assert.equal([await first, await ask('two'), await ask('three')], ['ONE', 'TWO', 'THREE']);
        await within(5_000, server.close(), 'the end of the server');
        await within(5_000, served, 'the end of serving');
      });

      test('refuses what is no option', async (context) => {
        const { server, listen } = make(context);
        for (const options of [{ timeoutMs: -1 }, { signal: 1 }, 1])
          assert.is(
            await codeOf(Reflect.apply(server.handleRequest, server, [options])),
            'ERR_IOLOOP_INVALID_ARGUMENT',
          );
        const refused = Reflect.apply(listen, null, [{ startServing: 1 }]);
        assert.is(await codeOf(refused), 'ERR_IOLOOP_INVALID_ARGUMENT');
      });
    });

for (const backend of IOLoop.backends)
  suite(`handleRequest() of a loop driven by hand on ${backend}`, { backend, drive: 'manual' }, (test) => {
    test('serves who comes in the turn in which the time is over', async ({ loop, defer }) => {
      const steps: string[] = [];
      class Server extends TCPServer {
        protected override handleTimeout(): void {
          steps.push('timeout');
        }
      }
      const server = new Server((stream) => void stream.write('served'), { loop });
      defer(() => driven(loop, server.close({ graceMs: 0 }), 'the end of the server'));
      const { port } = await server.listen(0, '127.0.0.1', { startServing: false });
      const handled = server.handleRequest({ timeoutMs: 1 }).then(() => steps.push('handled'));
      const client = connectTo({ port, host: '127.0.0.1' }, defer);
      // In the queue of the kernel.
      await within(5_000, once(client.socket, 'connect'), 'the connection');
      const due = loop.time() + 1;
      while (loop.time() <= due);
      await onEmptyStack(() => loop.runOnce());
      await driven(loop, client.heard('served'), 'the answer');
      await within(5_000, handled, 'the end of the request');
      assert.equal(steps, ['handled']);
    });
  });
