import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import * as assert from 'uvu/assert';
import { deferred } from '../../../src/deferred.ts';
import {
  connectStandardIO,
  Factory,
  IOLoop,
  PipeIOStream,
  Protocol,
  type Reason,
  StandardIOEndpoint,
} from '../../../src/index.ts';
import { project } from '../../support/package.ts';
import { pipeFds } from '../../support/streams.ts';
import { suite, type TestContext } from '../../support/suite.ts';
import { within } from '../../support/within.ts';

const LIMIT_MS = 10_000;
const MiB = 1024 * 1024;

/** Echoes until it is told to leave, and tells how it ended. */
class Echo extends Protocol {
  readonly lost = deferred<Reason>();
  override connectionMade(): void {
    this.transport.write('hello\n');
  }
  override dataReceived(data: Buffer): void {
    this.transport.write(data);
    if (data.includes('leave\n')) this.transport.loseConnection();
  }
  override connectionLost(reason: Reason): void {
    this.lost.resolve(reason);
  }
}

/** Two pipes: what a protocol reads and writes, and streams at their other ends. */
function openPipes({ loop, defer }: TestContext) {
  const [toProtocol, input] = pipeFds();
  const [output, fromProtocol] = pipeFds();
  const [writer, reader] = [toProtocol, fromProtocol].map((fd) => new PipeIOStream(fd, { loop }));
  assert.ok(writer && reader);
  for (const stream of [writer, reader])
    defer(() => {
      stream.abort();
      return stream.whenClosed;
    });
  return { options: { loop, input, output }, writer, reader };
}

for (const backend of IOLoop.backends)
  suite(`a protocol on standard input and output on ${backend}`, { backend }, (test) => {
    test('speaks until the input ends', async (context) => {
      const { options, writer, reader } = openPipes(context);
      const protocol = new Echo();
      const transport = connectStandardIO(protocol, options);
      assert.is(protocol.transport, transport);
      assert.equal([String(transport.getHost()), String(transport.getPeer())], ['', '']);
      assert.is(String(await within(LIMIT_MS, reader.readUntil('\n'), 'the greeting')), 'hello\n');
      void writer.end('goodbye');
      assert.is(String(await within(LIMIT_MS, reader.readUntilClose(), 'the answer')), 'goodbye');
      assert.is((await within(LIMIT_MS, protocol.lost.promise, 'the end')).name, 'ConnectionDone');
    });

    test('delivers what it wrote before it lost the connection', async (context) => {
      const { options, writer, reader } = openPipes(context);
      const protocol = new Echo();
      const transport = connectStandardIO(protocol, options);
      transport.write(Buffer.alloc(MiB, 'x'));
      void writer.write('leave\n');
      const chunks: Buffer[] = [];
      const all = async (): Promise<void> => {
        for await (const chunk of reader) chunks.push(chunk);
      };
      await within(LIMIT_MS, all(), 'the bytes');
      assert.ok(String(Buffer.concat(chunks)) === `hello\n${'x'.repeat(MiB)}leave\n`);
      assert.is((await within(LIMIT_MS, protocol.lost.promise, 'the end')).name, 'ConnectionDone');
    });

    test('is told by a write that nobody reads the output', async (context) => {
      const { options, reader } = openPipes(context);
      reader.abort();
      await within(LIMIT_MS, reader.whenClosed, 'the close');
      const protocol = new Echo();
      connectStandardIO(protocol, options);
      const reason = await within(LIMIT_MS, protocol.lost.promise, 'the end');
      assert.is(reason.name, 'ConnectionLost');
      assert.match(String(reason.cause), /EPIPE/);
    });

    test('is a port of one connection', async (context) => {
      const { options, writer, reader } = openPipes(context);
      const protocols: Protocol[] = [];
      class Echoes extends Factory {
        readonly calls: string[] = [];
        override startFactory(): void {
          this.calls.push('start');
        }
        override buildProtocol(): Protocol {
          this.calls.push('build');
          protocols.push(new Echo());
          return protocols[0] ?? new Echo();
        }
        override stopFactory(): void {
          this.calls.push('stop');
        }
      }
      const factory = new Echoes();
      const port = await new StandardIOEndpoint(options).listen(factory);
      assert.equal([port.connections, String(port.getHost())], [1, '']);
      await within(LIMIT_MS, reader.readUntil('hello\n'), 'the greeting');
      void writer.write('ping');
      assert.is(String(await within(LIMIT_MS, reader.readBytes(4), 'the echo')), 'ping');
      await within(LIMIT_MS, port.close({ graceMs: 0 }), 'the end of the port');
      assert.is(port.connections, 0);
      assert.equal(factory.calls, ['start', 'build', 'stop']);
    });

    test('refuses what is none, and the factory is told', async (context) => {
      const { options, writer } = openPipes(context);
      const directory = openSync(tmpdir(), 'r');
      const factory = Factory.forProtocol(Echo);
      const refused = await new StandardIOEndpoint({ ...options, input: directory })
        .listen(factory)
        .catch(String);
      assert.match(String(refused), /EPERM/);
      assert.is(factory.numPorts, 0);
      for (const fd of [directory, options.input, options.output]) closeSync(fd);
      writer.abort();
    });
  });

/** Serves the standard input and output by an endpoint's string, and tells on stderr how that ended. */
const SERVER = `
  import { connect, createServer } from 'node:net';
  import { Factory, Protocol, serverFromString, StandardIOStream } from 'ioloop';
  class Echo extends Protocol {
    connectionMade() {
      this.transport.write('hello\\n');
    }
    dataReceived(data) {
      this.transport.write(data);
      if (data.includes('leave\\n')) this.transport.loseConnection();
    }
    connectionLost(reason) {
      console.error(reason.name, reason.cause?.code ?? '');
      if (process.argv.includes('print')) {
        const server = createServer((socket) => socket.pipe(process.stderr)).listen(0, '127.0.0.1', () => {
          const client = connect(server.address().port, '127.0.0.1', () => {
            console.log('printed into nothing');
            client.end('and the socket is whole\\n');
            server.close();
          });
        });
      }
    }
  }
  if (process.argv.includes('unref')) new StandardIOStream().unref();
  else await serverFromString('stdio:').listen(Factory.forProtocol(Echo));`;

/** Runs {@link SERVER}; its stderr is read. */
function start(
  { defer }: TestContext,
  input: 'pipe' | 'ignore' | number,
  output: 'pipe' | number,
  ...args: string[]
) {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', SERVER, '--', ...args], {
    stdio: [input, output, 'pipe'],
    cwd: project(),
  });
  const exit = once(child, 'exit').then(([code]) => code as number | null);
  defer(() => {
    child.kill('SIGKILL');
    return exit;
  });
  const { stderr } = child;
  assert.ok(stderr);
  const ended = Promise.all([exit, text(stderr)]).then(([code, said]) => `${code} ${said}`);
  return { child, ended: () => within(LIMIT_MS, ended, 'the end of the child') };
}

suite('a process that serves its standard input and output', { limitMs: 30_000 }, (test) => {
  const inDirectory = ({ defer }: TestContext): string => {
    const path = mkdtempSync(join(tmpdir(), 'ioloop-'));
    defer(() => rmSync(path, { recursive: true }));
    return path;
  };

  test('echoes what comes by a pipe', async (context) => {
    const { child, ended } = start(context, 'pipe', 'pipe');
    assert.ok(child.stdin && child.stdout);
    const answer = text(child.stdout);
    const said = randomBytes(MiB).toString('hex');
    child.stdin.end(said);
    assert.ok((await within(LIMIT_MS, answer, 'the answer')) === `hello\n${said}`);
    assert.is(await ended(), '0 ConnectionDone \n');
  });

  test('reads a file, and writes one', async (context) => {
    const path = inDirectory(context);
    const said = randomBytes(MiB).toString('hex');
    writeFileSync(join(path, 'in'), said);
    const fds = [openSync(join(path, 'in'), 'r'), openSync(join(path, 'out'), 'w')] as const;
    const { ended } = start(context, ...fds);
    for (const fd of fds) closeSync(fd);
    assert.is(await ended(), '0 ConnectionDone \n');
    assert.ok(readFileSync(join(path, 'out'), 'utf8') === `hello\n${said}`);
  });

  test('finds nothing in /dev/null', async (context) => {
    const { child, ended } = start(context, 'ignore', 'pipe');
    assert.ok(child.stdout);
    const answer = text(child.stdout);
    assert.is(await ended(), '0 ConnectionDone \n');
    assert.is(await answer, 'hello\n');
  });

  test('ends when nobody reads what it says', async (context) => {
    const [output, other] = pipeFds();
    closeSync(other);
    const { ended } = start(context, 'pipe', output);
    closeSync(output);
    assert.is(await ended(), '0 ConnectionLost EPIPE\n');
  });

  test('prints into nothing afterwards, not into the next socket', async (context) => {
    const { child, ended } = start(context, 'pipe', 'pipe', 'print');
    assert.ok(child.stdin && child.stdout);
    const answer = text(child.stdout);
    child.stdin.write('leave\n');
    assert.is(await within(LIMIT_MS, answer, 'the answer'), 'hello\nleave\n');
    assert.is(await ended(), '0 ConnectionDone \nand the socket is whole\n');
  });

  test('ends with its input open, when the stream keeps nothing alive', async (context) => {
    const { ended } = start(context, 'pipe', 'pipe', 'unref');
    assert.is(await ended(), '0 ');
  });

  test('leaves an open file blocking that is both, as a terminal is', async (context) => {
    const path = join(inDirectory(context), 'fifo');
    execFileSync('mkfifo', [path]);
    const fd = openSync(path, constants.O_RDWR);
    writeFileSync(fd, 'leave\n');
    const { ended } = start(context, fd, fd);
    assert.is(await ended(), '0 ConnectionDone \n');
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '';
    assert.is(Number.parseInt(flags, 8) & constants.O_NONBLOCK, 0);
    closeSync(fd);
  });
});
