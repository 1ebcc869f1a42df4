import { AsyncLocalStorage, executionAsyncId } from 'node:async_hooks';
import * as assert from 'uvu/assert';

import { IOLoop, PeriodicCallback } from '../src/index.ts';
import { driven, signal } from './support/driven.ts';
import { drain, poke, Sockets } from './support/sockets.ts';
import { suite } from './support/suite.ts';
import { passes } from './support/turns.ts';

for (const drive of ['node', 'manual'] as const) {
  suite(`the async context with drive '${drive}'`, { drive }, (test) => {
    test('of a handler, timer, callback and waker is that of its making', async ({ loop, defer }) => {
      const storage = new AsyncLocalStorage<string>();
      const sockets = new Sockets(defer);
      const [near, far] = sockets.pair();
      const seen: Record<string, (string | undefined)[]> = {
        handler: [],
        timer: [],
        callback: [],
        waker: [],
      };
      let left = 4;
      const { promise, fire } = signal();
      // Before and after an await, since a continuation has a context of its own.
      const note = (kind: string) => async (): Promise<void> => {
        const before = storage.getStore();
        await null;
        seen[kind]?.push(before, storage.getStore());
        if (--left === 0) fire();
      };
      storage.run('handler', () =>
        loop.addHandler(
          near,
          () => {
            drain(near);
            return note('handler')();
          },
          1,
        ),
      );
      storage.run('timer', () => loop.callLater(1, note('timer')));
      storage.run('callback', () => loop.addCallback(note('callback')));
      const waker = storage.run('waker', () => loop.createWaker(() => void note('waker')()));
      storage.run('poker', () => {
        poke(far);
        waker.wake();
      });
      await driven(loop, promise, 'all four');
      for (const [kind, stores] of Object.entries(seen)) assert.equal(stores, [kind, kind]);
      assert.is(storage.getStore(), undefined);
      loop.removeHandler(near);
      waker.close();
    });

    test('that one callback enters is seen by no other', async ({ loop, defer }) => {
      const storage = new AsyncLocalStorage<string>();
      const sockets = new Sockets(defer);
      const fds = Array.from({ length: 4 }, () => sockets.ended());
      const seen: (string | undefined)[] = [];
      let left = 0;
      const { promise, fire } = signal();
      const enter = (): void => {
        seen.push(storage.getStore());
        storage.enterWith('leaked');
        if (--left === 0) fire();
      };
      const whenMs = loop.time();
      for (const fd of fds) {
        left += 4;
        loop.addHandler(
          fd,
          () => {
            loop.removeHandler(fd);
            enter();
          },
          1,
        );
        loop.callAt(whenMs, enter);
        loop.callAt(whenMs + 1, enter);
        loop.addCallback(enter);
      }
      await driven(loop, promise, 'all of them');
      assert.equal(seen, Array(16).fill(undefined));
      await passes(2);
      assert.is(storage.getStore(), undefined, 'nor by who waited');
    });

    test('of a periodic callback is that of start()', async ({ loop }) => {
      const storage = new AsyncLocalStorage<string>();
      const seen: (string | undefined)[] = [];
      const { promise, fire } = signal();
      const periodic = new PeriodicCallback(
        async () => {
          seen.push(storage.getStore());
          if (seen.length === 3) {
            periodic.stop();
            fire();
          }
        },
        1,
        { loop },
      );
      storage.run('starter', () => periodic.start());
      await driven(loop, promise, 'three calls');
      assert.equal(seen, ['starter', 'starter', 'starter']);
    });

    test('of a timer that is armed again stays that of its making', async ({ loop }) => {
      const storage = new AsyncLocalStorage<string>();
      const { promise, fire } = signal<string | undefined>();
      const timer = storage.run('maker', () => loop.callLater(1e6, () => fire(storage.getStore())));
      storage.run('other', () => timer.reschedule(0));
      assert.is(await driven(loop, promise, 'the timer'), 'maker');
    });

    test('each entry of a turn is an execution of its own, and the stack is clean after it', async ({
      loop,
    }) => {
      const ids = new Set<number>();
      let left = 10;
      const { promise, fire } = signal();
      for (let i = 0; i < 10; i++)
        loop.addCallback(() => {
          ids.add(executionAsyncId());
          if (--left === 0) fire();
        });
      await driven(loop, promise, 'ten callbacks');
      assert.is(ids.size, 10);
    });
  });
}

suite('the async context of a stop hook', (test) => {
  test('is that of its making', async ({ loop }) => {
    const storage = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    for (const name of ['first', 'second'])
      storage.run(name, () =>
        loop.onStop(async () => {
          await null;
          seen.push(storage.getStore());
          storage.enterWith('leaked');
        }),
      );
    const stopped = loop.start();
    storage.run('stopper', () => loop.stop());
    await driven(loop, stopped, 'the end of start()');
    assert.equal(seen, ['second', 'first']);
  });
});

suite('the async context of an error', (test) => {
  test('enters no other callback through onError', async () => {
    const storage = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    const { promise, fire } = signal();
    const loop = new IOLoop({
      current: false,
      onError: () => {
        seen.push(storage.getStore());
        storage.enterWith('from onError');
      },
    });
    const note = (): void => {
      seen.push(storage.getStore());
    };
    const fail = (): void => {
      throw new Error('thrown');
    };
    loop.addCallback(fail);
    loop.addCallback(() => {
      note();
      loop.callLater(0, () => {
        note();
        fail();
      });
      loop.callLater(1, () => {
        note();
        fire();
      });
    });
    await driven(loop, promise, 'the last timer');
    await loop.close();
    assert.equal(
      seen.filter((store) => store !== undefined),
      [],
    );
  });
});
