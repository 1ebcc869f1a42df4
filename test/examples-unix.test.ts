import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import * as assert from 'uvu/assert';

import { UnixDatagramSocket } from '../src/index.ts';
import { runFile } from './support/child.ts';
import { connectTo } from './support/clients.ts';
import { example, listenTo, startExample, startServer } from './support/examples.ts';
import { suite, type TestContext } from './support/suite.ts';
import { count } from './support/tier.ts';
import { within } from './support/within.ts';

type Defer = TestContext['defer'];

/** A directory of the test's own. */
function directoryFor(defer: Defer): string {
  const directory = mkdtempSync(join(tmpdir(), 'ioloop-example-'));
  defer(() => rmSync(directory, { recursive: true }));
  return directory;
}

suite('examples/syslog-receiver.ts', { limitMs: 30_000 }, (test) => {
  const sender = `(pid ${process.pid}, uid ${process.getuid?.()})`;

  test('reads both formats, and says who wrote', async ({ defer, loop }) => {
    const path = join(directoryFor(defer), 'log');
    const syslog = await startExample('syslog-receiver', defer, { args: ['--path', path] });
    await using socket = new UnixDatagramSocket({ loop });
    for (const [message, line] of [
      [
        '<20>Nov 21 08:50:01 backup[77]: the disk is full\n',
        `mail.warning backup ${sender}: the disk is full`,
      ],
      ['<13>Nov  1 08:50:01 host backup: it is empty', `user.notice backup ${sender}: it is empty`],
      ['<86>sudo: session opened', `authpriv.info sudo ${sender}: session opened`],
      ['no priority and no tag\0', `user.notice - ${sender}: no priority and no tag`],
      ['<192>beyond local7.debug', `user.notice - ${sender}: <192>beyond local7.debug`],
      ['<191>the last one', `local7.debug - ${sender}: the last one`],
      [
        '<14>a: colours \u001b[31m\nand a second line',
        `user.info a ${sender}: colours  [31m and a second line`,
      ],
      [
        '<165>1 2003-10-11T22:14:15.003Z host su 7 ID47 [ex@1 a="b \\"]\\\\" c=""][other@1] \ufeffa modern one',
        `local4.notice su ${sender}: a modern one`,
      ],
      ['<34>1 - - - - - -', `auth.crit - ${sender}:`],
      ['<34>1 - - su - - [open', `auth.crit - ${sender}: 1 - - su - - [open`],
      ['', `user.notice - ${sender}:`],
      [`<0>${'x'.repeat(9_000)}`, `kern.emerg - ${sender}: ${'x'.repeat(8_189)} ...`],
    ] as const) {
      await socket.send(message, path);
      await syslog.said(new RegExp(`\n${line.replace(/[[\]().\\"]/g, '\\$&')}\n$`));
    }
    assert.is(await syslog.end(), '');
  });

  test('loses nothing of what is logged faster than it prints', async ({ defer, loop }) => {
    const path = join(directoryFor(defer), 'log');
    const syslog = await startExample('syslog-receiver', defer, { args: ['--path', path] });
    assert.is(statSync(path).mode & 0o777, 0o666);
    await using socket = new UnixDatagramSocket({ loop });
    const messages = Array.from({ length: 2_000 }, (_, i) => Buffer.from(`<30>flood: message ${i}`));
    await socket.sendMany(messages.map((data) => ({ data, path })));
    const output = await syslog.said(/message 1999\n/);
    const numbers = [...output.matchAll(/message (\d+)\n/g)].map(([, number]) => Number(number));
    assert.equal(numbers, [...messages.keys()]);
    assert.is(await syslog.end(), '');
    assert.throws(() => statSync(path), /ENOENT/);
  });

  test('names a path that is taken by something else', async ({ defer }) => {
    const { stderr, code } = await runFile(example('syslog-receiver'), {
      args: ['--path', directoryFor(defer)],
    });
    assert.match(stderr, /EADDRINUSE/);
    assert.is(code, 1);
  });
});

suite('examples/sd-notify.ts', { limitMs: 30_000 }, (test) => {
  /** What a service manager would read, datagram by datagram. */
  async function managerAt(path: string, { defer, loop }: TestContext): Promise<() => Promise<string>> {
    const manager = new UnixDatagramSocket({ loop });
    defer(() => manager.close());
    await manager.bind(path);
    const messages = manager[Symbol.asyncIterator]();
    return async () => {
      const { value } = await within(10_000, messages.next(), 'a word of the service');
      return String(value?.data);
    };
  }

  const start = (defer: Defer, env: Record<string, string | undefined>): ReturnType<typeof startExample> =>
    startExample('sd-notify', defer, {
      args: ['--port=0'],
      env: { NOTIFY_SOCKET: undefined, WATCHDOG_USEC: undefined, WATCHDOG_PID: undefined, ...env },
    });

  const abstract = process.platform === 'linux' ? (['an abstract name'] as const) : [];
  for (const where of ['a path', ...abstract] as const)
    test(`tells a service manager at ${where} that it is ready, alive and stopping`, async (context) => {
      const name = join(directoryFor(context.defer), 'notify');
      const next = await managerAt(where === 'a path' ? name : `\0${name}`, context);
      const NOTIFY_SOCKET = where === 'a path' ? name : `@${name}`;
      const service = await start(context.defer, { NOTIFY_SOCKET, WATCHDOG_USEC: '40000' });
      assert.match(await next(), /^READY=1\nSTATUS=Echoing on 127\.0\.0\.1:\d+\n$/);
      for (let sign = 0; sign < 3; sign++)
        assert.match(await next(), /^WATCHDOG=1\nSTATUS=Echoing on \S+ for 0 clients\n$/);
      assert.is(await service.end(), '');
      let last = await next();
      while (last.startsWith('WATCHDOG=1\n')) last = await next();
      assert.is(last, 'STOPPING=1\n');
    });

  test('gives no sign of life that nobody waits for', async (context) => {
    const path = join(directoryFor(context.defer), 'notify');
    const next = await managerAt(path, context);
    const env = { NOTIFY_SOCKET: path, WATCHDOG_USEC: '1000', WATCHDOG_PID: '1' };
    const service = await start(context.defer, env);
    assert.match(await next(), /^READY=1\n/);
    assert.is(await service.end(), '');
    assert.is(await next(), 'STOPPING=1\n');
  });

  test('serves without a service manager, and with one that is gone', async ({ defer }) => {
    const alone = await start(defer, {});
    assert.is(await alone.end(), '');
    const left = await start(defer, { NOTIFY_SOCKET: join(directoryFor(defer), 'gone') });
    assert.match(await left.end(), /^(the service manager does not listen: .*ENOENT.*\n){2}$/);
  });
});

suite('examples/listener-handover.ts', { limitMs: 60_000 }, (test) => {
  /** Asks as a client that takes its time: connected, but silent, for as long as `patience` does not settle. */
  async function ask(port: number, word: string, patience?: Promise<unknown>): Promise<string> {
    const socket = connect({ host: '127.0.0.1', port });
    const answer = text(socket);
    await patience;
    socket.end(`${word}\n`);
    const reply = await within(20_000, answer, `an answer to ${word}`);
    const [, pid = ''] = /^process (\d+) heard (.*)\n$/.exec(reply) ?? [];
    assert.is(reply, `process ${pid} heard ${word}\n`);
    return pid;
  }

  test('hands its socket on without losing a connection', async ({ defer }) => {
    const supervisor = await startServer('listener-handover', defer);
    await supervisor.said(/worker \d+ serves\n/);
    const answered = new Set<string>();
    let clients = 0;
    let isOver = false;
    const keepAsking = async (): Promise<void> => {
      // Some speak at once, some when others have come and gone.
      while (!isOver) {
        const patience = clients % 3 === 0 ? ask(supervisor.port, 'patience') : undefined;
        answered.add(await ask(supervisor.port, `client ${clients++}`, patience));
      }
    };
    const handOver = async (): Promise<void> => {
      for (let handover = 1; handover <= count(3, 20); handover++) {
        supervisor.child.process.kill('SIGHUP');
        await supervisor.said(new RegExp(`(worker \\d+ serves\n){${handover + 1}}`));
      }
      // The last worker has its turn.
      for (let left = 100; left > 0; left--) await ask(supervisor.port, 'one more');
      isOver = true;
    };
    await Promise.all([handOver(), ...Array.from({ length: 20 }, keepAsking)]);
    assert.is(await supervisor.end(), '');
    const { stdout } = await supervisor.child.result;
    const workers = [...stdout.matchAll(/worker (\d+) serves/g)].map(([, pid]) => pid);
    assert.equal([...answered].sort(), workers.sort());
  });

  test('lets a client who came before finish, and keeps the door open when a worker dies', async ({
    defer,
  }) => {
    const supervisor = await startServer('listener-handover', defer);
    const [, first = ''] = /worker (\d+) serves\n/.exec(await supervisor.said(/serves\n/)) ?? [];
    const early = connectTo({ host: '127.0.0.1', port: supervisor.port }, defer).send('early');
    assert.is(await ask(supervisor.port, 'hello'), first);
    supervisor.child.process.kill('SIGHUP');
    const [, , second = ''] =
      /worker (\d+) serves\nworker (\d+) serves\n/.exec(await supervisor.said(/(serves\n.*){2}/)) ?? [];
    // Both serve for a moment.
    let answered = first;
    while (answered === first) answered = await ask(supervisor.port, 'hello');
    assert.is(answered, second);
    early.send(' bird\n');
    assert.is(await early.all(), `process ${first} heard early bird\n`);
    process.kill(Number(second), 'SIGKILL');
    assert.not.ok([first, second].includes(await ask(supervisor.port, 'is anybody there?')));
    assert.is(await supervisor.end(), '');
  });

  if (process.platform === 'linux')
    test('goes on with the worker that it has when another one does not start', async ({ defer }) => {
      const supervisor = await startServer('listener-handover', defer);
      await supervisor.said(/serves\n/);
      const first = await ask(supervisor.port, 'hello');
      const { pid } = supervisor.child.process;
      const children = (): string[] =>
        readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
      supervisor.child.process.kill('SIGHUP');
      let next: string | undefined;
      while (next === undefined) {
        await new Promise((resolve) => setImmediate(resolve));
        next = children().find((child) => child !== first);
      }
      process.kill(Number(next), 'SIGKILL');
      await listenTo(supervisor.child, 'stderr')(/no other worker: .*\n/);
      assert.is(await ask(supervisor.port, 'hello'), first);
      supervisor.child.process.kill('SIGHUP');
      await supervisor.said(/(serves\n.*){2}/);
      assert.match(await supervisor.end(), /^no other worker: .*\n$/);
    });
});
