import { once } from 'node:events';
import * as assert from 'uvu/assert';

import { Interest, IOLoop, IOLoopError, SystemError, type TimerHandle } from '../../src/index.ts';
import {
  acceptSocket,
  closeFd,
  connectSocket,
  EAGAIN,
  listenSocket,
  peerAddress,
  recv,
  send,
  shutdownFd,
  socketAddress,
  socketError,
} from '../../src/raw.ts';
import { SimNetwork, type SimOptions } from '../../src/testing/sim.ts';
import { signal } from '../support/driven.ts';
import { compiledMain, startWorker } from '../support/package.ts';
import { simNetwork } from '../support/sim.ts';
import { Sockets } from '../support/sockets.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { neverCalled } from '../support/turns.ts';
import { within } from '../support/within.ts';

const HOUR_MS = 3_600_000;

/** Calls `done` with all that `fd` receives until its end, then closes it. */
function collect(loop: IOLoop, fd: number, done: (text: string) => void): void {
  const chunk = Buffer.alloc(4096);
  let text = '';
  const onReadable = (): void => {
    const count = recv(fd, chunk);
    if (count > 0) text += chunk.toString('latin1', 0, count);
    if (count !== 0) return;
    loop.removeHandler(fd);
    closeFd(fd);
    done(text);
  };
  loop.addHandler(fd, onReadable, Interest.READ);
}

/** Sends `text` as `fd` takes it, then its end. */
function sendAll(loop: IOLoop, fd: number, text: string): void {
  let rest = Buffer.from(text, 'latin1');
  const onWritable = (): void => {
    const count = send(fd, rest);
    if (count > 0) rest = rest.subarray(count);
    if (rest.length > 0) return;
    loop.updateHandler(fd, Interest.READ);
    shutdownFd(fd);
  };
  loop.addHandler(fd, onWritable, Interest.WRITE);
}

/** A client sends `text` to a server over TCP, which gets this. */
function transfer(network: SimNetwork, loop: IOLoop, text: string): Promise<string> {
  return network.run(async () => {
    const { promise, fire } = signal<string>();
    const listener = listenSocket({ port: 0 });
    loop.addHandler(listener, () => collect(loop, acceptSocket(listener), fire), Interest.READ);
    const address = socketAddress(listener);
    assert.ok('port' in address);
    const { port } = address;
    const client = await new Promise<number>((resolve) =>
      loop.callLater(1, () => resolve(connectSocket({ port }))),
    );
    sendAll(loop, client, text);
    const received = await promise;
    loop.removeHandler(listener);
    loop.removeHandler(client);
    closeFd(listener);
    closeFd(client);
    return received;
  });
}

suite('simulated network', (test) => {
  test('carries bytes between handlers, in both domains', async (context) => {
    const network = simNetwork(context);
    const loop = network.createLoop();
    assert.is(await transfer(network, loop, 'over TCP'), 'over TCP');
    const [near, far] = network.connectPair();
    const received = await network.run(() => {
      const { promise, fire } = signal<string>();
      collect(loop, far, fire);
      send(near, Buffer.from('over a pair'));
      closeFd(near);
      return promise;
    });
    assert.is(received, 'over a pair');
  });

  test('names the ends of a connection as TCP does', (context) => {
    const network = simNetwork(context);
    network.host(() => {
      const listener = listenSocket({ port: 4321 });
      const client = connectSocket({ port: 4321 });
      const server = acceptSocket(listener);
      assert.is(peerAddress(client).toString(), '127.0.0.1:4321');
      assert.is(peerAddress(server).toString(), socketAddress(client).toString());
      assert.throws(
        () => listenSocket({ port: 4321 }),
        (error: unknown) => error instanceof SystemError && error.code === 'EADDRINUSE',
      );
      for (const fd of [listener, client, server]) closeFd(fd);
    });
  });

  test('refuses a connection that nobody listens for', async (context) => {
    const network = simNetwork(context);
    const loop = network.createLoop();
    const error = await network.run(() => {
      const { promise, fire } = signal<number>();
      const client = connectSocket({ port: 9 });
      const onDecided = (): void => {
        fire(socketError(client));
        loop.removeHandler(client);
        closeFd(client);
      };
      loop.addHandler(client, onDecided, Interest.WRITE);
      return promise;
    });
    assert.is(new SystemError(error, 'connect').code, 'ECONNREFUSED');
  });

  test('makes no sockets outside of run() and host()', ({ defer }) => {
    const network = simNetwork({ defer });
    const sockets = new Sockets(defer);
    const [near] = sockets.pair();
    assert.is(network.openDescriptors, 0);
    assert.ok(near < 1 << 20);
  });

  test('lets hours pass in no time, each timer at its instant', async (context) => {
    const network = simNetwork(context);
    const loop = network.createLoop();
    const begunMs = loop.time();
    assert.is(begunMs, network.timeMs);
    const fired: number[] = [];
    await network.run(() => {
      const { promise, fire } = signal();
      const note = (): void => void fired.push(loop.time() - begunMs);
      loop.callLater(0.25, note);
      loop.callLater(HOUR_MS, note);
      loop.callLater(24 * HOUR_MS, () => {
        note();
        fire();
      });
      return promise;
    });
    assert.equal(fired, [0.25, HOUR_MS, 24 * HOUR_MS]);
  });

  test('moves the clock by as much as it is told to, with all that happens meanwhile', async (context) => {
    const network = simNetwork(context);
    const loop = network.createLoop();
    const begunMs = network.timeMs;
    const fired: number[] = [];
    for (const delayMs of [10, 99, 100, 101]) loop.callLater(delayMs, () => void fired.push(delayMs));
    await network.advance(100);
    assert.is(network.timeMs, begunMs + 100);
    assert.equal(fired, [10, 99, 100]);
    await network.advance(1);
    assert.equal(fired, [10, 99, 100, 101]);
  });

  test('comes to the end of what it is told to pass, also where the sum is rounded', async (context) => {
    const network = simNetwork(context);
    await network.advance(324.570334);
    await network.advance(60_000);
    assert.is(network.timeMs, 61_324.570334);
  });

  test('advances no further than it was told inside of a run', async (context) => {
    const network = simNetwork(context);
    const loop = network.createLoop();
    const later = loop.callLater(HOUR_MS, neverCalled);
    const begunMs = network.timeMs;
    await network.run(async () => {
      await network.advance(100);
      assert.is(network.timeMs, begunMs + 100);
      await network.advance(100);
      assert.is(network.timeMs, begunMs + 200);
      later.cancel();
    });
  });

  test('delivers after its delay, and not before', async (context) => {
    const network = simNetwork(context, { minDelayMs: 5, maxDelayMs: 5 });
    const [near, far] = network.connectPair();
    const byte = Buffer.alloc(1);
    send(near, Buffer.from('!'));
    await network.advance(4.999);
    assert.is(recv(far, byte), EAGAIN);
    await network.advance(0.001);
    assert.is(recv(far, byte), 1);
    closeFd(near);
    closeFd(far);
    await network.advance(5);
  });

  test('serves what comes at an instant before it moves on', async (context) => {
    const network = simNetwork(context);
    // The one that receives had its turn when the other sends.
    const [receiver, sender] = [network.createLoop(), network.createLoop()];
    const [near, far] = network.connectPair();
    const order: string[] = [];
    await network.run(() => {
      const { promise, fire } = signal();
      const byte = Buffer.alloc(1);
      receiver.addHandler(
        far,
        () => void order.push(`${recv(far, byte)} byte at ${receiver.time()}`),
        Interest.READ,
      );
      sender.callLater(10, () => void send(near, byte));
      sender.callLater(11, fire);
      return promise;
    });
    assert.equal(order, ['1 byte at 1010']);
    receiver.removeHandler(far);
    closeFd(near);
    closeFd(far);
  });

  test('tells a run that nothing can end', async (context) => {
    const network = simNetwork(context);
    network.createLoop();
    try {
      await network.run(() => new Promise(() => {}));
      assert.unreachable('the run ended');
    } catch (error) {
      assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE'), String(error));
    }
  });

  test('hands on what main throws', async (context) => {
    const network = simNetwork(context);
    const failure = new Error('thrown by main');
    const fail = (): never => {
      throw failure;
    };
    for (const main of [fail, async () => fail()]) {
      const caught = await network.run(main).catch((error: unknown) => error);
      assert.is(caught, failure);
    }
  });
});

suite('simulated network: one seed, one trace', (test) => {
  const rough: SimOptions = {
    maxDelayMs: 20,
    bufferSize: 512,
    shortRead: 0.5,
    shortWrite: 0.5,
    spuriousAgain: 0.2,
    interrupt: 0.1,
  };
  const text = Array.from({ length: 2_000 }, (_, line) => `line ${line}\n`).join('');

  async function traceOf(context: TestContext, seed: number): Promise<string> {
    const network = simNetwork(context, { ...rough, seed });
    const loop = network.createLoop();
    const timer: TimerHandle = loop.callLater(1, () => timer.reschedule(3));
    assert.is(await transfer(network, loop, text), text);
    timer.cancel();
    return `${network.traceHash} at ${network.timeMs}`;
  }

  test('two runs of a seed are the same to the last call', async (context) => {
    assert.is(await traceOf(context, 1), await traceOf(context, 1));
    assert.is.not(await traceOf(context, 1), await traceOf(context, 2));
  });
});

suite('simulated network: its life', (test) => {
  test('is in no list of backends, and gone by name once closed', async (context) => {
    const network = simNetwork(context);
    const { backend } = network;
    assert.not.ok(IOLoop.backends.includes(backend));
    assert.is(network.createLoop().backend, backend);
    await network.close();
    await network.close();
    const isCode =
      (code: IOLoopError['code']) =>
      (error: unknown): boolean =>
        IOLoopError.is(error, code);
    assert.throws(() => new IOLoop({ backend }), isCode('ERR_IOLOOP_UNKNOWN_BACKEND'));
    assert.throws(() => network.createLoop(), isCode('ERR_IOLOOP_CLOSED'));
    assert.throws(() => network.connectPair(), isCode('ERR_IOLOOP_CLOSED'));
  });

  test('closes its loops, and ends a run under way', async (context) => {
    const network = simNetwork(context);
    const loop = network.createLoop();
    loop.callLater(HOUR_MS, neverCalled);
    const run = network.run(() => new Promise(() => {})).catch((error: unknown) => error);
    await network.close();
    assert.ok(IOLoopError.is(await run, 'ERR_IOLOOP_CLOSED'));
    assert.is(loop.fd, -1);
  });

  test('keeps two networks apart', async (context) => {
    const [one, other] = [simNetwork(context), simNetwork(context)];
    const [loopOfOne, loopOfOther] = [one.createLoop(), other.createLoop()];
    const [near, far] = one.connectPair();
    assert.throws(
      () => loopOfOther.addHandler(near, neverCalled, Interest.READ),
      (error: unknown) => error instanceof SystemError && error.code === 'EBADF',
    );
    const texts = await Promise.all([
      transfer(one, loopOfOne, 'in the one'),
      transfer(other, loopOfOther, 'in the other'),
    ]);
    assert.equal(texts, ['in the one', 'in the other']);
    await one.advance(100);
    assert.ok(one.timeMs > other.timeMs);
    closeFd(near);
    closeFd(far);
  });

  test('refuses options that are none', () => {
    const refused: [string, SimOptions][] = [
      ['options.seed', { seed: -1 }],
      ['options.bufferSize', { bufferSize: 0 }],
      ['options.shortRead', { shortRead: 1.5 }],
      ['options.interrupt', { interrupt: Number.NaN }],
      ['options.maxDelayMs', { maxDelayMs: Number.NaN }],
    ];
    for (const [name, options] of refused)
      assert.throws(
        () => new SimNetwork(options),
        (error: unknown) =>
          IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT') && error.message.startsWith(name),
      );
  });

  test('ends with its thread, whatever it is doing', async () => {
    const source = `
      const { SimNetwork } = require(workerData.sim);
      const network = new SimNetwork();
      const loop = network.createLoop();
      network.connectPair();
      loop.createWaker(() => {});
      network.host(() => loop.addHandler(raw.listenSocket({ port: 0 }), () => {}, 1));
      const timer = loop.callLater(1, () => timer.reschedule(1));
      loop.callLater(100, () => parentPort.postMessage('it turns'));
      network.run(() => new Promise(() => {}));
    `;
    const sim = compiledMain().replace('index.js', 'testing/sim.js');
    for (let cycle = 0; cycle < count(6, 200); cycle++) {
      const worker = startWorker(source, { workerData: { sim } });
      assert.equal(await within(10_000, once(worker, 'message'), 'the first turns'), ['it turns']);
      await worker.terminate();
    }
  });
});
