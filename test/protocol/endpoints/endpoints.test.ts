import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import * as assert from 'uvu/assert';
import { deferred } from '../../../src/deferred.ts';
import {
  type ClientEndpointOptions,
  clientFromString,
  connectProtocol,
  Factory,
  IOLoop,
  IOLoopError,
  type ListeningPort,
  Protocol,
  type Reason,
  registerClientEndpoint,
  registerServerEndpoint,
  type ServerEndpointOptions,
  SystemError,
  serverFromString,
  TCPServerEndpoint,
  TimeoutError,
  UnixClientEndpoint,
} from '../../../src/index.ts';
import { authority, client, localhost, stranger } from '../../support/certificates.ts';
import { portOf } from '../../support/servers.ts';
import { turnsUntil } from '../../support/streams.ts';
import { suite, type TestContext } from '../../support/suite.ts';
import { within } from '../../support/within.ts';

const LIMIT_MS = 5_000;

/** Answers what it hears, with who it is that asks. */
class Echo extends Protocol {
  override dataReceived(data: Buffer): void {
    this.transport.write([Buffer.from(`${this.transport.getPeer()} `), data]);
  }
}

/** Asks, and waits for the answer. */
class Question extends Protocol {
  readonly lost = deferred<Reason>();
  #heard = deferred<string>();

  async ask(text: string): Promise<string> {
    this.#heard = deferred();
    this.transport.write(text);
    return within(LIMIT_MS, this.#heard.promise, 'the answer');
  }
  override dataReceived(data: Buffer): void {
    this.#heard.resolve(data.toString());
  }
  override connectionLost(reason: Reason): void {
    this.lost.resolve(reason);
  }
}

/** Counts how often it was started and stopped. */
class CountingFactory extends Factory {
  readonly calls: string[] = [];
  override startFactory(): void {
    this.calls.push('start');
  }
  override stopFactory(): void {
    this.calls.push('stop');
  }
}

/** A directory with the certificates of these tests, which goes with the test. */
function directory({ defer }: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'ioloop-'));
  defer(() => rmSync(path, { recursive: true }));
  mkdirSync(join(path, 'roots'));
  const files = { 'roots/ca.pem': authority, 'roots/note.pem': 'no certificate', 'key.pem': localhost.key };
  const both = { 'server.pem': localhost.key + localhost.cert, 'client.pem': client.key + client.cert };
  for (const [name, content] of Object.entries({ ...files, ...both, 'cert.pem': localhost.cert }))
    writeFileSync(join(path, name), content);
  return path;
}

/** Echoes at `description`; the port is closed with the test. */
async function listen(
  { loop, defer }: TestContext,
  description: string,
  options: ServerEndpointOptions = {},
  factory = Factory.forProtocol(Echo),
): Promise<ListeningPort> {
  const port = await serverFromString(description, { loop, ...options }).listen(factory);
  defer(() => port.close({ graceMs: 0 }));
  return port;
}

/** Connects to `description`, asks, and is answered; who it seemed to be. */
async function ask(
  { loop }: TestContext,
  description: string,
  options: ClientEndpointOptions = {},
): Promise<string> {
  const endpoint = clientFromString(description, { loop, ...options });
  const question = await within(LIMIT_MS, connectProtocol(endpoint, new Question()), 'the connection');
  const answer = await question.ask('hello');
  question.transport.loseConnection();
  const { name } = await within(LIMIT_MS, question.lost.promise, 'the end');
  assert.equal([name, answer.slice(-6)], ['ConnectionDone', ' hello']);
  // What carries a TLS stream outlives it by its last bytes.
  await within(
    LIMIT_MS,
    turnsUntil(loop, () => loop.metrics().streams === 0),
    'the end of all streams',
  );
  return answer.slice(0, -6);
}

/** What `promise` rejects with. */
function rejection(promise: Promise<unknown>): Promise<unknown> {
  return within(
    LIMIT_MS,
    promise.then(
      () => 'it did not reject',
      (error: unknown) => error,
    ),
    'the rejection',
  );
}

for (const backend of IOLoop.backends)
  suite(`endpoints on ${backend}`, { backend, limitMs: 20_000 }, (test) => {
    test('of TCP', async (context) => {
      const port = portOf((await listen(context, 'tcp:0:interface=127.0.0.1:backlog=8')).getHost());
      assert.match(await ask(context, `tcp:127.0.0.1:${port}`), /^127\.0\.0\.1:\d+$/);
      assert.match(await ask(context, `tcp:host=127.0.0.1:${port}:timeout=5`), /^127/);
      assert.match(await ask(context, `tcp:127.0.0.1:port=${port}:bindAddress=127.0.0.3`), /^127\.0\.0\.3:/);
    });

    test('of TCP, of both families, or of the second alone', async (context) => {
      const port = portOf((await listen(context, 'tcp:0')).getHost());
      assert.match(await ask(context, `tcp:127.0.0.1:${port}`), /127\.0\.0\.1\]?:\d+$/);
      assert.match(await ask(context, `tcp:\\:\\:1:${port}`), /^\[::1\]:\d+$/);
      const six = await listen(context, 'tcp6:0:ipv6Only=yes');
      assert.is(six.getHost().family, 'IPv6');
      assert.match(await ask(context, `tcp:host=\\:\\:1:port=${portOf(six.getHost())}`), /^\[::1\]/);
      const refused = await rejection(ask(context, `tcp:127.0.0.1:${portOf(six.getHost())}`));
      assert.ok(refused instanceof SystemError && refused.code === 'ECONNREFUSED', String(refused));
    });

    test('of the Unix domain', async (context) => {
      const path = join(directory(context), 'socket');
      const port = await listen(context, `unix:${path}:mode=640:lockfile=0`);
      assert.is(statSync(path).mode & 0o777, 0o640);
      assert.is(await ask(context, `unix:${path}:lockfile=1:timeout=5`), '');
      assert.is(await ask(context, `unix:path=${path}`), '');
      await port.close({ graceMs: 0 });
      assert.is((await listen(context, `unix:address=${path}`)).getHost().toString(), path);
      assert.is(statSync(path).mode & 0o777, 0o600);
    });

    test('of TLS', async (context) => {
      const pem = directory(context);
      const files = `privateKey=${pem}/key.pem:certKey=${pem}/cert.pem:extraCertChain=${pem}/roots/ca.pem`;
      const port = portOf((await listen(context, `tls:0:${files}:interface=127.0.0.1`)).getHost());
      const shown = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false });
      await within(LIMIT_MS, once(shown, 'secureConnect'), 'the handshake');
      const { issuerCertificate } = shown.getPeerCertificate(true);
      assert.is(
        issuerCertificate.raw.toString('base64'),
        new X509Certificate(authority).raw.toString('base64'),
      );
      shown.destroy();
      const trusted = `trustRoots=${pem}/roots`;
      assert.match(await ask(context, `tls:127.0.0.1:${port}:${trusted}:servername=localhost`), /^127/);
      assert.match(await ask(context, `ssl:127.0.0.1:${port}:caCertsDir=${pem}/roots/ca.pem`), /^127/);
      const certified = `certificate=${pem}/client.pem`;
      assert.match(await ask(context, `tls:127.0.0.1:${port}:${trusted}:${certified}`), /^127/);
      for (const wrong of ['', `:${trusted}:servername=other.example`]) {
        const refused = await rejection(ask(context, `tls:127.0.0.1:${port}${wrong}`));
        assert.ok(refused instanceof Error && 'code' in refused, String(refused));
        assert.match(String(refused.code), wrong === '' ? /CERT|SIGNATURE/ : 'ERR_TLS_CERT_ALTNAME_INVALID');
      }
    });

    test('of TLS, with what the code knows', async (context) => {
      const pem = directory(context);
      const port = portOf((await listen(context, 'tls:0:interface=127.0.0.1', { tls: localhost })).getHost());
      assert.match(await ask(context, `tls:127.0.0.1:${port}`, { tls: { ca: authority } }), /^127/);
      // The string goes first, and asks for a client's certificate none the less.
      const strict = { tls: { ...stranger, requestCert: true, rejectUnauthorized: true, ca: authority } };
      const other = await listen(context, `ssl:0:${pem}/server.pem:interface=127.0.0.1`, strict);
      const target = `tls:127.0.0.1:${portOf(other.getHost())}:certificate=${pem}/client.pem`;
      assert.match(await ask(context, target, { tls: { ca: authority } }), /^127/);
    });

    test('behind a proxy', async (context) => {
      const description = 'haproxy:tcp:0:interface=127.0.0.1';
      const port = portOf((await listen(context, description, { trustedProxies: ['127.0.0.1'] })).getHost());
      const endpoint = clientFromString(`tcp:127.0.0.1:${port}`, { loop: context.loop });
      const question = await connectProtocol(endpoint, new Question());
      const answer = await question.ask('PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\nhello');
      assert.is(answer, '192.0.2.7:4711 hello');
      question.transport.loseConnection();
      await within(LIMIT_MS, question.lost.promise, 'the end');
    });

    test('tell how connecting fails', async (context) => {
      const { loop } = context;
      const factory = new CountingFactory();
      const nobody = new UnixClientEndpoint(join(directory(context), 'nobody'), { loop });
      const missing = await rejection(nobody.connect(factory));
      assert.ok(missing instanceof SystemError && missing.code === 'ENOENT', String(missing));
      const aborted = AbortSignal.abort('enough');
      const given = await rejection(nobody.connect(factory, { signal: aborted }));
      assert.ok(given instanceof Error && given.name === 'AbortError', String(given));
      const lookup = (): void => {};
      const slow = clientFromString('tcp:slow.example:80:timeout=0.02', { loop, lookup });
      assert.ok((await rejection(slow.connect(factory, { timeoutMs: undefined }))) instanceof TimeoutError);
      const patient = clientFromString('tcp:slow.example:80', { loop, lookup });
      assert.ok((await rejection(patient.connect(factory, { timeoutMs: 20 }))) instanceof TimeoutError);
      assert.equal(factory.calls, ['start', 'stop', 'start', 'stop', 'start', 'stop', 'start', 'stop']);
    });

    test('reject when the factory refuses, or throws, and close the connection', async (context) => {
      const { loop } = context;
      const lost = deferred<Reason>();
      class Listener extends Protocol {
        override connectionLost(reason: Reason): void {
          lost.resolve(reason);
        }
      }
      const port = await listen(context, 'tcp:0:interface=127.0.0.1', {}, Factory.forProtocol(Listener));
      const endpoint = clientFromString(`tcp:127.0.0.1:${portOf(port.getHost())}`, { loop });
      class Refusing extends CountingFactory {
        override buildProtocol(): null {
          return null;
        }
      }
      const refusing = new Refusing();
      const refused = await rejection(endpoint.connect(refusing));
      assert.ok(IOLoopError.is(refused, 'ERR_IOLOOP_INVALID_STATE'), String(refused));
      assert.is((await within(LIMIT_MS, lost.promise, 'the end')).name, 'ConnectionDone');
      const thrown = await rejection(endpoint.connect(new CountingFactory()));
      assert.ok(IOLoopError.is(thrown, 'ERR_IOLOOP_INVALID_STATE'), String(thrown));
      assert.equal(refusing.calls, ['start', 'stop']);
    });

    test('serve again and again, and connect: each time anew, and the factory is told', async (context) => {
      const { loop, defer } = context;
      const endpoint = new TCPServerEndpoint(0, { loop, interface: '127.0.0.1' });
      const factory = new CountingFactory();
      factory.protocol = Echo;
      const ports = [await endpoint.listen(factory), await endpoint.listen(factory)];
      for (const port of ports) defer(() => port.close({ graceMs: 0 }));
      assert.is(new Set(ports.map((port) => portOf(port.getHost()))).size, 2);
      const connecting = clientFromString(`tcp:127.0.0.1:${portOf(ports[0]?.getHost() ?? null)}`, { loop });
      const questions = await Promise.all([1, 2].map(() => connectProtocol(connecting, new Question())));
      for (const question of questions) {
        assert.match(await question.ask('hello'), / hello$/);
        question.transport.loseConnection();
        await within(LIMIT_MS, question.lost.promise, 'the end');
      }
      const asking = new CountingFactory();
      asking.protocol = Question;
      const connected = await connecting.connect(asking);
      assert.ok(connected instanceof Question);
      assert.equal(asking.calls, ['start']);
      connected.transport.loseConnection();
      await within(LIMIT_MS, connected.lost.promise, 'the end');
      assert.equal(asking.calls, ['start', 'stop']);
      for (const port of ports) await within(LIMIT_MS, port.close(), 'the end of a port');
      assert.equal(factory.calls, ['start', 'stop']);
    });
  });

suite('types of endpoints', (test) => {
  test('can be added, and stand behind haproxy: like those that are built in', async (context) => {
    registerServerEndpoint('loopback', (description, options) => {
      const args = description.arguments({ positional: ['port'] });
      const port = args.integer('port', 0, 65535) ?? args.missing('port');
      return new TCPServerEndpoint(port, { ...options, interface: '127.0.0.1' });
    });
    registerClientEndpoint('loopback', ({ rest }, options) =>
      clientFromString(`tcp:127.0.0.1:${rest}`, options),
    );
    const port = portOf((await listen(context, 'loopback:0')).getHost());
    assert.match(await ask(context, `loopback:${port}`), /^127/);
    const behind = await listen(context, 'haproxy:loopback:0');
    assert.is(behind.getHost().family, 'IPv4');
    assert.throws(() => serverFromString('loopback:'), /port of the endpoint 'loopback:' must be given/);
  });

  test('are added once, under a word', () => {
    const make = () => new TCPServerEndpoint(0);
    assert.throws(() => registerServerEndpoint('tcp', make), /'tcp' already/);
    assert.throws(() => registerServerEndpoint('Upper', make), /type must be a word/);
    assert.throws(() => registerServerEndpoint('a:b', make), /type must be a word/);
    assert.throws(() => registerClientEndpoint('unix', () => clientFromString('unix:/x')), /'unix' already/);
  });
});
