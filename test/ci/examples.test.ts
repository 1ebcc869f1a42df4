import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';

import { UnixDatagramSocket } from '../../src/index.ts';
import { startExample, startServer } from '../support/examples.ts';
import { startPeer, startPython } from '../support/peers.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { within } from '../support/within.ts';

type Defer = TestContext['defer'];

const run = promisify(execFile);

/** A path that is free, in a directory of the test's own. */
function freePath(defer: Defer): string {
  const directory = mkdtempSync(join(tmpdir(), 'ioloop-examples-'));
  defer(() => rmSync(directory, { recursive: true }));
  return join(directory, 's');
}

// Debian's package "bind9-dnsutils".
suite('examples/dns-responder.ts, with dig', { limitMs: 60_000 }, (test) => {
  async function dig(port: number, ...args: string[]): Promise<string> {
    const common = ['@127.0.0.1', '-p', `${port}`, '+tries=1', '+timeout=5'];
    return (await run('dig', [...common, ...args], { timeout: 20_000 })).stdout;
  }

  test('answers for its zone', async ({ defer }) => {
    const { port, end } = await startServer('dns-responder', defer);
    assert.is(await dig(port, '+short', 'poem.test'), '192.0.2.1\n192.0.2.2\n');
    assert.is(await dig(port, '+short', 'POEM.test', 'AAAA'), '2001:db8::1\n');
    assert.is(await dig(port, '+short', 'poem.test', 'TXT'), '"\\"Hope\\" is the thing with feathers -"\n');
    assert.is(
      await dig(port, '+short', 'poem.test', 'A', 'only-ipv4.poem.test', 'A'),
      '192.0.2.1\n192.0.2.2\n192.0.2.3\n',
    );
    assert.match(await dig(port, 'poem.test', 'MX'), /status: NOERROR.*\n.*flags: qr aa rd;.* ANSWER: 0,/);
    assert.is(await end(), '');
  });

  test('refuses what is not its own, and what it does not understand', async ({ defer }) => {
    const { port, end } = await startServer('dns-responder', defer);
    for (const [status, ...args] of [
      ['NXDOMAIN', 'no.poem.test'],
      ['REFUSED', 'example.org'],
      ['REFUSED', '.', 'NS'],
      ['REFUSED', '-x', '192.0.2.1'],
      ['REFUSED', '-c', 'CH', 'version.bind', 'TXT'],
      ['FORMERR', '+header-only'],
      ['NOTIMP', '+opcode=notify', 'poem.test', 'SOA'],
    ] as const)
      assert.match(await dig(port, ...args), new RegExp(`status: ${status},`), args.join(' '));
    assert.is(await end(), '');
  });
});

suite('examples/statsd-counter.ts, with nc and socat', { limitMs: 30_000 }, (test) => {
  test('counts what a shell reports', async ({ defer }) => {
    const statsd = await startServer('statsd-counter', defer, '--every=0.2');
    startPeer(defer, ['nc', '-u', '127.0.0.1', `${statsd.port}`]).tell('visits:1|c\nqueue:17|g\n');
    assert.match(await statsd.said(/1 datagrams/), /visits: 1, 5 a second\nqueue: 17 now\n-- 2 metrics/);
    startPeer(defer, ['socat', '-', `UDP:127.0.0.1:${statsd.port}`]).tell('queue:+1|g\n');
    await statsd.said(/queue: 18 now\n-- 1 metrics/);
    assert.is(await statsd.end(), '');
  });
});

suite('examples/syslog-receiver.ts, with logger and Python', { limitMs: 30_000 }, (test) => {
  test('prints what logger sends, in both formats', async ({ defer }) => {
    const path = freePath(defer);
    const syslog = await startExample('syslog-receiver', defer, { args: ['--path', path] });
    for (const [format, priority] of [
      [[], 'mail.warning'],
      [['--rfc3164'], 'local7.debug'],
      [['--rfc5424'], 'daemon.emerg'],
      [['--rfc5424', '--sd-id', 'ex@1', '--sd-param', 'a="\\]\\""'], 'user.notice'],
    ] as const) {
      const message = ['--priority', priority, '--tag', 'backup', '--id', 'the disk is', 'full'];
      const logger = startPeer(defer, ['logger', '--socket', path, ...format, ...message]);
      await logger.finish();
      const { pid } = logger.child.process;
      await syslog.said(new RegExp(`\n${priority} backup \\(pid ${pid}, uid 0\\): the disk is full\n$`));
    }
    assert.is(await syslog.end(), '');
  });

  test("prints what Python's handler sends", async ({ defer }) => {
    const path = freePath(defer);
    const syslog = await startExample('syslog-receiver', defer, { args: ['--path', path] });
    const program = `
import logging.handlers, sys
logging.getLogger().addHandler(logging.handlers.SysLogHandler(sys.argv[1], facility='daemon'))
logging.error('backup: the disk is full')`;
    await startPython(defer, program, path).finish();
    await syslog.said(/\ndaemon\.err backup \(pid \d+, uid 0\): the disk is full\n$/);
    assert.is(await syslog.end(), '');
  });
});

suite("systemd's notifications", { limitMs: 30_000 }, (test) => {
  // Debian's package "systemd". It waits until the descriptor of its barrier is closed: sd_notify_barrier(3).
  for (const receiveFds of [false, true])
    test(`come from systemd-notify, ${receiveFds ? 'with' : 'without'} the descriptor of its barrier`, async ({
      loop,
      defer,
    }) => {
      const path = freePath(defer);
      await using manager = new UnixDatagramSocket({ loop, credentials: true, receiveFds });
      await manager.bind(path);
      const env = { NOTIFY_SOCKET: path };
      const notifier = startPeer(defer, ['systemd-notify', '--ready', '--status=all is well'], { env });
      const messages = manager[Symbol.asyncIterator]();
      const ready = await within(10_000, messages.next(), 'a notification');
      assert.is(String(ready.value?.data).trim(), 'READY=1\nSTATUS=all is well');
      assert.is(ready.value?.credentials?.uid, 0);
      const barrier = await within(10_000, messages.next(), 'the barrier');
      assert.is(String(barrier.value?.data), 'BARRIER=1');
      assert.is(barrier.value?.fds.length, receiveFds ? 1 : 0);
      for (const fd of barrier.value?.fds ?? []) fd.close();
      assert.is(await within(4_000, notifier.finish(), 'the end of the barrier'), '');
    });

  const program = `
import os, socket, struct, sys
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
manager.bind(sys.argv[1].replace('@', '\\0'))
print('ready')
text = ''
while not text.startswith('STOPPING'):
    data, control, *_ = manager.recvmsg(4096, socket.CMSG_SPACE(12))
    text = data.decode()
    pid, uid, gid = struct.unpack('3i', control[0][2])
    print(pid, *text.split())`;

  for (const where of ['a path', 'an abstract name'] as const)
    test(`reach a receiver in Python at ${where} from examples/sd-notify.ts`, async ({ defer }) => {
      const path = where === 'a path' ? freePath(defer) : `@${freePath(defer)}`;
      const manager = startPython(defer, program, path);
      await manager.said(/ready\n/);
      const env = { NOTIFY_SOCKET: path, WATCHDOG_USEC: '100000', WATCHDOG_PID: undefined };
      const service = await startExample('sd-notify', defer, { args: ['--port=0'], env });
      const { pid } = service.child.process;
      await manager.said(
        new RegExp(`ready\n${pid} READY=1 STATUS=Echoing on 127.0.0.1:\\d+\n${pid} WATCHDOG=1 `),
      );
      assert.is(await service.end(), '');
      assert.match(await manager.finish(), new RegExp(`\n${pid} STOPPING=1\n$`));
    });
});
