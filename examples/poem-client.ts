/**
 * Downloads poems from many servers at once, and prints them in order, with how long each took.
 *
 *   node --import tsx examples/poem-client.ts [--deadline-ms 60000] 10001 10002 poems.example:10003 ...
 *
 * A server that refuses, hangs up in the middle or is not done in time is told, and keeps no other from being
 * heard: the exit code is 1 then. The end of a poem is the end of its connection, so that only a reset
 * tells that it was cut off.
 */
import { parseArgs } from 'node:util';
import { IOLoop, TimeoutError, type TimerHandle } from 'ioloop';
import {
  ClientFactory,
  ConnectionDone,
  type Connector,
  connectTcp,
  Protocol,
  type Reason,
} from 'ioloop/protocol';

const MAX_BYTES = 1024 * 1024;

interface Place {
  readonly host: string;
  readonly port: number;
}

/** Listens until the server hangs up. */
class Listener extends Protocol {
  declare factory: Download;
  readonly #pieces: Buffer[] = [];
  #bytes = 0;

  override dataReceived(data: Buffer): void {
    this.#pieces.push(Buffer.from(data));
    this.#bytes += data.length;
    if (this.#bytes <= MAX_BYTES) return;
    this.factory.onError(new RangeError(`it is longer than ${MAX_BYTES} bytes`));
    this.transport.abortConnection();
  }

  override connectionLost(reason: Reason): void {
    if (reason instanceof ConnectionDone) this.factory.onPoem(Buffer.concat(this.#pieces));
    else this.factory.onError(new Error(`cut off after ${this.#bytes} bytes, ${reason.message}`));
  }
}

/** One poem from one server, within a deadline. The first of its calls counts. */
class Download extends ClientFactory {
  override protocol = Listener;
  readonly onPoem: (poem: Buffer) => void;
  readonly onError: (error: Error) => void;
  readonly #deadlineMs: number;
  #deadline: TimerHandle | null = null;

  constructor(deadlineMs: number, onPoem: (poem: Buffer) => void, onError: (error: Error) => void) {
    super();
    this.#deadlineMs = deadlineMs;
    this.onPoem = onPoem;
    this.onError = onError;
  }

  override startedConnecting(connector: Connector): void {
    this.#deadline = connector.loop.callLater(this.#deadlineMs, () => {
      this.onError(new TimeoutError(`not done within ${this.#deadlineMs} ms`));
      connector.disconnect();
    });
  }

  override clientConnectionFailed(_connector: Connector, reason: Error): void {
    this.onError(reason);
  }

  override stopFactory(): void {
    this.#deadline?.cancel();
  }
}

function download({ host, port }: Place, deadlineMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    connectTcp(host, port, new Download(deadlineMs, resolve, reject));
  });
}

function parsePlace(text: string): Place {
  const [, host = '127.0.0.1', port] = /^(?:\[?([^[\]]+)\]?:)?(\d{1,5})$/.exec(text) ?? [];
  if (port !== undefined && Number(port) < 65536) return { host, port: Number(port) };
  throw new TypeError(`[HOST:]PORT is wanted, not ${JSON.stringify(text)}`);
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { 'deadline-ms': { type: 'string', default: '60000' } },
  });
  const places = positionals.map(parsePlace);
  if (places.length === 0) throw new TypeError('which servers? [HOST:]PORT ...');
  const loop = IOLoop.current();
  const startedMs = loop.time();
  const elapsed = (): string => `${(loop.time() - startedMs).toFixed(0)} ms`;
  const downloads = places.map(async (place) => {
    const poem = await download(place, Number(values['deadline-ms']));
    return `-- ${place.host}:${place.port}: ${poem.length} bytes in ${elapsed()}\n${poem}`;
  });
  let heard = 0;
  for (const [index, outcome] of (await Promise.allSettled(downloads)).entries()) {
    if (outcome.status === 'fulfilled') {
      heard++;
      console.log(outcome.value);
    } else console.error(`-- ${positionals[index]}: ${outcome.reason.message}`);
  }
  console.log(`${heard} of ${places.length} poems in ${elapsed()}`);
  if (heard < places.length) process.exitCode = 1;
}

main().catch((error: unknown) => {
  const known = error instanceof TypeError || (error instanceof Error && 'code' in error);
  console.error(known ? error.message : error);
  process.exitCode = 1;
});
