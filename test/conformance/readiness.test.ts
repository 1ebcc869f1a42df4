import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as assert from 'uvu/assert';

import { Interest, IOLoop, Ready } from '../../src/index.ts';
import {
  acceptSocket,
  connectSocket,
  EAGAIN,
  listenSocket,
  recv,
  send,
  shutdownFd,
  socketAddress,
  socketError,
} from '../../src/raw.ts';
import { drain, poke, Sockets } from '../support/sockets.ts';
import { suite } from '../support/suite.ts';
import { neverCalled, nextTurn, passes, turnsIn } from '../support/turns.ts';
import { within } from '../support/within.ts';

const { READ, WRITE } = Interest;
const FAILURE = Ready.ERROR | Ready.HANGUP;

/** What `fd` is found ready for in one turn while it is watched for `interest`, call by call. */
async function readyFor(loop: IOLoop, fd: number, interest: number): Promise<number[]> {
  const calls: number[] = [];
  loop.addHandler(fd, (_, events) => void calls.push(events), interest);
  await nextTurn(loop);
  loop.removeHandler(fd);
  return calls;
}

/** A port that nobody listens on. */
function deadPort(sockets: Sockets): number {
  const listener = listenSocket({ port: 0 });
  sockets.adopt(listener);
  const address = socketAddress(listener);
  sockets.close(listener);
  assert.ok('port' in address);
  return address.port;
}

for (const backend of IOLoop.backends) {
  // select(2) has no word for an error or a hang-up: they show as readable and writable.
  const tellsFailures = backend !== 'select';

  suite(`readiness on ${backend}`, { backend }, (test) => {
    // [bytes wait, the peer is gone, interest] to what is told.
    const cases: [boolean, boolean, number, number][] = [];
    for (const interest of [READ, WRITE, READ | WRITE])
      for (const unread of [false, true])
        for (const gone of [false, true]) {
          const readable = unread || gone ? READ : 0;
          cases.push([unread, gone, interest, interest & (readable | WRITE)]);
        }
    for (const [unread, gone, interest, expected] of cases) {
      const state = `${unread ? 'with' : 'without'} bytes, peer ${gone ? 'gone' : 'there'}`;
      test(`tells interest ${interest} as ${expected}, ${state}`, async ({ loop, defer }) => {
        const sockets = new Sockets(defer);
        const [fd, far] = sockets.pair();
        if (unread) poke(far);
        if (gone) sockets.close(far);
        const calls = await readyFor(loop, fd, interest);
        const failed = gone && tellsFailures;
        assert.is(calls.length, expected !== 0 || failed ? 1 : 0, 'more than one call in a turn');
        // A hang-up counts as readable, because a pipe whose writer left reports nothing else.
        const events = (calls[0] ?? 0) & ~FAILURE;
        assert.is(events & interest, expected);
        assert.is(((calls[0] ?? 0) & Ready.HANGUP) !== 0, failed);
      });
    }

    test('tells a refused connect as writable, once a turn, and the socket says why', async ({
      loop,
      defer,
    }) => {
      const sockets = new Sockets(defer);
      const fd = sockets.adopt(connectSocket({ port: deadPort(sockets) }));
      const calls = await within(
        5_000,
        new Promise<number[]>((resolve) => {
          loop.addHandler(fd, (_, events) => void (loop.removeHandler(fd) && resolve([events])), WRITE);
        }),
        'the end of the connect',
      );
      assert.is((calls[0] ?? 0) & WRITE, WRITE);
      assert.is(((calls[0] ?? 0) & Ready.ERROR) !== 0, tellsFailures);
      assert.is(socketError(fd), process.platform === 'linux' ? -111 : -61);
      assert.is(socketError(fd), 0);
    });

    test('tells the bytes before the end, and the end again and again', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [fd, far] = sockets.pair();
      assert.is(send(far, Buffer.alloc(512, 'x')), 512);
      sockets.close(far);
      const buffer = Buffer.alloc(100);
      const received: number[] = [];
      loop.addHandler(
        fd,
        (_, events) => {
          assert.ok((events & READ) !== 0);
          received.push(recv(fd, buffer));
        },
        READ,
      );
      for (let turn = 0; turn < 8; turn++) await nextTurn(loop);
      assert.equal(received, [100, 100, 100, 100, 100, 12, 0, 0]);
      loop.removeHandler(fd);
    });

    test('tells the end of a half-closed peer that goes on reading', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [fd, far] = sockets.pair();
      poke(far);
      shutdownFd(far);
      assert.equal(await readyFor(loop, fd, READ | WRITE), [READ | WRITE]);
      assert.is(drain(fd), 1);
      assert.equal(await readyFor(loop, fd, READ | WRITE), [READ | WRITE]);
      poke(fd);
      assert.is(drain(far), 1);
    });

    test('tells again of what was left unread', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [fd, far] = sockets.pair();
      const byte = Buffer.alloc(1);
      let left = 5;
      for (let sent = 0; sent < left; sent++) poke(far);
      loop.addHandler(
        fd,
        () => {
          assert.is(recv(fd, byte), 1);
          left--;
        },
        READ,
      );
      for (let turn = 0; turn < 8; turn++) await nextTurn(loop);
      assert.is(left, 0);
      loop.removeHandler(fd);
    });

    test('survives readiness that is gone when the handler comes', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [a, farA] = sockets.pair();
      const [b, farB] = sockets.pair();
      const results: number[] = [];
      const takeBoth = (): void => {
        for (const fd of [a, b]) results.push(recv(fd, Buffer.alloc(8)));
      };
      loop.addHandler(a, takeBoth, READ);
      loop.addHandler(b, takeBoth, READ);
      poke(farA);
      poke(farB);
      await nextTurn(loop);
      await nextTurn(loop);
      assert.equal(results, [1, 1, EAGAIN, EAGAIN]);
      loop.removeHandler(a);
      loop.removeHandler(b);
    });

    // Only a C program or Python, which node-gyp needs anyway, sends MSG_OOB.
    test('tells urgent data to who asked for it, and spins for nobody', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const listener = sockets.adopt(listenSocket({ port: 0 }));
      const address = socketAddress(listener);
      assert.ok('port' in address);
      const program = [
        'import socket, sys',
        `peer = socket.create_connection(("127.0.0.1", ${address.port}))`,
        'peer.send(b"!", socket.MSG_OOB)',
        'sys.stdin.read()',
      ].join('\n');
      const peer = spawn('python3', ['-c', program], { stdio: ['pipe', 'inherit', 'inherit'] });
      defer(async () => {
        const closed = once(peer, 'close');
        peer.stdin?.destroy();
        await closed;
      });
      const fd = await within(
        10_000,
        new Promise<number>((resolve) => {
          loop.addHandler(
            listener,
            () => void (loop.removeHandler(listener) && resolve(acceptSocket(listener))),
            READ,
          );
        }),
        'the connection',
      );
      sockets.adopt(fd);
      const urgent = within(
        10_000,
        new Promise<number>((resolve) => {
          const calm = (_: number, events: number): void => {
            loop.updateHandler(fd, READ);
            resolve(events);
          };
          loop.addHandler(fd, calm, Interest.PRIORITY);
        }),
        'the urgent byte',
      );
      assert.is((await urgent) & Ready.PRIORITY, Ready.PRIORITY);
      assert.ok((await turnsIn(200, loop)) <= 3);
      loop.removeHandler(fd);
    });
  });
}

const hasModes = new Set(['epoll', 'kqueue']);
for (const backend of IOLoop.backends.filter((name) => hasModes.has(name))) {
  suite(`modes on ${backend}`, { backend }, (test) => {
    test('tell by the edge: once for what is left unread, again for more', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const [fd, far] = sockets.pair();
      let called = 0;
      loop.addHandler(fd, () => void called++, READ | Interest.EDGE);
      poke(far);
      for (let turn = 0; turn < 3; turn++) await nextTurn(loop);
      assert.is(called, 1);
      poke(far);
      for (let turn = 0; turn < 3; turn++) await nextTurn(loop);
      assert.is(called, 2);
      assert.is(drain(fd), 2);
      poke(far);
      await nextTurn(loop);
      assert.is(called, 3);
      loop.removeHandler(fd);
    });

    test('tell once and fall silent until the next update', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const fd = sockets.ended();
      let called = 0;
      loop.addHandler(fd, () => void called++, READ | Interest.ONESHOT);
      for (let turn = 0; turn < 3; turn++) await nextTurn(loop);
      assert.is(called, 1);
      loop.updateHandler(fd, READ | Interest.ONESHOT);
      for (let turn = 0; turn < 3; turn++) await nextTurn(loop);
      assert.is(called, 2);
      loop.removeHandler(fd);
    });

    test('tell once even when the handler returns a promise', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const fd = sockets.ended();
      let called = 0;
      const settle: (() => void)[] = [];
      const wait = (): Promise<void> => {
        called++;
        return new Promise((resolve) => settle.push(resolve));
      };
      loop.addHandler(fd, wait, READ | Interest.ONESHOT);
      await passes(5);
      settle.pop()?.();
      await passes(5);
      assert.is(called, 1);
      loop.updateHandler(fd, READ | Interest.ONESHOT);
      await passes(5);
      assert.is(called, 2);
      // Asked for while a call is pending, the next one waits for its end.
      loop.updateHandler(fd, READ | Interest.ONESHOT);
      await passes(5);
      assert.is(called, 2);
      settle.pop()?.();
      await passes(5);
      assert.is(called, 3);
      loop.removeHandler(fd);
    });
  });
}

for (const backend of IOLoop.backends.filter((name) => !hasModes.has(name))) {
  suite(`modes on ${backend}`, { backend }, (test) => {
    test('are refused by name, and leave what was watched as it was', async ({ loop, defer }) => {
      const sockets = new Sockets(defer);
      const fd = sockets.ended();
      let called = 0;
      for (const mode of [Interest.EDGE, Interest.ONESHOT, Interest.EXCLUSIVE])
        assert.throws(() => loop.addHandler(fd, neverCalled, READ | mode), /ENOTSUP|EOPNOTSUPP/);
      loop.addHandler(fd, () => void called++, READ);
      for (const mode of [Interest.EDGE, Interest.ONESHOT, Interest.EXCLUSIVE])
        assert.throws(() => loop.updateHandler(fd, READ | mode), /ENOTSUP|EOPNOTSUPP/);
      await nextTurn(loop);
      assert.is(called, 1);
      loop.removeHandler(fd);
    });
  });
}

if (IOLoop.backends.includes('epoll')) {
  suite('EXCLUSIVE on epoll', { backend: 'epoll' }, (test) => {
    // epoll_ctl(2): EINVAL for EPOLL_CTL_MOD of a registration made with EPOLLEXCLUSIVE.
    test('is told like any other, and cannot be changed', async ({ loop, defer }) => {
      const fd = new Sockets(defer).ended();
      let called = 0;
      loop.addHandler(fd, () => void called++, READ | Interest.EXCLUSIVE);
      assert.throws(() => loop.updateHandler(fd, Interest.WRITE), /EINVAL/);
      await nextTurn(loop);
      assert.is(called, 1);
      assert.is(loop.removeHandler(fd), true);
    });
  });
}
