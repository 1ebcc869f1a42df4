import { existsSync, readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';

import { IOLoop } from '../../src/index.ts';
import { runInProject } from '../support/package.ts';
import { suite } from '../support/suite.ts';

/**
 * A process that holds `pairs` connections that are silent and 1,000 far timers, and measures `idleMs`
 * in which nothing happens.
 */
const IDLE = (backend: string, pairs: number, idleMs: number): string => `
  import { IOLoop } from 'ioloop';
  import * as raw from 'ioloop/raw';
  const loop = new IOLoop({ backend: ${JSON.stringify(backend)} });
  const listener = raw.listenSocket({ port: 0 });
  const { port } = raw.socketAddress(listener);
  for (let i = 0; i < ${pairs}; i++) {
    const near = raw.connectSocket({ port });
    let far;
    do far = raw.acceptSocket(listener); while (far === raw.EAGAIN);
    for (const fd of [near, far]) {
      if (fd < 0) throw new Error('descriptor ' + fd);
      loop.addHandler(fd, () => { throw new Error('called'); }, 1);
    }
  }
  for (let i = 0; i < 1000; i++) loop.callLater(1e7 + i, () => {});
  loop.createWaker(() => {});
  // What arranging it all has left over.
  await new Promise((resolve) => setTimeout(resolve, 50));
  const before = { turns: loop.metrics().turns, elu: performance.eventLoopUtilization(), cpu: process.cpuUsage() };
  await new Promise((resolve) => setTimeout(resolve, ${idleMs}));
  const { utilization } = performance.eventLoopUtilization(before.elu);
  const { user, system } = process.cpuUsage(before.cpu);
  console.log(JSON.stringify({
    turns: loop.metrics().turns - before.turns, handlers: loop.metrics().handlers,
    utilization, cpuMs: (user + system) / 1000,
  }));
  process.exit();
`;

/** How many descriptors a process may have open here: getrlimit(2). */
function openFilesLimit(): number {
  const limits = existsSync('/proc/self/limits') ? readFileSync('/proc/self/limits', 'utf8') : '';
  return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? 1_024);
}

for (const backend of IOLoop.backends)
  suite(`an idle loop on ${backend}`, { limitMs: 120_000 }, (test) => {
    // select(2) takes numbers below FD_SETSIZE.
    const pairs = backend === 'select' ? 450 : Math.min(5_000, Math.floor(openFilesLimit() / 2) - 50);

    test(`with ${2 * pairs} silent descriptors and 1,000 far timers makes no turn`, async () => {
      const idleMs = 1_000;
      const { stdout, stderr } = await runInProject(IDLE(backend, pairs, idleMs), { limitMs: 110_000 });
      assert.is.not(stdout, '', stderr);
      const { turns, handlers, utilization, cpuMs } = JSON.parse(stdout);
      console.log(
        `  ${backend}: ${turns} turns, utilization ${utilization.toFixed(4)}, ${cpuMs} ms of CPU a second`,
      );
      assert.is(handlers, 2 * pairs + 1);
      assert.ok(turns <= 2, `${turns} turns in a second`);
    });
  });
