/**
 * An echo server that logs one JSON object a line by pino: who comes and leaves, who is dropped, what fails.
 *
 *   node --import tsx examples/structured-log.ts [--port 7007] [--host 127.0.0.1] [--level info]
 *   printf 'hello\n' | nc -N 127.0.0.1 7007
 *
 * The server knows nothing of the log: that listens to the channels of `node:diagnostics_channel` on which
 * all loops, servers and clients of the process tell what they do. A line `throw` fails, to be seen there.
 */
import { parseArgs } from 'node:util';
import {
  type DiagnosedConnection,
  diagnostics,
  IOLoop,
  IOLoopError,
  type IOStream,
  SystemError,
  TCPServer,
} from 'ioloop';
import { type Logger, levels, pino } from 'pino';

const MAX_CONNECTIONS = 100;

/** Numbers that tell the connections of the log apart. */
const numbers = new WeakMap<DiagnosedConnection, number>();
let connections = 0;

function numberOf(connection: DiagnosedConnection): number {
  const number = numbers.get(connection) ?? ++connections;
  numbers.set(connection, number);
  return number;
}

/** Logs what happens from now on. */
function logTo(log: Logger): void {
  diagnostics.serverListening.subscribe(({ address }) => log.info({ address: `${address}` }, 'listening'));
  diagnostics.serverStopped.subscribe(({ address }) => log.info({ address: `${address}` }, 'stopped'));
  diagnostics.connectionOpened.subscribe(({ connection, address }) =>
    log.info({ connection: numberOf(connection), peer: `${address}` }, 'opened'),
  );
  diagnostics.connectionClosed.subscribe(({ connection, address }) => {
    const { bytesRead, bytesWritten, error: err } = connection;
    const entry = { connection: numberOf(connection), peer: `${address}`, bytesRead, bytesWritten };
    if (err) log.warn({ ...entry, err }, 'broken');
    else log.info(entry, 'closed');
  });
  diagnostics.connectionDropped.subscribe(({ reason, address }) =>
    log.warn({ peer: `${address}`, reason }, 'dropped'),
  );
  diagnostics.error.subscribe(({ error: err, connection }) =>
    log.error({ connection: connection ? numberOf(connection) : undefined, err }, 'failed'),
  );
}

async function echo(stream: IOStream): Promise<void> {
  for (;;) {
    const line = await stream.readUntil('\n');
    if (line.toString() === 'throw\n') throw new Error('asked for');
    await stream.write(line);
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '7007' },
      host: { type: 'string', default: '127.0.0.1' },
      level: { type: 'string', default: 'info' },
    },
  });
  if (!Object.values(levels.labels).includes(values.level))
    throw new TypeError(`--level must be one of ${Object.values(levels.labels).join(', ')}`);
  logTo(pino({ level: values.level }));
  await using loop = new IOLoop();
  // What a handler throws is in the log already.
  const server = new TCPServer(echo, { maxConnections: MAX_CONNECTIONS, onError: () => {} });
  await server.listen(Number(values.port), values.host);
  process.once('SIGINT', () => loop.stop()).once('SIGTERM', () => loop.stop());
  await loop.start();
}

main().catch((error: unknown) => {
  const known = error instanceof SystemError || error instanceof TypeError || IOLoopError.is(error);
  console.error(known ? error.message : error);
  process.exitCode = 1;
});
