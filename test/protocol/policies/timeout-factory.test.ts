import * as assert from 'uvu/assert';

import { IOLoop } from '../../../src/index.ts';
import {
  ConnectionAborted,
  ConnectionDone,
  IdleTimer,
  listenTcp,
  TimeoutFactory,
  TimeoutProtocol,
} from '../../../src/protocol/index.ts';
import { connectTo } from '../../support/clients.ts';
import { portOf } from '../../support/servers.ts';
import { suite } from '../../support/suite.ts';
import { Echoing, Noting, Remembering, SimHost } from '../../support/wrapped.ts';

suite('a connection with an idle timeout', (test) => {
  test('is closed when nothing was heard or said for so long, and no sooner', async (context) => {
    const host = new SimHost(context);
    const { loop } = host;
    const factory = new Remembering(() => new Noting());
    await host.run(async () => {
      host.open(new TimeoutFactory(factory, { timeoutMs: 1_000, loop }));
      const idleMs = await host.timeOf(() => factory.last.lost());
      assert.ok(idleMs >= 1_000 && idleMs < 1_001, `${idleMs} ms`);
      assert.instance(factory.last.reason, ConnectionDone);
      assert.equal(factory.last.calls, ['made', 'lost']);
    });
    assert.is(loop.metrics().timers, 0);
  });

  test('goes on as long as something is heard', async (context) => {
    const host = new SimHost(context);
    const { loop } = host;
    const factory = new Remembering(() => new Noting());
    await host.run(async () => {
      const peer = host.open(new TimeoutFactory(factory, { timeoutMs: 1_000, loop }));
      const aliveMs = await host.timeOf(async () => {
        for (let sent = 0; sent < 5; sent++) {
          await host.pass(900);
          void peer.write('.');
        }
        await factory.last.lost();
      });
      assert.is(factory.last.text, '.....');
      assert.ok(aliveMs >= 5_500 && aliveMs < 5_501, `${aliveMs} ms`);
    });
  });

  test('goes on as long as something is said', async (context) => {
    const host = new SimHost(context);
    const { loop } = host;
    const factory = new Remembering(() => new Noting());
    await host.run(async () => {
      host.open(new TimeoutFactory(factory, { timeoutMs: 1_000, loop }));
      const aliveMs = await host.timeOf(async () => {
        await host.pass(900);
        factory.last.transport.write('.');
        await host.pass(900);
        factory.last.transport.writeSequence([Buffer.from('.')]);
        await factory.last.lost();
      });
      assert.ok(aliveMs >= 2_800 && aliveMs < 2_801, `${aliveMs} ms`);
    });
  });

  test('costs one timer, which does not fire for each message', async (context) => {
    const host = new SimHost(context);
    const { loop } = host;
    const factory = new Remembering(() => new Echoing());
    await host.run(async () => {
      const peer = host.open(new TimeoutFactory(factory, { timeoutMs: 60_000, loop }));
      const before = loop.metrics().timersFired;
      for (let sent = 0; sent < 1_000; sent++) {
        void peer.write('.');
        await peer.readBytes(1);
        assert.is(loop.metrics().timers, 1);
      }
      assert.is(loop.metrics().timersFired, before);
    });
    assert.is(loop.metrics().timers, 0);
  });

  test('does not wait for a producer that is stuck', async (context) => {
    const host = new SimHost(context);
    const { loop } = host;
    const factory = new Remembering(() => new Noting());
    const calls: string[] = [];
    await host.run(async () => {
      host.open(new TimeoutFactory(factory, { timeoutMs: 1_000, loop }));
      const { transport } = factory.last;
      const producer = {
        pauseProducing: () => calls.push('pause'),
        resumeProducing: () => calls.push('resume'),
        stopProducing: () => calls.push('stop'),
      };
      transport.registerProducer(producer, true);
      assert.throws(() => transport.registerProducer(producer, true), /has a producer already/);
      assert.instance(await factory.last.lost(), ConnectionDone);
      assert.equal(calls, ['stop']);
    });
  });

  test('may be ended otherwise, at another time, or not at all', async (context) => {
    const host = new SimHost(context);
    const { loop } = host;
    class Harsh extends TimeoutProtocol {
      override timeoutConnection(): void {
        this.abortConnection();
      }
    }
    class HarshFactory extends TimeoutFactory {
      override wrapProtocol(protocol: Noting): Harsh {
        return new Harsh(this, protocol, 1_000, loop);
      }
    }
    const factory = new Remembering(() => new Noting());
    await host.run(async () => {
      const harsh = new HarshFactory(factory);
      host.open(harsh);
      const [wrapper] = harsh.protocols;
      assert.instance(wrapper, Harsh);
      if (!(wrapper instanceof Harsh)) return;
      assert.is(wrapper.setTimeout(null), 1_000);
      await host.pass(10_000);
      assert.equal(factory.last.calls, ['made']);
      assert.is(wrapper.setTimeout(2_000), null);
      assert.instance(await factory.last.lost(), ConnectionAborted);
    });
  });
});

suite('an idle timer', (test) => {
  test('calls once, after the last reset', async (context) => {
    const { loop, ...host } = new SimHost(context);
    const calls: number[] = [];
    const timer = new IdleTimer(() => calls.push(loop.time()), loop);
    timer.resetTimeout();
    assert.is(timer.timeoutMs, null);
    const beginMs = loop.time();
    timer.setTimeout(100);
    await host.network.advance(60);
    timer.resetTimeout();
    await host.network.advance(99);
    assert.equal(calls, []);
    await host.network.advance(1_000);
    assert.equal(calls, [beginMs + 160]);
    assert.is(timer.timeoutMs, null);
    assert.is(loop.metrics().timers, 0);
  });

  test('may be set anew when it calls', async (context) => {
    const { loop, network } = new SimHost(context);
    let calls = 0;
    const timer = new IdleTimer(() => {
      if (++calls < 3) timer.setTimeout(10);
    }, loop);
    timer.setTimeout(10);
    await network.advance(1_000);
    assert.is(calls, 3);
  });

  test('says what is no time, no function and no loop', ({ loop }) => {
    assert.throws(() => new IdleTimer(() => {}, loop).setTimeout(-1), /timeoutMs must be no negative/);
    // @ts-expect-error: text is no function
    assert.throws(() => new IdleTimer('now', loop), /timeoutConnection must be a function, not 'now'/);
    // @ts-expect-error: text is no loop
    assert.throws(() => new IdleTimer(() => {}, 'loop'), /loop must be an IOLoop, not 'loop'/);
    const factory = new Remembering(() => new Noting());
    assert.throws(() => new TimeoutFactory(factory, { timeoutMs: Number.NaN, loop }), /options.timeoutMs/);
  });
});

for (const backend of IOLoop.backends)
  suite(`a TCP server with an idle timeout on ${backend}`, { backend }, (test) => {
    test('closes those who fell silent, and is never early', async ({ loop, defer }) => {
      const factory = new Remembering(() => new Echoing());
      const limited = new TimeoutFactory(factory, { timeoutMs: 30, loop });
      const port = await listenTcp(0, limited, { interface: '127.0.0.1', loop });
      defer(() => port.close({ graceMs: 0 }));
      const beginMs = loop.time();
      const client = connectTo({ host: '127.0.0.1', port: portOf(port.getHost()) }, defer).send('once');
      assert.is(await client.all(), 'once');
      assert.ok(loop.time() - beginMs >= 30);
      assert.instance(await factory.last.lost(), ConnectionDone);
      assert.is(loop.metrics().timers, 0);
    });
  });
