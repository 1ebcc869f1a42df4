import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as assert from 'uvu/assert';

import { Interest, IOLoop, Ready } from '../../src/index.ts';
import { drain, poke, Sockets } from '../support/sockets.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { neverCalled, nextTurn, turnsIn } from '../support/turns.ts';
import { within } from '../support/within.ts';

/** Keeps `fd` open in another process until the test is over. */
async function holdElsewhere(fd: number, defer: TestContext['defer']): Promise<void> {
  const holder = spawn(process.execPath, ['-e', 'process.stdin.resume(); console.log("held")'], {
    stdio: ['pipe', 'pipe', 'inherit', fd],
  });
  defer(async () => {
    const closed = once(holder, 'close');
    holder.stdin?.destroy();
    await closed;
  });
  assert.ok(holder.stdout);
  await within(10_000, once(holder.stdout, 'data'), 'the word of the other process');
}

for (const backend of IOLoop.backends) {
  suite(`a closed descriptor that lives on elsewhere, on ${backend}`, { backend }, (test) => {
    test('makes no turns when it was removed before it was closed', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [fd, far] = sockets.pair();
      loop.addHandler(fd, neverCalled, Interest.READ);
      await holdElsewhere(fd, defer);
      loop.removeHandler(fd);
      sockets.close(fd);
      poke(far);
      assert.ok((await turnsIn(200, loop)) <= 3);
      assert.is(loop.metrics().spuriousEvents, 0);
    });

    // The kernel's set keeps the registration as long as any duplicate of the descriptor is open,
    // epoll(7) Q&A 6: the loop makes itself a new set.
    test('soon makes no turns when it was never removed', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [fd, far] = sockets.pair();
      const [quiet, farQuiet] = sockets.pair();
      const heard: number[] = [];
      loop.addHandler(fd, () => void 0, Interest.READ);
      loop.addHandler(quiet, () => void heard.push(drain(quiet)), Interest.READ);
      await holdElsewhere(fd, defer);
      sockets.close(fd);
      loop.removeHandler(fd);
      poke(far);
      await turnsIn(50, loop);
      assert.ok((await turnsIn(200, loop)) <= 3);
      poke(farQuiet);
      await turnsIn(5, loop);
      assert.equal(heard, [1]);
      loop.removeHandler(quiet);
    });

    test('is not heard by the next descriptor of its number', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [fd, far] = sockets.pair();
      const heard: number[] = [];
      loop.addHandler(fd, neverCalled, Interest.READ);
      await holdElsewhere(fd, defer);
      sockets.close(fd);
      const [, newFar] = sockets.pairAt(fd);
      loop.addHandler(fd, () => void heard.push(drain(fd)), Interest.READ);
      poke(far);
      await turnsIn(50, loop);
      assert.equal(heard, []);
      assert.ok((await turnsIn(200, loop)) <= 3);
      poke(newFar);
      await turnsIn(5, loop);
      assert.equal(heard, [1]);
      loop.removeHandler(fd);
    });
  });

  // DESIGN.md, contract 9: told by poll(2) and select(2), forgotten by the kernel's own sets.
  const told = backend === 'poll' || backend === 'select';
  suite(`a descriptor closed behind the loop's back on ${backend}`, { backend }, (test) => {
    test(`is ${told ? 'an error, told once' : 'forgotten'}, and the loop goes on`, async ({
      loop,
      defer,
    }) => {
      const sockets = new Sockets(defer);
      const [fd] = sockets.pair();
      const [other, farOther] = sockets.pair();
      const events: number[] = [];
      const heard: number[] = [];
      loop.addHandler(fd, (_, ready) => void events.push(ready), Interest.READ);
      loop.addHandler(other, () => void heard.push(drain(other)), Interest.READ);
      sockets.close(fd);
      for (let turn = 0; turn < 5; turn++) await nextTurn(loop);
      assert.equal(events, told ? [Ready.ERROR] : []);
      poke(farOther);
      await nextTurn(loop);
      assert.equal(heard, [1]);
      assert.ok((await turnsIn(200, loop)) <= 3);
      assert.throws(() => loop.updateHandler(fd, Interest.WRITE), /E(BADF|NOENT).*fd \d+/);
      assert.is(loop.removeHandler(fd), true);
      loop.removeHandler(other);
    });

    test('may be removed after it was closed', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const fd = sockets.ended();
      loop.addHandler(fd, neverCalled, Interest.READ);
      sockets.close(fd);
      assert.is(loop.removeHandler(fd), true);
      await nextTurn(loop);
      assert.is(loop.metrics().spuriousEvents, 0);
    });

    test('may be registered anew under its number without having been removed', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [fd] = sockets.pair();
      for (const interest of [Interest.READ, 0]) {
        const heard: number[] = [];
        loop.addHandler(fd, neverCalled, interest);
        sockets.close(fd);
        const [, far] = sockets.pairAt(fd);
        loop.addHandler(fd, () => void heard.push(drain(fd)), Interest.READ);
        assert.is(loop.metrics().handlers, 1);
        poke(far);
        await nextTurn(loop);
        assert.equal(heard, [1]);
        loop.removeHandler(fd);
      }
    });
  });
}

// Poll and select have no one-shots.
for (const backend of IOLoop.backends.filter((name) => name === 'epoll' || name === 'kqueue')) {
  suite(`one-shots on ${backend}`, { backend }, (test) => {
    test('stay silent when a closed descriptor makes the loop build itself a new set', async ({
      loop,
      defer,
    }) => {
      const sockets = new Sockets(defer);
      const [fd, far] = sockets.pair();
      const spent = sockets.ended();
      let told = 0;
      loop.addHandler(spent, () => void told++, Interest.READ | Interest.ONESHOT);
      loop.addHandler(fd, neverCalled, Interest.READ);
      await holdElsewhere(fd, defer);
      sockets.close(fd);
      loop.removeHandler(fd);
      poke(far);
      await turnsIn(50, loop);
      assert.is(told, 1);
      loop.updateHandler(spent, Interest.READ | Interest.ONESHOT);
      await nextTurn(loop);
      assert.is(told, 2);
      loop.removeHandler(spent);
    });
  });
}
