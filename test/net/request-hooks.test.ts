import * as assert from 'uvu/assert';

import { IOLoop } from '../../src/index.ts';
import { type Hook, kinds, noteSteps, override, until } from '../support/request-servers.ts';
import { suite } from '../support/suite.ts';
import { within } from '../support/within.ts';

function onPurpose(): never {
  throw new Error('on purpose');
}

for (const backend of IOLoop.backends)
  for (const { name, connects, make } of kinds)
    suite(`the hooks of a ${name} on ${backend}`, { backend }, (test) => {
      test('are called in the order of socketserver', async (context) => {
        const { server, listen, ask } = make(context);
        const steps = noteSteps(server);
        await listen();
        assert.is(await within(5_000, ask('one'), 'the answer'), 'ONE');
        await until(context.loop, 'the end', () => steps.includes('shutdownRequest'));
        assert.equal(steps, ['verifyRequest', 'processRequest', 'finishRequest', 'shutdownRequest']);
      });

      test('are told what the handler has thrown, before the request is shut down', async (context) => {
        const errors: unknown[] = [];
        const { server, listen, ask } = make(context, onPurpose, (error) => errors.push(error));
        const steps = noteSteps(server);
        await listen();
        void ask('one');
        await until(context.loop, 'the end', () => steps.includes('shutdownRequest'));
        assert.equal(steps.slice(2), ['finishRequest', 'handleError', 'shutdownRequest']);
        assert.equal(errors.map(String), ['Error: on purpose']);
      });

      test('may refuse a client, who is neither processed nor an error', async (context) => {
        const { server, listen, ask } = make(context);
        const steps = noteSteps(server);
        let verdicts = 0;
        override(server, { verifyRequest: (base) => (verdicts++ === 0 ? false : base()) });
        await listen();
        const refused = ask('one');
        await until(context.loop, 'the verdict', () => verdicts === 1);
        assert.is(await within(5_000, ask('two'), 'the answer to the next'), 'TWO');
        // Of a datagram there is something to end, of a client that never had a connection nothing.
        const first = connects ? [] : ['shutdownRequest'];
        await until(context.loop, 'the end', () => steps.length === first.length + 4);
        assert.equal(steps, [
          ...first,
          'verifyRequest',
          'processRequest',
          'finishRequest',
          'shutdownRequest',
        ]);
        if (connects) assert.is(await within(5_000, refused, 'the end of the refused'), '');
      });

      test('may keep a request waiting: processRequest is awaited', async (context) => {
        const { server, listen, ask } = make(context);
        const steps = noteSteps(server);
        let free = (): void => {};
        const gate = new Promise<void>((resolve) => {
          free = resolve;
        });
        override(server, { processRequest: (base) => gate.then(base) });
        await listen();
        const answer = ask('one');
        await until(context.loop, 'the request', () => steps.length > 0);
        assert.equal(steps, ['verifyRequest']);
        free();
        assert.is(await within(5_000, answer, 'the answer'), 'ONE');
      });

      const failing: readonly Hook[] = [
        'verifyRequest',
        'processRequest',
        'finishRequest',
        'shutdownRequest',
      ];
      for (const hook of failing)
        for (const [how, fail] of [
          ['throws', onPurpose],
          ['rejects', async () => onPurpose()],
        ] as const)
          test(`end that request only when ${hook} ${how}`, async (context) => {
            const errors: unknown[] = [];
            const { server, listen, ask } = make(context, undefined, (error) => errors.push(error));
            let calls = 0;
            override(server, { [hook]: (base: () => unknown) => (calls++ === 0 ? fail() : base()) });
            await listen();
            const first = ask('one');
            await until(context.loop, 'the report', () => errors.length === 1);
            assert.is(await within(5_000, ask('two'), 'the answer to the next'), 'TWO');
            assert.equal(errors.map(String), ['Error: on purpose']);
            const answer = hook === 'shutdownRequest' ? 'ONE' : '';
            if (connects || answer !== '')
              assert.is(await within(5_000, first, 'the end of the first'), answer);
            await within(5_000, server.close(), 'the end of the server');
          });

      test('leave it to the loop when handleError fails itself', async (context) => {
        const told: unknown[] = [];
        const loop = new IOLoop({ backend, onError: (error) => told.push(error) });
        context.defer(() => loop.close());
        let fails = true;
        const { server, listen, ask } = make({ ...context, loop }, () => {
          if (fails) onPurpose();
        });
        for (const fail of [onPurpose, async () => onPurpose()]) {
          fails = true;
          override(server, { handleError: fail });
          await listen();
          void ask('one');
          const before = told.length;
          await until(loop, 'what the loop is told', () => told.length > before);
          fails = false;
          assert.is(await within(5_000, ask('two'), 'the answer to the next'), 'TWO');
          server.stop();
        }
        assert.equal(told.map(String), ['Error: on purpose', 'Error: on purpose']);
      });
    });
