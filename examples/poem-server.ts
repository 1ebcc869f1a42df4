/**
 * Poems, slowly: each file on a port of its own, a few bytes at a time, by one loop.
 *
 *   node --import tsx examples/poem-server.ts [--port 10001] [--host 127.0.0.1 ...] [--bytes 10] [--pause-ms 100]
 *     [poem.txt ...]
 *   nc 127.0.0.1 10001
 *
 * After the Twisted introduction of Dave Peticolas (krondo). The poems are read when the first of their ports
 * listens. Ctrl-C stops listening, and those who are in the middle of a poem hear it to its end.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { IOLoop, type TimerHandle } from 'ioloop';
import { Factory, type ListeningPort, listenTcp, type Producer, Protocol } from 'ioloop/protocol';

const OURS = fileURLToPath(new URL('poems/', import.meta.url));

/** How fast poems are recited. */
interface Pace {
  readonly bytes: number;
  /** Before each piece. */
  readonly pauseMs: number;
}

/** Recites the poem of its factory to one listener. */
class Recital extends Protocol implements Producer {
  declare factory: Poem;
  #at = 0;
  #pause: TimerHandle | null = null;

  override connectionMade(): void {
    // Pull: it is asked for a piece when the one before has left, and so is never ahead of its listener.
    this.transport.registerProducer(this, false);
  }

  resumeProducing(): void {
    this.#pause = IOLoop.current().callLater(this.factory.pace.pauseMs, () => this.#recite());
  }

  /** Does nothing: it recites what it is asked for. */
  pauseProducing(): void {}

  stopProducing(): void {
    this.#pause?.cancel();
  }

  #recite(): void {
    const { text, pace } = this.factory;
    const piece = text.subarray(this.#at, this.#at + pace.bytes);
    this.#at += piece.length;
    this.transport.write(piece);
    if (this.#at < text.length) return;
    this.transport.unregisterProducer();
    this.transport.loseConnection();
  }

  override connectionLost(): void {
    const { title, text } = this.factory;
    console.log(`${title}: ${this.transport.getPeer()} heard ${this.#at} of ${text.length} bytes`);
  }
}

/** A poem, on all its ports. */
class Poem extends Factory {
  readonly path: string;
  readonly pace: Pace;
  text: Buffer = Buffer.alloc(0);
  override protocol = Recital;

  constructor(path: string, pace: Pace) {
    super();
    this.path = path;
    this.pace = pace;
  }

  get title(): string {
    return basename(this.path, '.txt');
  }

  override startFactory(): void {
    this.text = readFileSync(this.path);
  }

  override stopFactory(): void {
    console.log(`${this.title}: no more`);
  }
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      port: { type: 'string', default: '10001' },
      host: { type: 'string', multiple: true, default: ['127.0.0.1'] },
      bytes: { type: 'string', default: '10' },
      'pause-ms': { type: 'string', default: '100' },
    },
  });
  const pace = { bytes: Number(values.bytes), pauseMs: Number(values['pause-ms']) };
  if (!(pace.bytes >= 1)) throw new RangeError('--bytes must be a number from 1');
  const first = Number(values.port);
  const paths = positionals.length > 0 ? positionals : readdirSync(OURS).map((name) => join(OURS, name));
  const poems = paths.map((path) => new Poem(path, pace));
  const ports: ListeningPort[] = [];
  const stop = (): void => {
    for (const port of ports) void port.stopListening();
  };
  // Without start() the process lives as long as somebody listens, to a port or to a poem.
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    for (const [index, poem] of poems.entries())
      for (const host of values.host) {
        const port = await listenTcp(first === 0 ? 0 : first + index, poem, { interface: host });
        ports.push(port);
        console.log(`${poem.title}: ${port.getHost()}`);
      }
  } catch (error) {
    stop();
    throw error;
  }
}

main().catch((error: unknown) => {
  const known = error instanceof RangeError || (error instanceof Error && 'code' in error);
  console.error(known ? error.message : error);
  process.exitCode = 1;
});
