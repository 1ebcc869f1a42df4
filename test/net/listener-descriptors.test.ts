import * as assert from 'uvu/assert';

import { IOLoop } from '../../src/index.ts';
import { ScarceServer } from '../support/scarce.ts';
import { suite } from '../support/suite.ts';

const SERVER = new URL('scarce-server.ts', import.meta.url);
const THREADS = new URL('scarce-threads.ts', import.meta.url);

for (const backend of IOLoop.backends)
  suite(`a listener without descriptors on ${backend}`, { limitMs: 30_000 }, (test) => {
    test('closes whom it cannot serve, makes no turn for it, and serves again', async ({ defer }) => {
      const server = new ScarceServer(SERVER, [backend], defer);
      await server.ask('listen');
      const { port } = await server.report();
      const served = (await server.knock(port, 200)).filter(Boolean).length;
      const { open, dropped, shed, errors } = await server.report();
      assert.ok(served > 0 && served < 96, `${served} were served`);
      assert.equal([open, dropped, shed, errors], [served, 200 - served, 200 - served, []]);
      assert.is(await server.ask('turns'), 0);
      await server.leave();
      assert.equal(await server.knock(port, 8), Array(8).fill(true));
    });

    test('looks away where its reserve is lost, and serves once there is one again', async ({ defer }) => {
      const server = new ScarceServer(SERVER, [backend], defer);
      await server.ask('hoard');
      await server.ask('listen');
      const { port } = await server.report();
      const waiting = server.knock(port, 4);
      const turns = Number(await server.ask('turns'));
      // Retries after 10, 20, 40, 80, 160 and 320 ms: a turn for the timer, and one for the queue.
      assert.ok(turns > 0 && turns <= 16, `${turns} turns in half a second`);
      await server.ask('free');
      assert.equal(await waiting, Array(4).fill(true));
      assert.equal((await server.report()).shed, 0);
      await server.ask('hoard');
      assert.equal(await server.knock(port, 4), Array(4).fill(false));
    });

    // A thread may take the number that another has freed to shed, so some wait until descriptors are free.
    test('shares the limit with the listeners of three other threads', async ({ defer }) => {
      const server = new ScarceServer(THREADS, [backend], defer);
      const { port } = await server.report();
      let settled = false;
      const outcomes = server.knock(port, 300).finally(() => {
        settled = true;
      });
      while ((await server.report()).dropped === 0);
      while (!settled) {
        server.dismiss();
        await server.report();
      }
      const served = (await outcomes).filter(Boolean).length;
      assert.is((await server.report()).dropped, 300 - served);
      await server.leave();
      assert.equal(await server.knock(port, 8), Array(8).fill(true));
    });
  });
