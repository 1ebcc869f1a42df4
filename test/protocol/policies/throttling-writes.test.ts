import * as assert from 'uvu/assert';

import { IOLoop, IOStream, LimitError } from '../../../src/index.ts';
import {
  ConnectionDone,
  ConnectionLost,
  type Factory,
  listenTcp,
  type Producer,
  ThrottlingFactory,
} from '../../../src/protocol/index.ts';
import { authority, localhost } from '../../support/certificates.ts';
import { portOf } from '../../support/servers.ts';
import { suite, type TestContext } from '../../support/suite.ts';
import { Noting, Remembering, SimHost } from '../../support/wrapped.ts';

const KiB = 1024;
/** What waits is looked at as often. */
const PERIOD_MS = 20;

/** A host, and connections that write KiB a second after the first KiB. */
function throttled(context: TestContext, options: { maxHeldBytes?: number; perConnection?: boolean } = {}) {
  const host = new SimHost(context);
  const factory = new Remembering(() => new Noting());
  const throttling = new ThrottlingFactory(factory, { writeLimit: KiB, loop: host.loop, ...options });
  return { host, factory, throttling };
}

/** Whether `value` is `expected` or less than a period more. */
function isAbout(value: number, expected: number): void {
  assert.ok(value >= expected - 0.001 && value < expected + PERIOD_MS, `${value}, not ${expected}`);
}

/** A push producer that notes what it is told. */
class Pushing implements Producer {
  readonly calls: string[] = [];

  pauseProducing(): void {
    this.calls.push('pause');
  }

  resumeProducing(): void {
    this.calls.push('resume');
  }

  stopProducing(): void {
    this.calls.push('stop');
  }
}

/** Sends `pieces` when it is asked for each, then has nothing more. */
class Pulled extends Pushing {
  readonly #protocol: Noting;
  #pieces: string[];

  constructor(protocol: Noting, pieces: readonly string[]) {
    super();
    this.#protocol = protocol;
    this.#pieces = [...pieces];
  }

  override resumeProducing(): void {
    super.resumeProducing();
    const piece = this.#pieces.shift();
    if (piece === undefined) this.#protocol.transport.unregisterProducer();
    else this.#protocol.transport.write(piece);
  }
}

suite('throttled writing', (test) => {
  test('keeps to its rate at any time, and to the order of the bytes', async (context) => {
    const { host, factory, throttling } = throttled(context);
    await host.run(async () => {
      const peer = host.open(throttling);
      const { transport } = factory.last;
      const data = Buffer.from('0123456789abcdef'.repeat((11 * KiB) / 16));
      const beginMs = host.loop.time();
      for (let at = 0; at < data.length; at += 100) transport.write(data.subarray(at, at + 100));
      const received: Buffer[] = [];
      for (let bytes = 0; bytes < data.length; ) {
        const chunk = await peer.readBytes(data.length, { partial: true });
        bytes += chunk.length;
        received.push(chunk);
        const allowed = KiB + ((host.loop.time() - beginMs) * KiB) / 1_000;
        assert.ok(bytes <= allowed + 0.001, `${bytes} of ${allowed} bytes`);
      }
      isAbout(host.loop.time() - beginMs, 10_000);
      assert.equal(Buffer.concat(received), data);
    });
    assert.is(host.loop.metrics().timers, 0);
  });

  test('looks at those who wait fifty times a second at most', async (context) => {
    const host = new SimHost(context);
    const { loop } = host;
    const factory = new Remembering(() => new Noting());
    await host.run(async () => {
      const peer = host.open(new ThrottlingFactory(factory, { writeLimit: 1_000, burstMs: 0, loop }));
      const before = loop.metrics().timersFired;
      factory.last.transport.write(Buffer.alloc(2_000));
      await peer.readBytes(2_000);
      const looks = loop.metrics().timersFired - before;
      assert.ok(looks <= 2 * 50, `${looks} looks`);
    });
  });

  test('lets nothing overtake what is held', async (context) => {
    const { host, factory, throttling } = throttled(context);
    await host.run(async () => {
      const peer = host.open(throttling);
      factory.last.transport.write('a'.repeat(KiB + 100));
      // As many as there are by now, and could leave.
      await host.pass(PERIOD_MS / 2);
      factory.last.transport.write('b');
      assert.is(String(await peer.readBytes(KiB + 101)), `${'a'.repeat(KiB + 100)}b`);
    });
  });

  test('holds a copy of what it is given', async (context) => {
    const { host, factory, throttling } = throttled(context);
    await host.run(async () => {
      const peer = host.open(throttling);
      const data = Buffer.alloc(2 * KiB, 'a');
      factory.last.transport.write(data);
      data.fill('b');
      assert.is(String(await peer.readBytes(2 * KiB)), 'a'.repeat(2 * KiB));
    });
  });

  test('serves those who wait in turn', async (context) => {
    const { host, factory, throttling } = throttled(context);
    await host.run(async () => {
      const peers = [host.open(throttling), host.open(throttling)];
      for (const { transport } of factory.built) transport.write(Buffer.alloc(100 * KiB));
      await host.pass(41_000);
      const [first = 0, second = 0] = peers.map((peer) => peer.bytesRead);
      assert.ok(Math.abs(first - second) <= 16 * KiB, `${first} and ${second}`);
      assert.ok(first + second >= 41 * KiB && first + second <= 42 * KiB, `${first} and ${second}`);
    });
  });

  test('serves as many of those who wait at a time as it can', async (context) => {
    const host = new SimHost(context);
    const factory = new Remembering(() => new Noting());
    const throttling = new ThrottlingFactory(factory, { writeLimit: 100_000, burstMs: 0, loop: host.loop });
    await host.run(async () => {
      const peers = Array.from({ length: 90 }, () => host.open(throttling));
      for (const { transport } of factory.built) transport.write(Buffer.alloc(100));
      isAbout(await host.timeOf(() => Promise.all(peers.map((peer) => peer.readBytes(100)))), 50);
    });
  });

  test('limits each connection by itself if it is told to', async (context) => {
    const { host, factory, throttling } = throttled(context, { perConnection: true });
    await host.run(async () => {
      const peers = [host.open(throttling), host.open(throttling)];
      for (const { transport } of factory.built) transport.write(Buffer.alloc(3 * KiB));
      isAbout(await host.timeOf(() => Promise.all(peers.map((peer) => peer.readBytes(3 * KiB)))), 2_000);
    });
  });

  test('delivers what it holds before the connection is closed', async (context) => {
    const { host, factory, throttling } = throttled(context);
    await host.run(async () => {
      const peer = host.open(throttling);
      const { transport } = factory.last;
      transport.write(Buffer.alloc(4 * KiB));
      transport.loseConnection();
      assert.is(transport.disconnecting, true);
      transport.write('too late');
      void peer.write('not heard any more');
      assert.is((await peer.readUntilClose()).length, 4 * KiB);
      assert.instance(await factory.last.lost(), ConnectionDone);
      assert.equal(factory.last.calls, ['made', 'lost']);
      transport.write('after the end');
    });
    assert.is(host.loop.metrics().timers, 0);
  });

  test('delivers what it holds before our half ends', async (context) => {
    const { host, factory, throttling } = throttled(context);
    await host.run(async () => {
      const peer = host.open(throttling);
      const { transport } = factory.last;
      transport.write(Buffer.alloc(2 * KiB));
      transport.loseWriteConnection();
      transport.write('too late');
      assert.is((await peer.readUntilClose()).length, 2 * KiB);
      await peer.close();
      await factory.last.lost();
    });
  });

  test('delivers what it holds when the peer has ended its half', async (context) => {
    const { host, factory, throttling } = throttled(context);
    await host.run(async () => {
      const peer = host.open(throttling);
      factory.last.transport.write(Buffer.alloc(2 * KiB));
      void peer.end('that is all');
      assert.is((await peer.readUntilClose()).length, 2 * KiB);
      assert.instance(await factory.last.lost(), ConnectionDone);
      assert.is(factory.last.text, 'that is all');
    });
  });

  test('drops what it holds when the connection is reset', async (context) => {
    const { host, factory, throttling } = throttled(context);
    await host.run(async () => {
      const peer = host.open(throttling);
      factory.last.transport.write(Buffer.alloc(100 * KiB));
      factory.last.transport.abortConnection();
      await factory.last.lost();
      await peer.whenClosed;
      assert.is(host.loop.metrics().timers, 0);
    });
  });

  test('holds no more than it may, and says so', async (context) => {
    const { host, factory, throttling } = throttled(context, { maxHeldBytes: 4 * KiB });
    await host.run(async () => {
      host.open(throttling);
      const { transport } = factory.last;
      transport.write(Buffer.alloc(5 * KiB));
      transport.write('.');
      assert.is(factory.last.reason, null);
      transport.write(Buffer.alloc(KiB));
      const reason = await factory.last.lost();
      assert.instance(reason, ConnectionLost);
      assert.instance(reason?.cause, LimitError);
      assert.match(
        String(reason?.message),
        /4097 throttled bytes wait already, more than maxHeldBytes \(4096\)/,
      );
    });
  });
});

suite('producers of throttled connections', (test) => {
  test('are paused while something is held, and told once', async (context) => {
    const { host, factory, throttling } = throttled(context);
    await host.run(async () => {
      const peer = host.open(throttling);
      const { transport } = factory.last;
      const producer = new Pushing();
      transport.registerProducer(producer, true);
      transport.write(Buffer.alloc(KiB));
      assert.equal(producer.calls, []);
      transport.write(Buffer.alloc(KiB));
      transport.write(Buffer.alloc(KiB));
      assert.equal(producer.calls, ['pause']);
      await peer.readBytes(3 * KiB);
      assert.equal(producer.calls, ['pause', 'resume']);
      assert.throws(() => transport.registerProducer(producer, true), /has a producer already/);
    });
  });

  test('are asked for a piece when the last one has left', async (context) => {
    const { host, factory, throttling } = throttled(context);
    await host.run(async () => {
      const peer = host.open(throttling);
      const { transport } = factory.last;
      const pieces = ['a', 'b', 'c'].map((letter) => letter.repeat(2 * KiB));
      const producer = new Pulled(factory.last, pieces);
      transport.registerProducer(producer, false);
      transport.loseConnection();
      const takenMs = await host.timeOf(async () => {
        assert.is(String(await peer.readUntilClose()), pieces.join(''));
      });
      isAbout(takenMs, 5_000);
      assert.equal(producer.calls, ['resume', 'resume', 'resume', 'resume']);
      assert.instance(await factory.last.lost(), ConnectionDone);
    });
  });

  test('may leave before what they have written, which is delivered', async (context) => {
    const { host, factory, throttling } = throttled(context);
    await host.run(async () => {
      const peer = host.open(throttling);
      const { transport } = factory.last;
      const producer = new Pushing();
      transport.registerProducer(producer, true);
      transport.loseConnection();
      transport.write(Buffer.alloc(3 * KiB));
      transport.unregisterProducer();
      const late = new Pushing();
      transport.registerProducer(late, true);
      assert.equal(late.calls, ['stop']);
      assert.is((await peer.readUntilClose()).length, 3 * KiB);
      await factory.last.lost();
      assert.equal(producer.calls, ['pause']);
    });
  });

  test('are stopped with the connection', async (context) => {
    const { host, factory, throttling } = throttled(context);
    await host.run(async () => {
      const peer = host.open(throttling);
      const producer = new Pushing();
      factory.last.transport.registerProducer(producer, true);
      factory.last.transport.write(Buffer.alloc(2 * KiB));
      peer.abort();
      await factory.last.lost();
      assert.equal(producer.calls, ['pause', 'stop']);
      assert.is(host.loop.metrics().timers, 0);
    });
  });

  test('are stopped when the peer has ended its half, and what they wrote is delivered', async (context) => {
    const { host, factory, throttling } = throttled(context);
    await host.run(async () => {
      const peer = host.open(throttling);
      const producer = new Pushing();
      factory.last.transport.registerProducer(producer, true);
      factory.last.transport.write(Buffer.alloc(2 * KiB));
      void peer.end();
      assert.is((await peer.readUntilClose()).length, 2 * KiB);
      await factory.last.lost();
      assert.equal(producer.calls, ['pause', 'stop']);
    });
  });

  test('end their own connection alone by what they throw', async (context) => {
    const thrown = new Error('thrown in resumeProducing');
    const errors: unknown[] = [];
    const host = new SimHost(context, { onError: (error) => errors.push(error) });
    const factory = new Remembering(() => new Noting());
    const throttling = new ThrottlingFactory(factory, { writeLimit: KiB, loop: host.loop });
    await host.run(async () => {
      host.open(throttling);
      const protocol = factory.last;
      const producer = new Pushing();
      producer.resumeProducing = () => {
        throw thrown;
      };
      protocol.transport.registerProducer(producer, true);
      protocol.transport.write(Buffer.alloc(2 * KiB));
      const other = host.open(throttling);
      factory.last.transport.write(Buffer.alloc(2 * KiB));
      assert.is((await protocol.lost())?.cause, thrown);
      assert.is((await other.readBytes(2 * KiB)).length, 2 * KiB);
      assert.equal(errors, [thrown]);
    });
  });
});

/** Says plainly that it is ready, and goes on encrypted. */
class Securing extends Noting {
  override connectionMade(): void {
    super.connectionMade();
    this.transport.write('220 ready\n'.padStart(8 * KiB));
    this.transport.startTls({ server: true, ...localhost });
    this.transport.write('secret');
  }
}

for (const backend of IOLoop.backends)
  suite(`throttled TCP connections on ${backend}`, { backend }, (test) => {
    async function connect(factory: Factory, { loop, defer }: TestContext): Promise<IOStream> {
      const port = await listenTcp(0, factory, { interface: '127.0.0.1', loop });
      defer(() => port.close({ graceMs: 0 }));
      const stream = await IOStream.connect({ host: '127.0.0.1', port: portOf(port.getHost()) }, { loop });
      defer(() => stream.abort());
      return stream;
    }

    test('are no faster than their rate', async (context) => {
      const { loop } = context;
      class Generous extends Noting {
        override connectionMade(): void {
          super.connectionMade();
          this.transport.write(Buffer.alloc(100 * KiB));
        }
      }
      const factory = new Remembering(() => new Generous());
      const limit = { writeLimit: 1024 * KiB, burstMs: 0, loop };
      const beginMs = loop.time();
      const client = await connect(new ThrottlingFactory(factory, limit), context);
      await client.readBytes(100 * KiB);
      assert.ok(loop.time() - beginMs >= 57, `${loop.time() - beginMs} ms`);
    });

    test('send plain what was written before the handshake', async (context) => {
      const { loop, defer } = context;
      const factory = new Remembering(() => new Securing());
      const limit = { writeLimit: 100 * KiB, burstMs: 0, loop };
      const plain = await connect(new ThrottlingFactory(factory, limit), context);
      assert.match(String(await plain.readUntil('\n')), /220 ready\n$/);
      const client = await plain.startTls({ ca: authority, servername: 'localhost' });
      defer(() => client.abort());
      assert.is(String(await client.readBytes(6)), 'secret');
    });
  });
