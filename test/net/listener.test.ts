import { AsyncLocalStorage } from 'node:async_hooks';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

import { type Address, IOLoop } from '../../src/index.ts';
import { addon, closeStream } from '../../src/native.ts';
import { bindSockets } from '../../src/net/bind-sockets.ts';
import { Listener, type ListenerOwner } from '../../src/net/listener.ts';
import {
  acceptSocket,
  closeFd,
  connectSocket,
  EAGAIN,
  listenSocket,
  recv,
  socketAddress,
} from '../../src/raw.ts';
import { signal } from '../support/driven.ts';
import { poke, Sockets } from '../support/sockets.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { nextTurn, turnsIn } from '../support/turns.ts';
import { within } from '../support/within.ts';

/** A listener on IPv4's loopback that notes what it tells, and its clients. */
class Scene {
  readonly remotes: Address[] = [];
  readonly drops: [reason: string, remote: string][] = [];
  readonly errors: unknown[] = [];
  readonly listener: Listener;
  readonly port: number;
  /** What a connection does beyond being noted. */
  onConnection: (count: number) => void = () => {};
  hasRoom: () => boolean = () => true;
  readonly #loop: IOLoop;
  readonly #accepted: number[] = [];
  readonly #clients: number[] = [];
  #expected = 0;
  #arrived = signal();

  constructor({ loop, defer }: TestContext, fd: number) {
    this.#loop = loop;
    const owner: ListenerOwner = {
      hasRoom: () => this.hasRoom(),
      onConnection: (accepted, remote) => {
        this.#accepted.push(accepted);
        this.remotes.push(remote);
        this.#count();
        this.onConnection(this.remotes.length);
      },
      onDrop: (reason, remote) => {
        this.drops.push([reason, String(remote)]);
        this.#count();
      },
      onError: (error) => this.errors.push(error),
    };
    this.listener = new Listener(loop, fd, owner);
    const { address } = this.listener;
    this.port = 'port' in address ? address.port : 0;
    defer(() => this.#close());
  }

  /** Connects `count` clients before the listener gets a turn. */
  connect(count: number): number[] {
    const clients = Array.from({ length: count }, () => connectSocket({ port: this.port }));
    this.#clients.push(...clients);
    return clients;
  }

  /** Waits until `count` were accepted or dropped, all in all. */
  async arrived(count: number): Promise<void> {
    this.#expected = count;
    this.#arrived = signal();
    if (this.remotes.length + this.drops.length >= count) return;
    await within(5_000, this.#arrived.promise, `client ${count}`);
    await nextTurn(this.#loop);
  }

  #count(): void {
    if (this.remotes.length + this.drops.length === this.#expected) this.#arrived.fire();
  }

  #close(): void {
    this.listener.stop();
    for (const fd of this.#accepted) closeStream(fd);
    for (const fd of this.#clients) closeFd(fd);
  }
}

async function scene(context: TestContext): Promise<Scene> {
  const [fd = -1] = await bindSockets(0, '127.0.0.1');
  return new Scene(context, fd);
}

for (const backend of IOLoop.backends)
  suite(`a listener on ${backend}`, { backend }, (test) => {
    test('tells who connected, and where it listens', async (context) => {
      const served = await scene(context);
      assert.is(String(served.listener.address), `127.0.0.1:${served.port}`);
      const clients = served.connect(3);
      await served.arrived(3);
      assert.equal(
        served.remotes.map(String),
        clients.map((fd) => String(socketAddress(fd))),
      );
      assert.is(served.listener.shed, 0);
    });

    test('takes a burst in batches of at most 256, and in few of them', async (context) => {
      const served = await scene(context);
      const batches = new Map<number, number>();
      served.onConnection = () => {
        const { turns } = context.loop.metrics();
        batches.set(turns, (batches.get(turns) ?? 0) + 1);
      };
      // 16 + 32 + 64 + 88; select(2) takes numbers below FD_SETSIZE.
      served.connect(200);
      await served.arrived(200);
      assert.equal([...batches.values()], [16, 32, 64, 88]);
    });

    test('takes single clients by single calls once it has seen few', async (context) => {
      const served = await scene(context);
      for (let count = 1; count <= 8; count++) {
        served.connect(1);
        await served.arrived(count);
      }
      const sizes: number[] = [];
      let turn = -1;
      served.onConnection = () => {
        const { turns } = context.loop.metrics();
        if (turns !== turn) sizes.push(0);
        turn = turns;
        sizes.push((sizes.pop() ?? 0) + 1);
      };
      served.connect(7);
      await served.arrived(15);
      assert.ok((sizes[0] ?? 0) <= 2, `a batch of ${sizes[0]}`);
      assert.ok(sizes.length <= 4, `${sizes.length} batches`);
    });

    test('serves the rest of a batch when its owner throws', async (context) => {
      const served = await scene(context);
      const failure = new Error('of the second client');
      served.onConnection = (count) => {
        if (count === 2) throw failure;
      };
      served.connect(4);
      await served.arrived(4);
      assert.is(served.remotes.length, 4);
      assert.equal(served.errors, [failure]);
    });

    test('stops within its own call, and resets those who wait', async (context) => {
      const served = await scene(context);
      const stopped = signal();
      served.onConnection = (count) => {
        if (count !== 2) return;
        served.listener.stop();
        stopped.fire();
      };
      const clients = served.connect(5);
      await within(5_000, stopped.promise, 'the second client');
      await nextTurn(context.loop);
      assert.is(served.remotes.length, 2);
      assert.is(served.listener.fd, -1);
      assert.equal(
        clients.map((fd) => recv(fd, Buffer.alloc(1)) === EAGAIN),
        [true, true, false, false, false],
      );
      assert.equal(context.loop.resources(), []);
      assert.equal(served.errors, []);
      served.listener.stop();
    });

    test('closes at once those for whom there is no room', async (context) => {
      const served = await scene(context);
      served.hasRoom = () => served.remotes.length < 2;
      const clients = served.connect(5);
      await served.arrived(5);
      assert.equal(
        served.drops,
        clients.slice(2).map((fd) => ['connections', String(socketAddress(fd))]),
      );
      assert.equal(
        clients.map((fd) => recv(fd, Buffer.alloc(1))),
        [EAGAIN, EAGAIN, 0, 0, 0],
      );
      assert.is(served.listener.shed, 3);
    });

    test('keeps what one connection enters from the others', async (context) => {
      const served = await scene(context);
      const storage = new AsyncLocalStorage<number>();
      const found: unknown[] = [];
      served.onConnection = (count) => {
        found.push(storage.getStore());
        storage.enterWith(count);
      };
      served.connect(3);
      await served.arrived(3);
      assert.equal(found, [undefined, undefined, undefined]);
    });

    test('keeps the process alive unless told otherwise', async (context) => {
      const served = await scene(context);
      const referenced = (): boolean[] => context.loop.resources().map((resource) => resource.referenced);
      assert.equal(referenced(), [true]);
      served.listener.unref();
      assert.equal(referenced(), [false]);
      served.listener.ref();
      assert.equal(referenced(), [true]);
    });

    test('looks away from what cannot accept, and says why', async (context) => {
      const sockets = new Sockets(context.defer);
      const listener = listenSocket({ port: 0 });
      sockets.adopt(listener);
      const address = socketAddress(listener);
      const port = 'port' in address ? address.port : 0;
      // A connection is readable, too, and there is nothing to accept on it: EINVAL, again and again.
      const near = addon().connectStream(undefined, '127.0.0.1', port, '', 0);
      const served = new Scene(context, near);
      poke(sockets.adopt(acceptSocket(listener)));
      const turns = await turnsIn(2_000, context.loop);
      assert.ok(turns > 0 && turns <= 20, `${turns} turns`);
      const [error] = served.errors;
      assert.match(String(error), 'SystemError: accept EINVAL');
      // Stopped while it looks away, it comes back for nothing.
      served.listener.stop();
      assert.equal(context.loop.resources(), []);
    });

    test('accepts at a path, from nobody in particular', async (context) => {
      const directory = mkdtempSync(join(tmpdir(), 'ioloop-'));
      context.defer(() => rmSync(directory, { recursive: true }));
      const path = join(directory, 's');
      const fd = addon().listenStream(path, '', 0, 16, false, false, 0o600);
      const served = new Scene(context, fd);
      const client = connectSocket({ path });
      context.defer(() => closeFd(client));
      await served.arrived(1);
      assert.equal(
        served.remotes.map((remote) => ({ ...remote })),
        [{ family: 'Unix', path: '' }],
      );
      assert.is(String(served.listener.address), path);
    });
  });
