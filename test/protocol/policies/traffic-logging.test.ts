import { PassThrough, Writable } from 'node:stream';
import * as assert from 'uvu/assert';
import { toAddress } from '../../../src/address.ts';
import {
  type LoggedConnection,
  type TrafficLog,
  TrafficLoggingFactory,
  type TrafficRecord,
  trafficLine,
} from '../../../src/protocol/index.ts';
import { suite, type TestContext } from '../../support/suite.ts';
import { within } from '../../support/within.ts';
import { Echoing, ipAddress, Remembering, SimHost } from '../../support/wrapped.ts';

/** Echoes `messages`, one after the other, with a log opened by `openLog`; whom it was told about. */
async function echo(
  context: TestContext,
  openLog: (connection: LoggedConnection) => TrafficLog,
  messages: readonly string[] = ['hello'],
): Promise<unknown[]> {
  const errors: unknown[] = [];
  const host = new SimHost(context);
  const factory = new Remembering(() => new Echoing());
  const logging = new TrafficLoggingFactory(factory, openLog, {
    onLogError: (error, { id }) => errors.push(id, error),
  });
  await host.run(async () => {
    const peer = host.open(logging);
    for (const message of messages) {
      void peer.write(message);
      assert.is(String(await peer.readBytes(message.length)), message);
    }
    await peer.close();
    await factory.last.lost();
    assert.equal([factory.last.calls.at(0), factory.last.calls.at(-1)], ['made', 'lost']);
  });
  return errors;
}

suite('a log of traffic', (test) => {
  test('is told what comes and goes, from the beginning to the end', async (context) => {
    const records: string[] = [];
    const log = (record: TrafficRecord): void => {
      assert.ok(Math.abs(record.timeMs - Date.now()) < 60_000);
      const data = 'data' in record ? ` ${Buffer.from(record.data)}` : '';
      const reason = 'reason' in record ? ` ${record.reason.name}` : '';
      records.push(`${record.id} ${record.address} ${record.event}${data}${reason}`);
    };
    assert.equal(await echo(context, () => log), []);
    assert.equal(records, [
      '1 192.0.2.1:4711 made',
      '1 192.0.2.1:4711 received hello',
      '1 192.0.2.1:4711 sent hello',
      '1 192.0.2.1:4711 lost ConnectionDone',
    ]);
  });

  test("goes to a stream of Node's as lines, and ends it", async (context) => {
    const stream = new PassThrough({ encoding: 'utf8' });
    assert.equal(await echo(context, () => stream), []);
    const text = await within(5_000, stream.toArray(), 'the end of the log');
    assert.equal(
      text.join('').replaceAll(/^\S+ /gm, ''),
      [
        '1 192.0.2.1:4711 made',
        '1 192.0.2.1:4711 received 5 "hello"',
        '1 192.0.2.1:4711 sent 5 "hello"',
        '1 192.0.2.1:4711 lost "ConnectionDone: the connection was closed"',
        '',
      ].join('\n'),
    );
  });

  test("goes to a stream of the web's, and closes it", async (context) => {
    const { readable, writable } = new TransformStream<string, string>();
    const lines = (async () => {
      const all: string[] = [];
      for await (const line of readable) all.push(line);
      return all;
    })();
    assert.equal(await echo(context, () => writable), []);
    const events = (await within(5_000, lines, 'the end of the log')).map((line) =>
      line.split(' ')[3]?.trim(),
    );
    assert.equal(events, ['made', 'received', 'sent', 'lost']);
  });

  test('is of one connection each, and counts them', async (context) => {
    const host = new SimHost(context);
    const opened: string[] = [];
    const logging = new TrafficLoggingFactory(new Remembering(() => new Echoing()), ({ id, address }) => {
      opened.push(`${id} ${address}`);
      return () => {};
    });
    await host.run(async () => {
      host.open(logging, '192.0.2.1');
      host.open(logging, '2001:db8::1');
      assert.equal(opened, ['1 192.0.2.1:4711', '2 [2001:db8::1]:4711']);
    });
  });

  test('has lines that steer no terminal', () => {
    const record = { id: 7, address: ipAddress('192.0.2.1'), timeMs: 0, event: 'received' } as const;
    const data = Buffer.from('a"\\\r\n\t\x1b[2J\x00\x9b\xff', 'latin1');
    assert.is(
      trafficLine({ ...record, data }),
      '1970-01-01T00:00:00.000Z 7 192.0.2.1:4711 received 13 "a\\"\\\\\\r\\n\\t\\x1b[2J\\x00\\x9b\\xff"\n',
    );
    const address = toAddress({ path: '/a\n\x1b[2J' });
    assert.is(
      trafficLine({ id: 7, address, timeMs: 0, event: 'made' }),
      '1970-01-01T00:00:00.000Z 7 /a\\n\\x1b[2J made\n',
    );
  });
});

suite('a log that fails', (test) => {
  const failure = new Error('the log has failed');

  test('to open does not disturb the connection, and is told once', async (context) => {
    const open = (): TrafficLog => {
      throw failure;
    };
    assert.equal(await echo(context, open, ['one', 'two']), [1, failure]);
  });

  test('in a call, or later, is given up', async (context) => {
    let calls = 0;
    const throwing = (): void => {
      calls++;
      throw failure;
    };
    assert.equal(await echo(context, () => throwing, ['one', 'two']), [1, failure]);
    assert.is(calls, 1);
    assert.equal(await echo(context, () => () => Promise.reject(failure)), [1, failure]);
  });

  test("as a stream of Node's is given up", async (context) => {
    const broken = (): TrafficLog =>
      new Writable({ write: (_chunk, _encoding, callback) => callback(failure) });
    assert.equal(await echo(context, broken, ['one', 'two']), [1, failure]);
    const destroyed = new Writable();
    destroyed.destroy();
    const [id, error] = await echo(context, () => destroyed);
    assert.is(id, 1);
    assert.match(String(error), /Cannot call write after a stream was destroyed/);
  });

  test("as a stream of the web's is given up", async (context) => {
    const broken = (): TrafficLog => new WritableStream<string>({ write: () => Promise.reject(failure) });
    assert.equal(await echo(context, broken, ['one', 'two']), [1, failure]);
    const locked = new WritableStream<string>();
    locked.getWriter();
    const [id, error] = await echo(context, () => locked);
    assert.is(id, 1);
    assert.match(String(error), /locked/);
  });

  test('is no reason for a crash when whoever is told fails too', async (context) => {
    const host = new SimHost(context);
    const factory = new Remembering(() => new Echoing());
    const logging = new TrafficLoggingFactory(
      factory,
      () => () => {
        throw failure;
      },
      {
        onLogError: () => {
          throw new Error('so has this');
        },
      },
    );
    await host.run(async () => {
      const peer = host.open(logging);
      void peer.write('hello');
      assert.is(String(await peer.readBytes(5)), 'hello');
    });
  });

  test('to keep up has records left out, and says how many', async (context) => {
    const lines: string[] = [];
    let goOn: () => void = () => {};
    const slow = new Writable({
      decodeStrings: false,
      write: (line, _encoding, callback) => {
        lines.push(String(line));
        goOn = callback;
        if (lines.length > 1) callback();
      },
    });
    const big = 'x'.repeat(64 * 1024);
    assert.equal(await echo(context, () => slow, Array<string>(32).fill(big)), []);
    goOn();
    await within(5_000, new Promise((resolve) => slow.once('finish', resolve)), 'the end of the log');
    const written = lines.length;
    assert.ok(written < 2 * 32, `${written} lines`);
    assert.match(lines.at(-1) ?? '', /^\d+ records left out\n$/);
  });

  test('says what is no log', async (context) => {
    // @ts-expect-error: a number takes no records
    const [, error] = await echo(context, () => 7);
    assert.match(String(error), /the log of a connection must be a function or a writable stream, not 7/);
    const factory = new Remembering(() => new Echoing());
    // @ts-expect-error: text opens nothing
    assert.throws(() => new TrafficLoggingFactory(factory, 'log'), /openLog must be a function, not 'log'/);
  });
});
