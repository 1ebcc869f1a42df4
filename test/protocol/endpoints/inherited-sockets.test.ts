import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import * as assert from 'uvu/assert';

import {
  AdoptedServerEndpoint,
  Factory,
  IOLoop,
  IOLoopError,
  Protocol,
  SystemError,
  serverFromString,
} from '../../../src/index.ts';
import { closeFd, listenSocket, socketAddress } from '../../../src/raw.ts';
import { root } from '../../support/child.ts';
import { connectTo } from '../../support/clients.ts';
import { portOf } from '../../support/servers.ts';
import { pipeFds } from '../../support/streams.ts';
import { suite, type TestContext } from '../../support/suite.ts';
import { within } from '../../support/within.ts';

class Greeting extends Protocol {
  override connectionMade(): void {
    this.transport.write('hello');
    this.transport.loseConnection();
  }
}

/** What a client of `fd` hears, which listens on TCP. */
function heardAt(port: number, defer: TestContext['defer']): Promise<string> {
  return connectTo({ host: '127.0.0.1', port }, defer).all();
}

function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'it did not reject',
    (error: unknown) => error,
  );
}

for (const backend of IOLoop.backends)
  suite(`endpoints of sockets that listen already, on ${backend}`, { backend }, (test) => {
    test('are one port of them all, once', async ({ loop, defer }) => {
      const fds = [listenSocket({ port: 0 }), listenSocket({ port: 0 })];
      const places = fds.map((fd) => portOf(socketAddress(fd)));
      const endpoint = new AdoptedServerEndpoint(fds, { loop });
      const port = await endpoint.listen(Factory.forProtocol(Greeting));
      defer(() => port.close({ graceMs: 0 }));
      assert.is(portOf(port.getHost()), places[0]);
      for (const place of places) assert.is(await heardAt(place, defer), 'hello');
      const again = await rejection(endpoint.listen(Factory.forProtocol(Greeting)));
      assert.ok(IOLoopError.is(again, 'ERR_IOLOOP_INVALID_STATE'), String(again));
      await within(5_000, port.close(), 'the end of the port');
      for (const place of places) assert.match(await heardAt(place, defer), /ECONNREFUSED/);
    });

    test('are known by their numbers', async ({ loop, defer }) => {
      const fd = listenSocket({ port: 0 });
      const place = portOf(socketAddress(fd));
      const port = await serverFromString(`fd:${fd}`, { loop }).listen(Factory.forProtocol(Greeting));
      defer(() => port.close({ graceMs: 0 }));
      assert.is(await heardAt(place, defer), 'hello');
    });

    test('refuse what does not listen, and the factory is told', async ({ loop }) => {
      const fds = pipeFds();
      const factory = Factory.forProtocol(Greeting);
      const refused = await rejection(new AdoptedServerEndpoint(fds[0], { loop }).listen(factory));
      assert.ok(refused instanceof SystemError && refused.code === 'ENOTSOCK', String(refused));
      assert.is(factory.numPorts, 0);
      for (const fd of fds) closeFd(fd);
    });

    test('are of one descriptor or more', () => {
      assert.throws(() => new AdoptedServerEndpoint([]), /fds must be/);
      assert.throws(() => new AdoptedServerEndpoint(-1), /fds must be/);
    });
  });

/** Listens at its arguments, tells where or why not, and ends with its standard input. */
const SERVER = `
  import { Factory, Protocol, serverFromString } from './src/index.ts';
  class Greeting extends Protocol {
    connectionMade() {
      this.transport.write('hello');
      this.transport.loseConnection();
    }
  }
  const ports = [];
  for (const description of process.argv.slice(1)) {
    try {
      const port = await serverFromString(description).listen(Factory.forProtocol(Greeting));
      ports.push(port);
      console.log(port.getHost().toString());
    } catch (error) {
      console.log(error.message);
    }
  }
  console.log('.');
  process.stdin.resume().on('end', () => ports.map((port) => port.close()));`;

suite('endpoints of a service manager\u2019s sockets', { limitMs: 30_000 }, (test) => {
  test('are known by index and by name, and checked by domain', async ({ defer }) => {
    const directory = mkdtempSync(join(tmpdir(), 'ioloop-'));
    defer(() => rmSync(directory, { recursive: true }));
    const path = join(directory, 'control');
    const fds = [listenSocket({ host: '127.0.0.1', port: 0 }), listenSocket({ path })];
    const address = socketAddress(fds[0] ?? -1);
    const wrong = [
      'systemd:domain=INET6:index=0',
      'systemd:domain=TCP:index=0',
      'systemd:index=2',
      'systemd:name=mail',
      'systemd:name=web:index=0',
    ];
    const node = [process.execPath, '--import', 'tsx', '--input-type=module', '--eval', SERVER, '--'];
    // exec keeps the number that LISTEN_PID tells.
    const shell = ['-c', 'LISTEN_PID=$$ exec "$0" "$@"', ...node];
    const child = spawn('sh', [...shell, ...wrong, 'systemd:domain=INET:index=0', 'systemd:name=control'], {
      cwd: root,
      env: { ...process.env, LISTEN_FDS: '2', LISTEN_FDNAMES: 'web:control' },
      stdio: ['pipe', 'pipe', 'inherit', ...fds],
    });
    const exit = once(child, 'exit');
    defer(() => {
      child.kill('SIGKILL');
      return exit;
    });
    for (const fd of fds) closeFd(fd);
    const { stdin, stdout } = child;
    assert.ok(stdin && stdout);
    const said = text(stdout);
    assert.is(await heardAt(portOf(address), defer), 'hello');
    assert.is(await connectTo({ path }, defer).all(), 'hello');
    stdin.end();
    const lines = (await within(20_000, said, 'the end of the child')).split('\n');
    const expected = [
      /domain of .*of family IPv4/,
      /domain of .*'INET', 'INET6', 'UNIX'/,
      /index of .*the 2/,
    ];
    expected.push(/name of .*'web', 'control'/, /index of .*beside a name/);
    for (const [place, pattern] of expected.entries()) assert.match(lines[place] ?? '', pattern);
    assert.equal(lines.slice(expected.length), [String(address), path, '.', '']);
  });
});
