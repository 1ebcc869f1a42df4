/**
 * Prints the lines of a server, through all its restarts.
 *
 *   node --import tsx examples/reconnecting-client.ts [--delay-ms 1000] [--max-delay-ms 60000] [--retries 10]
 *     127.0.0.1:7012
 *   while true; do date | nc -N -l 127.0.0.1 7012; done
 *
 * Each attempt waits longer than the one before, up to the maximum. A line proves a connection good, and the
 * next attempt is the first again; a server that accepts and hangs up proves nothing.
 */
import { parseArgs } from 'node:util';
import { IOLoop } from 'ioloop';
import {
  type Connector,
  connectTcp,
  LineOnlyReceiver,
  type Reason,
  ReconnectingClientFactory,
} from 'ioloop/protocol';

class Follower extends LineOnlyReceiver {
  declare factory: FollowerFactory;
  override delimiter = '\n';

  override lineReceived(line: Buffer): void {
    this.factory.resetDelay();
    console.log(`> ${line}`);
  }
}

class FollowerFactory extends ReconnectingClientFactory {
  override protocol = Follower;
  readonly #onStop: () => void;

  /** @param onStop It was told to stop, or has given up. */
  constructor(onStop: () => void) {
    super();
    this.#onStop = onStop;
  }

  override startedConnecting(connector: Connector): void {
    console.log(`connecting to ${connector.getDestination()}, retry ${this.retries}`);
    super.startedConnecting(connector);
  }

  override clientConnectionFailed(connector: Connector, reason: Error): void {
    console.log(`failed: ${reason.message}`);
    super.clientConnectionFailed(connector, reason);
  }

  override clientConnectionLost(connector: Connector, reason: Reason): void {
    console.log(`lost: ${reason.message}`);
    super.clientConnectionLost(connector, reason);
  }

  override stopFactory(): void {
    this.#onStop();
  }
}

function parsePlace(text = ''): { host: string; port: number } {
  const [, host, port] = /^\[?([^[\]]+)\]?:(\d{1,5})$/.exec(text) ?? [];
  if (host !== undefined && Number(port) < 65536) return { host, port: Number(port) };
  throw new TypeError('which server? HOST:PORT');
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      'delay-ms': { type: 'string', default: '1000' },
      'max-delay-ms': { type: 'string', default: '60000' },
      retries: { type: 'string', default: '10' },
    },
  });
  const { host, port } = parsePlace(positionals[0]);
  await using loop = new IOLoop();
  const factory = new FollowerFactory(() => loop.stop());
  factory.initialDelayMs = Number(values['delay-ms']);
  factory.maxDelayMs = Number(values['max-delay-ms']);
  factory.maxRetries = Number(values.retries);
  const connector = connectTcp(host, port, factory, { timeoutMs: 10_000 });
  let interrupted = false;
  const stop = (): void => {
    interrupted = true;
    factory.stopTrying();
    connector.disconnect();
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  await loop.start();
  if (interrupted) return;
  console.error(`gave up after ${factory.retries} retries`);
  process.exitCode = 1;
}

main().catch((error: unknown) => {
  const known = error instanceof TypeError || (error instanceof Error && 'code' in error);
  console.error(known ? error.message : error);
  process.exitCode = 1;
});
