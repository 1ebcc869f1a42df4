import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import * as assert from 'uvu/assert';

import { encodeProxyHeader, type ProxyHeader, type ServerOptions } from '../../src/index.ts';
import { authority, client as clientIdentity, localhost } from '../support/certificates.ts';
import { Client } from '../support/clients.ts';
import { signal } from '../support/driven.ts';
import { startPeer } from '../support/peers.ts';
import { portOf, type Served, serve } from '../support/servers.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { within } from '../support/within.ts';

type Defer = TestContext['defer'];

const SOURCE = { family: 'IPv4', address: '192.0.2.7', port: 50_007 } as const;
const DESTINATION = { family: 'IPv4', address: '198.51.100.1', port: 443 } as const;

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const port = portOf(server.address());
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Connects to `port`, as soon as somebody listens there. */
async function reach(port: number): Promise<Socket> {
  const attempt = (): Promise<Socket | null> =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(socket.off('error', refused)));
      const refused = (): void => resolve(null);
      socket.once('error', refused);
    });
  let done = false;
  const reaching = async (): Promise<Socket> => {
    for (;;) {
      const socket = await attempt();
      if (socket !== null) return socket;
      if (done) throw new Error(`nobody listens at ${port}`);
    }
  };
  try {
    return await within(10_000, reaching(), `a listener at ${port}`);
  } finally {
    done = true;
  }
}

function temporary(defer: Defer): string {
  const directory = mkdtempSync(join(tmpdir(), 'ioloop-proxies-'));
  defer(() => rmSync(directory, { recursive: true }));
  return directory;
}

/** Starts Debian's "haproxy", with a front that its lines describe, and the port of that. */
async function startHAProxy(
  defer: Defer,
  describe: (port: number, directory: string) => readonly string[],
): Promise<number> {
  const directory = temporary(defer);
  const port = await freePort();
  const file = join(directory, 'haproxy.cfg');
  const defaults = ['defaults', 'mode tcp', 'timeout connect 5s', 'timeout client 20s', 'timeout server 20s'];
  writeFileSync(file, [...defaults, 'listen front', ...describe(port, directory), ''].join('\n'));
  startPeer(defer, ['haproxy', '-db', '-f', file]);
  return port;
}

/** Starts Debian's "nginx-light" with "libnginx-mod-stream", likewise. */
async function startNginx(defer: Defer, describe: (port: number) => string): Promise<number> {
  const directory = temporary(defer);
  const port = await freePort();
  writeFileSync(
    join(directory, 'nginx.conf'),
    `daemon off; master_process off; pid nginx.pid; error_log stderr;
     load_module /usr/lib/nginx/modules/ngx_stream_module.so;
     events {}
     stream { server { ${describe(port)} } }`,
  );
  startPeer(defer, ['nginx', '-p', directory, '-e', 'stderr', '-c', 'nginx.conf']);
  return port;
}

/** A server of ours that says whom it serves, then echoes lines; and the headers that it was sent. */
async function behindProxies(
  context: TestContext,
  options: ServerOptions = {},
): Promise<{ served: Served; headers: (ProxyHeader | null)[] }> {
  const headers: (ProxyHeader | null)[] = [];
  const served = await serve(
    context,
    async (stream) => {
      headers.push(stream.proxyHeader);
      void stream.write(`${stream.remote} at ${stream.local}\n`);
      for (;;) await stream.write(await stream.readUntil('\n'));
    },
    { proxyProtocol: true, ...options },
  );
  return { served, headers };
}

/** Sends a line through the proxy at `port`, and checks that the server knows who did. */
async function echo(port: number, defer: Defer): Promise<void> {
  const client = new Client(await reach(port), defer).send('one\n');
  await client.heard(`127.0.0.1:${client.socket.localPort} at 127.0.0.1:${port}\none\n`);
  client.end();
  await client.all();
}

/** As {@link echo}, over TLS. */
async function echoSecurely(port: number, defer: Defer, options: ConnectionOptions = {}): Promise<void> {
  const socket = await reach(port);
  const securing = connectTls({ socket, ca: authority, servername: 'localhost', ...options });
  const client = new Client(securing, defer).send('one\n');
  await client.heard(`127.0.0.1:${socket.localPort} at 127.0.0.1:${port}\none\n`);
  client.end();
  await client.all();
}

suite('HAProxy in front', { limitMs: 60_000 }, (test) => {
  for (const [name, version] of [
    ['send-proxy', 1],
    ['send-proxy-v2', 2],
    ['send-proxy-v2 proxy-v2-options crc32c', 2],
  ] as const)
    test(`says by ${name} who the client is`, async (context) => {
      const { served, headers } = await behindProxies(context);
      const port = await startHAProxy(context.defer, (front) => [
        `bind 127.0.0.1:${front}`,
        `server ours 127.0.0.1:${served.port} ${name}`,
      ]);
      await echo(port, context.defer);
      assert.equal(
        headers.map((header) => [header?.version, header?.command, header?.transport]),
        [[version, 'PROXY', 'stream']],
      );
    });

  test('says what it knows of the TLS that ends at it', async (context) => {
    const { served, headers } = await behindProxies(context);
    const options = 'ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,unique-id,crc32c';
    const port = await startHAProxy(context.defer, (front, directory) => {
      writeFileSync(join(directory, 'localhost.pem'), localhost.cert + localhost.key);
      writeFileSync(join(directory, 'ca.pem'), authority);
      const verify = `verify optional ca-file ${directory}/ca.pem alpn poem`;
      return [
        `bind 127.0.0.1:${front} ssl crt ${directory}/localhost.pem ${verify}`,
        'unique-id-format %ci:%cp',
        `server ours 127.0.0.1:${served.port} send-proxy-v2 proxy-v2-options ${options}`,
      ];
    });
    await echoSecurely(port, context.defer, { ...clientIdentity, ALPNProtocols: ['poem'] });
    await echoSecurely(port, context.defer);
    const [known, unknown] = headers;
    assert.is(known?.authority, 'localhost');
    assert.is(known?.alpn, 'poem');
    assert.is(String(known?.uniqueId), `127.0.0.1:${known?.source?.toString().split(':').at(-1)}`);
    assert.equal(
      [known?.ssl?.encrypted, known?.ssl?.certificate, known?.ssl?.verified],
      [true, 'connection', true],
    );
    assert.match(known?.ssl?.version ?? '', /^TLSv1\.[23]$/);
    for (const text of [known?.ssl?.commonName, known?.ssl?.cipher, known?.ssl?.signatureAlgorithm])
      assert.match(text ?? '', /^.{3,}$/);
    assert.match(known?.ssl?.keyAlgorithm ?? '', /^[A-Z]+\d+$/);
    assert.equal(
      [unknown?.ssl?.encrypted, unknown?.ssl?.certificate, unknown?.ssl?.verified],
      [true, null, false],
    );
    assert.equal(known?.tlvs, []);
  });

  test('passes TLS through that ends at the server', async (context) => {
    const { served, headers } = await behindProxies(context, { tls: localhost });
    const port = await startHAProxy(context.defer, (front) => [
      `bind 127.0.0.1:${front}`,
      `server ours 127.0.0.1:${served.port} send-proxy-v2`,
    ]);
    await echoSecurely(port, context.defer);
    assert.is(headers.length, 1);
  });

  test('speaks for itself when it asks for health', async (context) => {
    const checked = signal<ProxyHeader | null>();
    const served = await serve(context, (stream) => checked.fire(stream.proxyHeader), {
      proxyProtocol: true,
    });
    await startHAProxy(context.defer, (front) => [
      `bind 127.0.0.1:${front}`,
      `server ours 127.0.0.1:${served.port} send-proxy-v2 check inter 100`,
    ]);
    const header = await within(10_000, checked.promise, 'a check');
    assert.equal([header?.command, header?.source], ['LOCAL', null]);
  });

  test('takes the headers of our encoder, of either version', async (context) => {
    const { served, headers } = await behindProxies(context);
    const port = await startHAProxy(context.defer, (front) => [
      `bind 127.0.0.1:${front} accept-proxy`,
      `server ours 127.0.0.1:${served.port} send-proxy-v2 proxy-v2-options authority`,
    ]);
    const more = { alpn: 'poem', authority: 'poems.example', uniqueId: Buffer.from('7'), crc32c: true };
    for (const options of [{ version: 1 as const }, {}, more]) {
      const header = encodeProxyHeader({ source: SOURCE, destination: DESTINATION, ...options });
      const client = new Client(await reach(port), context.defer).send(header).end('one\n');
      assert.is(await client.all(), '192.0.2.7:50007 at 198.51.100.1:443\none\n');
    }
    const local = new Client(await reach(port), context.defer);
    const itself = `127.0.0.1:${local.socket.localPort} at 127.0.0.1:${port}\none\n`;
    local.send(encodeProxyHeader({ command: 'LOCAL' })).end('one\n');
    assert.is(await local.all(), itself);
    assert.equal(
      headers.map((header) => header?.authority),
      [null, null, 'poems.example', null],
    );
  });
});

suite('nginx in front', { limitMs: 60_000 }, (test) => {
  test('says who the client is', async (context) => {
    const { served, headers } = await behindProxies(context);
    const port = await startNginx(
      context.defer,
      (front) => `listen 127.0.0.1:${front}; proxy_pass 127.0.0.1:${served.port}; proxy_protocol on;`,
    );
    await echo(port, context.defer);
    assert.equal(
      headers.map((header) => header?.version),
      [1],
    );
  });

  test('passes TLS through that ends at the server', async (context) => {
    const { served, headers } = await behindProxies(context, { tls: localhost });
    const port = await startNginx(
      context.defer,
      (front) => `listen 127.0.0.1:${front}; proxy_pass 127.0.0.1:${served.port}; proxy_protocol on;`,
    );
    await echoSecurely(port, context.defer);
    assert.is(headers.length, 1);
  });

  test('takes the headers of our encoder, of either version', async ({ defer }) => {
    const said =
      '$proxy_protocol_addr:$proxy_protocol_port at $proxy_protocol_server_addr:$proxy_protocol_server_port';
    const port = await startNginx(
      defer,
      (front) => `listen 127.0.0.1:${front} proxy_protocol; return "${said}";`,
    );
    for (const options of [{ version: 1 as const }, {}, { authority: 'poems.example', crc32c: true }]) {
      const header = encodeProxyHeader({ source: SOURCE, destination: DESTINATION, ...options });
      const client = new Client(await reach(port), defer).send(header);
      assert.is(await client.all(), '192.0.2.7:50007 at 198.51.100.1:443');
    }
  });
});
