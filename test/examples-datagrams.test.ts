import { createSocket, type Socket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import * as assert from 'uvu/assert';

import { startServer } from './support/examples.ts';
import { Random } from './support/random.ts';
import { suite, type TestContext } from './support/suite.ts';
import { count } from './support/tier.ts';
import { within } from './support/within.ts';

type Defer = TestContext['defer'];

/** A client of another make than ours: Node's own socket, connected to `port`. */
async function clientOf(port: number, defer: Defer): Promise<Socket> {
  const socket = createSocket('udp4');
  defer(() => socket.close());
  socket.connect(port, '127.0.0.1');
  await within(5_000, once(socket, 'connect'), 'a UDP socket');
  return socket;
}

suite('examples/statsd-counter.ts', { limitMs: 30_000 }, (test) => {
  test('adds up what a datagram reports', async ({ defer }) => {
    const statsd = await startServer('statsd-counter', defer, '--every=0.5');
    const client = await clientOf(statsd.port, defer);
    const lines = [
      ...['visits:1|c', 'visits:2|c|@0.5', 'visits:-1.5|c'],
      ...['queue:17|g', 'queue:+3|g', 'queue:-5|g', 'load:-2|g'],
      ...['answer.time:10|ms', 'answer.time:2.5|ms|@0.5', ''],
      ...['none', 'bad name:1|c', 'visits:x|c', 'visits:1|q', 'visits:1|c|@0', 'visits:1|c|@1.5', 'a:1|c\0'],
    ];
    client.send(lines.join('\n'));
    const report = await statsd.said(/ in 1 datagrams.*\n/);
    assert.ok(
      report.includes(
        'visits: 3.5, 7 a second\nqueue: 15 now\nload: -2 now\n' +
          'answer.time: 3 times 2.5 to 10 ms, mean 5\n' +
          '-- 9 metrics in 1 datagrams, 7 refused, 0 datagrams dropped\n',
      ),
      report,
    );
    client.send('queue:1|g');
    await statsd.said(/\nqueue: 1 now\nload: -2 now\n-- 1 metrics in 1 datagrams, 0 refused/);
    assert.is(await statsd.end(), '');
  });

  test('counts every datagram, as received or as dropped', async ({ defer }) => {
    const statsd = await startServer('statsd-counter', defer, '--every=0.05');
    const client = await clientOf(statsd.port, defer);
    // More than its receive buffer holds, while it cannot read.
    const sent = 5_000;
    statsd.child.process.kill('SIGSTOP');
    for (let i = 0; i < sent; i++)
      await new Promise((resolve) => client.send('visits:1|c', () => resolve(null)));
    statsd.child.process.kill('SIGCONT');
    let output = '';
    const sum = (pattern: RegExp): number =>
      [...output.matchAll(pattern)].reduce((total, [, number]) => total + Number(number), 0);
    const received = (): number => sum(/(\d+) datagrams, 0 refused/g);
    const dropped = (): number => sum(/(\d+) datagrams dropped/g);
    for (let reports = 1; received() + dropped() < sent; reports++)
      output = await statsd.said(new RegExp(`(?:dropped\\n[^]*?){${reports}}`));
    assert.is(await statsd.end(), '');
    assert.ok(received() > 0 && dropped() > 0, output);
    assert.is(received() + dropped(), sent);
    assert.is(sum(/visits: (\d+),/g), received());
  });

  test('keeps no more names than it has room for', async ({ defer }) => {
    const statsd = await startServer('statsd-counter', defer, '--every=0.5');
    const client = await clientOf(statsd.port, defer);
    for (const first of [0, 6_000]) {
      const names = Array.from({ length: 6_000 }, (_, i) => `n${first + i}:1|g`);
      client.send(names.join('\n'));
    }
    await statsd.said(/[1-9]\d* refused/);
    await statsd.end();
    const { stdout } = await statsd.child.result;
    const [, last = ''] = /\n((?:n\d+: 1 now\n)*)-- [^\n]*\n$/.exec(stdout) ?? [];
    assert.is(last.split('\n').length - 1, 10_000);
  });
});

suite('examples/dns-responder.ts', { limitMs: 30_000 }, (test) => {
  test('answers the resolver of Node', async ({ defer }) => {
    const dns = await startServer('dns-responder', defer);
    const resolver = new Resolver({ timeout: 5_000, tries: 2 });
    resolver.setServers([`127.0.0.1:${dns.port}`]);
    assert.equal(await resolver.resolve4('poem.test'), ['192.0.2.1', '192.0.2.2']);
    assert.equal(await resolver.resolve6('Poem.TEST'), ['2001:db8::1']);
    assert.equal(await resolver.resolveTxt('poem.test'), [['"Hope" is the thing with feathers -']]);
    for (const [answer, code] of [
      [resolver.resolve6('only-ipv4.poem.test'), 'ENODATA'],
      [resolver.resolve4('no.poem.test'), 'ENOTFOUND'],
      [resolver.resolve4('example.org'), 'EREFUSED'],
    ] as const)
      assert.is(await answer.catch((error: NodeJS.ErrnoException) => error.code), code);
    assert.is(await dns.end(), '');
  });

  /** poem.test, A, IN; and a header with one question before it: RFC 1035, 4.1. */
  const QUESTION = '04706f656d04746573740000010001';
  const QUERY = `000001000001000000000000${QUESTION}`;

  function query(id: number): Buffer {
    const bytes = Buffer.from(QUERY, 'hex');
    bytes.writeUInt16BE(id);
    return bytes;
  }

  /** A query with `bytes` from `at` on. */
  function spoilt(id: number, at: number, ...bytes: readonly number[]): Buffer {
    const changed = query(id);
    changed.set(bytes, at);
    return changed;
  }

  test('refuses by a header what it does not understand', async ({ defer }) => {
    const dns = await startServer('dns-responder', defer);
    const client = await clientOf(dns.port, defer);
    const ask = async (bytes: Buffer): Promise<Buffer> => {
      const answer = once(client, 'message');
      client.send(bytes);
      const [message]: Buffer[] = await within(5_000, answer, 'an answer');
      return message ?? Buffer.alloc(0);
    };
    const refusal = (id: string, flags: string, question = ''): string =>
      `${id}${flags}${question === '' ? '0000' : '0001'}000000000000${question}`;
    for (const [what, bytes, expected] of [
      ['no question', spoilt(1, 4, 0, 0), refusal('0001', '8101')],
      ['two questions', spoilt(2, 4, 0, 2), refusal('0002', '8101')],
      ['a header alone', query(3).subarray(0, 12), refusal('0003', '8101')],
      ['half a name', query(4).subarray(0, 15), refusal('0004', '8101')],
      ['a question without its class', query(5).subarray(0, -1), refusal('0005', '8101')],
      ['a pointer to itself', spoilt(6, 12, 0xc0, 12), refusal('0006', '8101')],
      ['a label that is too long', spoilt(7, 12, 64), refusal('0007', '8101')],
      ['a status query', spoilt(8, 2, 0x11), refusal('0008', '9104')],
      ['the class of Chaos', spoilt(9, 26, 3), refusal('0009', '8105', QUESTION.replace(/1$/, '3'))],
    ] as const)
      assert.is((await ask(bytes)).toString('hex'), expected, what);
    const long = Buffer.concat([
      query(11).subarray(0, 12),
      Buffer.alloc(256, '\u0001a'),
      query(11).subarray(-5),
    ]);
    assert.is((await ask(long)).toString('hex'), refusal('000b', '8101'), 'a name that is too long');
    const dotted = spoilt(12, 12, 9);
    dotted.write('poem.test', 13);
    assert.is((await ask(dotted)).readUInt16BE(2) & 15, 5, 'a dot is no border');
    assert.is(await dns.end(), '');
  });

  test('answers no answers, and survives whatever comes', async ({ defer }) => {
    const dns = await startServer('dns-responder', defer);
    const client = await clientOf(dns.port, defer);
    const random = new Random(4);
    const answers = new Map<number, Buffer>();
    client.on('message', (message) => answers.set(message.readUInt16BE(), message));
    client.send(spoilt(1, 2, 0x81));
    client.send(query(2).subarray(0, 11));
    client.send('');
    for (let round = 3; round < count(2_000, 60_000); round++) {
      const bytes = query(round);
      for (let change = random.below(8); change > 0; change--)
        bytes[2 + random.below(bytes.length - 2)] = random.below(256);
      client.send(bytes.subarray(0, 2 + random.below(bytes.length)));
      if (round % 100 !== 0) continue;
      // Its answer is told apart by its size: both addresses.
      client.send(query(round));
      while (answers.get(round)?.length !== 59) await within(5_000, once(client, 'message'), 'an answer');
    }
    assert.not.ok(answers.has(1) || answers.has(2));
    for (const answer of answers.values())
      assert.ok(answer.length <= 512 && (answer.readUInt16BE(2) & 0x8000) !== 0);
    assert.is(await dns.end(), '');
  });
});
