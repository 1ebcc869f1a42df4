import * as assert from 'uvu/assert';

import { ThrottlingFactory } from '../../../src/protocol/index.ts';
import { suite } from '../../support/suite.ts';
import { Noting, Remembering, SimHost } from '../../support/wrapped.ts';

const KiB = 1024;
/** A pause lasts at least as long: what may pass late. */
const PERIOD_MS = 20;

/** Whether `value` is `expected` or less than a period more. */
function isAbout(value: number, expected: number): void {
  assert.ok(value >= expected - 0.001 && value < expected + PERIOD_MS, `${value}, not ${expected}`);
}

suite('throttled reading', (test) => {
  test('keeps to its rate, and gives all that has come', async (context) => {
    const host = new SimHost(context);
    const { loop } = host;
    const factory = new Remembering(() => new Noting());
    await host.run(async () => {
      const limit = { readLimit: 100 * KiB, loop };
      const peer = host.open(new ThrottlingFactory(factory, limit));
      const data = 'abcdefgh'.repeat(100 * KiB);
      void peer.write(data);
      const protocol = factory.last;
      const readMs = await host.timeOf(() => protocol.told(() => protocol.text.length === data.length));
      // The first 100 KiB were saved up; the last receive is paid for by what comes after it.
      assert.ok(readMs > 6_000 && readMs <= 7_020, `${readMs} ms`);
      assert.is(protocol.text, data);
    });
    assert.is(loop.metrics().timers, 0);
  });

  test('pauses all connections together, and starves none', async (context) => {
    const host = new SimHost(context);
    const { loop } = host;
    const factory = new Remembering(() => new Noting());
    await host.run(async () => {
      const throttling = new ThrottlingFactory(factory, { readLimit: 64 * KiB, burstMs: 100, loop });
      const peers = [1, 2, 3, 4].map(() => host.open(throttling));
      for (const peer of peers) void peer.write(Buffer.alloc(2 * 1024 * KiB));
      await host.pass(20_000);
      const read = factory.built.map((protocol) => protocol.text.length);
      const all = read.reduce((sum, count) => sum + count, 0);
      assert.ok(all <= 20.1 * 64 * KiB + 64 * KiB, `${all} bytes`);
      assert.ok(all >= 19 * 64 * KiB, `${all} bytes`);
      assert.ok(Math.min(...read) >= 2 * 64 * KiB, `${read}`);
    });
  });

  test('lets no new connection read what others have spent', async (context) => {
    const host = new SimHost(context);
    const { loop } = host;
    const factory = new Remembering(() => new Noting());
    await host.run(async () => {
      const throttling = new ThrottlingFactory(factory, { readLimit: KiB, loop });
      const first = host.open(throttling);
      void first.write(Buffer.alloc(11 * KiB));
      await factory.last.told(() => factory.last.text.length === 11 * KiB);
      factory.last.transport.abortConnection();
      await factory.last.lost();
      assert.is(loop.metrics().timers, 0);
      const second = host.open(throttling);
      void second.write('.');
      const protocol = factory.last;
      isAbout(await host.timeOf(() => protocol.told(() => protocol.text === '.')), 10_020);
    });
  });

  test('limits each connection by itself if it is told to', async (context) => {
    const host = new SimHost(context);
    const { loop } = host;
    const factory = new Remembering(() => new Noting());
    await host.run(async () => {
      const each = { readLimit: KiB, perConnection: true, loop };
      const throttling = new ThrottlingFactory(factory, each);
      const peers = [host.open(throttling), host.open(throttling)];
      for (const peer of peers) void peer.write(Buffer.alloc(2 * KiB));
      await host.pass(100);
      for (const peer of peers) void peer.write('.');
      const bothMs = await host.timeOf(() =>
        Promise.all(factory.built.map((each) => each.told(() => each.text.endsWith('.')))),
      );
      isAbout(bothMs, 920);
    });
  });

  test('does not resume what the protocol has paused', async (context) => {
    const host = new SimHost(context);
    const { loop } = host;
    const factory = new Remembering(() => new Noting());
    await host.run(async () => {
      const peer = host.open(new ThrottlingFactory(factory, { readLimit: KiB, loop }));
      const protocol = factory.last;
      void peer.write(Buffer.alloc(2 * KiB));
      await protocol.told(() => protocol.text.length === 2 * KiB);
      protocol.transport.pauseProducing();
      void peer.write('.');
      await host.pass(10_000);
      assert.is(protocol.text.length, 2 * KiB);
      protocol.transport.resumeProducing();
      await protocol.told(() => protocol.text.endsWith('.'));
    });
  });

  test('is not resumed by the protocol', async (context) => {
    const host = new SimHost(context);
    const { loop } = host;
    const factory = new Remembering(() => new Noting());
    await host.run(async () => {
      const peer = host.open(new ThrottlingFactory(factory, { readLimit: KiB, loop }));
      const protocol = factory.last;
      void peer.write(Buffer.alloc(2 * KiB));
      await protocol.told(() => protocol.text.length === 2 * KiB);
      protocol.transport.pauseProducing();
      protocol.transport.resumeProducing();
      void peer.write('.');
      isAbout(await host.timeOf(() => protocol.told(() => protocol.text.endsWith('.'))), 1_020);
    });
  });
});

suite('a throttle', (test) => {
  test('says what is no rate', ({ loop }) => {
    const factory = new Remembering(() => new Noting());
    const make = (readLimit: number): unknown => new ThrottlingFactory(factory, { readLimit, loop });
    for (const rate of [0, -1, Number.NaN])
      assert.throws(
        () => make(rate),
        /options.readLimit must be a number of bytes a second, more than 0, not/,
      );
    assert.throws(() => new ThrottlingFactory(factory, { maxHeldBytes: 0.5, loop }), /options.maxHeldBytes/);
    assert.throws(() => new ThrottlingFactory(factory, { burstMs: -1, loop }), /options.burstMs/);
  });
});
