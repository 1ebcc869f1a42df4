import * as assert from 'uvu/assert';

import { Interest, IOLoop } from '../../src/index.ts';
import { recv, send } from '../../src/raw.ts';
import { drain, poke, Sockets } from '../support/sockets.ts';
import { suite } from '../support/suite.ts';
import { nextTurn, passes } from '../support/turns.ts';

for (const backend of IOLoop.backends) {
  suite(`fairness on ${backend}`, { backend }, (test) => {
    const quietOnes = backend === 'select' ? 400 : 1000;
    test(`serves ${quietOnes} quiet descriptors in a few turns beside a firehose`, async ({
      loop,
      defer,
    }) => {
      const sockets = new Sockets(defer);
      assert.ok(loop.fd >= 0);
      const [mouth, source] = sockets.pair();
      const water = Buffer.alloc(4096);
      let drops = 0;
      // Refilled as it is drunk from: it is ready in every turn.
      const drink = (): void => {
        drops++;
        recv(mouth, water);
        send(source, water);
      };
      loop.addHandler(mouth, drink, Interest.READ);
      send(source, water);
      const served = new Set<number>();
      const quiet = Array.from({ length: quietOnes }, () => sockets.pair());
      for (const [fd] of quiet) loop.addHandler(fd, () => void (drain(fd) && served.add(fd)), Interest.READ);
      for (const [, far] of quiet) poke(far);
      const turns = Math.ceil((quietOnes + 1) / 256) + 1;
      for (let turn = 0; turn < turns; turn++) await nextTurn(loop);
      assert.is(served.size, quietOnes);
      assert.ok(drops >= 1);
      for (const fd of [mouth, ...quiet.map(([near]) => near)]) loop.removeHandler(fd);
    });

    test('serves all in turn when more are always ready than one turn takes', async ({ defer }) => {
      const loop = new IOLoop({ backend, maxEvents: 4, current: false });
      defer(() => loop.close());
      const sockets = new Sockets(defer);
      const told = new Map<number, number>();
      const fds = Array.from({ length: 20 }, () => sockets.ended());
      for (const fd of fds)
        loop.addHandler(fd, () => void told.set(fd, (told.get(fd) ?? 0) + 1), Interest.READ);
      for (let turn = 0; turn < 50; turn++) {
        const { events } = loop.metrics();
        await nextTurn(loop);
        assert.ok(loop.metrics().events - events <= 4);
      }
      const counts = fds.map((fd) => told.get(fd) ?? 0);
      assert.ok(Math.min(...counts) >= Math.max(...counts) - 2, `${counts}`);
    });

    test("leaves Node's immediates and timers running between any two turns", async ({ loop, defer }) => {
      const fd = new Sockets(defer).ended();
      let turns = 0;
      let mostBetweenImmediates = 0;
      loop.addHandler(fd, () => void turns++, Interest.READ);
      for (let immediate = 0; immediate < 100; immediate++) {
        const before = turns;
        await passes(1);
        mostBetweenImmediates = Math.max(mostBetweenImmediates, turns - before);
      }
      assert.ok(turns > 50, `${turns} turns`);
      assert.is(mostBetweenImmediates, 1);
      await new Promise((resolve) => setTimeout(resolve, 1));
      loop.removeHandler(fd);
    });

    test('lets callbacks that queue callbacks starve neither handlers nor timers', async ({
      loop,
      defer,
    }) => {
      const fd = new Sockets(defer).ended();
      let queued = 0;
      let told = 0;
      let stopped = false;
      const queueMore = (): void => {
        queued++;
        if (!stopped) loop.addCallback(queueMore);
      };
      loop.addCallback(queueMore);
      loop.addHandler(fd, () => void told++, Interest.READ);
      await new Promise<void>((resolve) => void loop.callLater(1, resolve));
      await new Promise((resolve) => setTimeout(resolve, 1));
      stopped = true;
      await nextTurn(loop);
      assert.ok(queued > 0);
      assert.ok(told >= queued - 2, `${told} of ${queued} turns`);
      loop.removeHandler(fd);
    });
  });
}
