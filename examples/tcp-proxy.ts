/**
 * Forwards TCP connections, both ways.
 *
 *   node --import tsx examples/tcp-proxy.ts --to example.org:80 [--port 7004] [--host 127.0.0.1]
 *
 * Either side is read as fast as the other takes it. The end of one half is passed on and leaves the
 * other half open; a reset is passed on as a reset.
 */
import { parseArgs } from 'node:util';
import { IOLoop, IOLoopError, IOStream, SystemError, TCPServer } from 'ioloop';

const STREAMS = { allowHalfOpen: true, idleTimeoutMs: 300_000 };

async function forward(from: IOStream, to: IOStream): Promise<void> {
  for await (const chunk of from) await to.write(chunk);
  await to.end();
}

/** Serves one client; what it rejects with, the server reports: one line on stderr. */
async function proxy(client: IOStream, target: { host: string; port: number }): Promise<void> {
  const upstream = await IOStream.connect(target, { ...STREAMS, timeoutMs: 10_000 });
  try {
    await Promise.all([forward(client, upstream), forward(upstream, client)]);
  } catch (error) {
    client.abort();
    upstream.abort();
    throw error;
  }
}

function parseTarget(text: string | undefined): { host: string; port: number } {
  const [, host, port] = /^\[?([^[\]]+)\]?:(\d{1,5})$/.exec(text ?? '') ?? [];
  if (host !== undefined && Number(port) < 65536) return { host, port: Number(port) };
  throw new TypeError('--to must be HOST:PORT');
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      to: { type: 'string' },
      port: { type: 'string', default: '7004' },
      host: { type: 'string', default: '127.0.0.1' },
    },
  });
  const target = parseTarget(values.to);
  await using loop = new IOLoop();
  const server = new TCPServer((client) => proxy(client, target), STREAMS);
  const address = await server.listen(Number(values.port), values.host);
  console.log(`forwarding from ${address} to ${values.to}`);
  process.once('SIGINT', () => loop.stop()).once('SIGTERM', () => loop.stop());
  await loop.start();
}

main().catch((error: unknown) => {
  const known = error instanceof SystemError || error instanceof TypeError || IOLoopError.is(error);
  console.error(known ? error.message : error);
  process.exitCode = 1;
});
