/**
 * Spreads TCP connections over several servers: each goes to the one that has the fewest.
 *
 *   node --import tsx examples/tcp-load-balancer.ts --to 10.0.0.1:80 --to 10.0.0.2:80 [--port 7009] [--host 127.0.0.1]
 *     [--plain] [--retry-ms 10000]
 *
 * A server learns who its client is by a PROXY header of version 2, unless --plain. One that refuses is
 * left alone for a while, and its client gets another one. Either side is read as fast as the other takes it;
 * the end of one half is passed on as that, and a reset as a reset.
 */
import { parseArgs } from 'node:util';
import { encodeProxyHeader, IOLoop, IOLoopError, SystemError } from 'ioloop';
import {
  ClientFactory,
  ConnectionDone,
  type Connector,
  connectTcp,
  Factory,
  listenTcp,
  Protocol,
  type Reason,
} from 'ioloop/protocol';

/** A server that connections can go to. */
interface Target {
  readonly host: string;
  readonly port: number;
  connections: number;
  /** By the clock of the loop: until then it is asked last. */
  restsUntil: number;
}

/** One of the two connections of a client: to it, and to its server. */
class Side extends Protocol {
  other: Side | null = null;

  /** What one receives the other sends, from now on. */
  static join(one: Side, other: Side): void {
    one.other = other;
    other.other = one;
    // Told to pause when the other has more to send than it gets rid of.
    other.transport.registerProducer(one.transport, true);
    one.transport.registerProducer(other.transport, true);
  }

  override dataReceived(data: Buffer): void {
    this.other?.transport.write(data);
  }

  override readConnectionLost(): void {
    this.other?.transport.loseWriteConnection();
  }

  override connectionLost(reason: Reason): void {
    const { other } = this;
    this.other = null;
    if (other === null) return;
    other.other = null;
    other.transport.unregisterProducer();
    if (reason instanceof ConnectionDone) other.transport.loseConnection();
    else other.transport.abortConnection();
  }
}

/** The connection to a client, which waits until there is one to a server. */
class ClientSide extends Side {
  readonly #balancer: Balancer;
  #connector: Connector | null = null;

  constructor(balancer: Balancer) {
    super();
    this.#balancer = balancer;
  }

  override connectionMade(): void {
    this.transport.pauseProducing();
    this.connect(this.#balancer.targets);
  }

  /** Connects to the best of `targets`, and if that refuses, to another one. */
  connect(targets: readonly Target[]): void {
    const target = this.#balancer.choose(targets);
    if (target === null) {
      console.error(`no server for ${this.transport.getPeer()}`);
      this.transport.abortConnection();
      return;
    }
    const others = targets.filter((one) => one !== target);
    const factory = new ServerSideFactory(this, target, this.#balancer, others);
    this.#connector = connectTcp(target.host, target.port, factory, { timeoutMs: 5_000 });
  }

  override connectionLost(reason: Reason): void {
    super.connectionLost(reason);
    // Also when it connects: the client did not wait.
    this.#connector?.disconnect();
  }
}

/** The connection to the server of one client. */
class ServerSide extends Side {
  readonly #client: ClientSide;
  readonly #sendsHeader: boolean;

  constructor(client: ClientSide, sendsHeader: boolean) {
    super();
    this.#client = client;
    this.#sendsHeader = sendsHeader;
  }

  override connectionMade(): void {
    const client = this.#client.transport;
    if (this.#sendsHeader)
      this.transport.write(encodeProxyHeader({ source: client.getPeer(), destination: client.getHost() }));
    Side.join(this.#client, this);
    client.resumeProducing();
  }
}

class ServerSideFactory extends ClientFactory {
  readonly #client: ClientSide;
  readonly #target: Target;
  readonly #balancer: Balancer;
  readonly #others: readonly Target[];

  constructor(client: ClientSide, target: Target, balancer: Balancer, others: readonly Target[]) {
    super();
    this.#client = client;
    this.#target = target;
    this.#balancer = balancer;
    this.#others = others;
  }

  override startFactory(): void {
    this.#target.connections++;
  }

  override stopFactory(): void {
    this.#target.connections--;
  }

  override buildProtocol(): Protocol | null {
    return this.#client.transport.disconnecting
      ? null
      : new ServerSide(this.#client, this.#balancer.sendsHeader);
  }

  override clientConnectionFailed(_connector: Connector, reason: Error): void {
    if (this.#client.transport.disconnecting) return;
    this.#balancer.rest(this.#target, reason);
    this.#client.connect(this.#others);
  }
}

/** Makes a {@link ClientSide} for every client, and knows the servers. */
class Balancer extends Factory {
  readonly targets: Target[];
  readonly sendsHeader: boolean;
  readonly #loop: IOLoop;
  readonly #retryMs: number;

  constructor(targets: Target[], sendsHeader: boolean, loop: IOLoop, retryMs: number) {
    super();
    this.targets = targets;
    this.sendsHeader = sendsHeader;
    this.#loop = loop;
    this.#retryMs = retryMs;
  }

  override buildProtocol(): Protocol {
    return new ClientSide(this);
  }

  /** The one of `targets` with the fewest connections; those that rest only when there is no other. */
  choose(targets: readonly Target[]): Target | null {
    const now = this.#loop.time();
    const rests = ({ restsUntil }: Target): number => (restsUntil > now ? 1 : 0);
    const [best = null] = [...targets].sort(
      (one, other) => rests(one) - rests(other) || one.connections - other.connections,
    );
    if (best !== null) this.#moveToEnd(best);
    return best;
  }

  rest(target: Target, reason: Error): void {
    if (target.restsUntil <= this.#loop.time())
      console.error(`${target.host}:${target.port} rests: ${reason.message}`);
    target.restsUntil = this.#loop.time() + this.#retryMs;
  }

  /** Of those that have equally many, the one that was chosen least recently is the first. */
  #moveToEnd(target: Target): void {
    this.targets.splice(this.targets.indexOf(target), 1);
    this.targets.push(target);
  }
}

function parseTarget(text: string): Target {
  const [, host, port] = /^\[?([^[\]]+)\]?:(\d{1,5})$/.exec(text) ?? [];
  if (host !== undefined && Number(port) < 65536)
    return { host, port: Number(port), connections: 0, restsUntil: 0 };
  throw new TypeError('--to must be HOST:PORT');
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      to: { type: 'string', multiple: true },
      port: { type: 'string', default: '7009' },
      host: { type: 'string', default: '127.0.0.1' },
      plain: { type: 'boolean', default: false },
      'retry-ms': { type: 'string', default: '10000' },
    },
  });
  if (values.to === undefined) throw new TypeError('--to must be HOST:PORT');
  await using loop = new IOLoop();
  const targets = values.to.map(parseTarget);
  const balancer = new Balancer(targets, !values.plain, loop, Number(values['retry-ms']));
  const port = await listenTcp(Number(values.port), balancer, {
    interface: values.host,
    idleTimeoutMs: 300_000,
  });
  console.log(`balancing from ${port.getHost()} to ${values.to.join(', ')}`);
  process.once('SIGINT', () => loop.stop()).once('SIGTERM', () => loop.stop());
  await loop.start();
}

main().catch((error: unknown) => {
  const known = error instanceof SystemError || error instanceof TypeError || IOLoopError.is(error);
  console.error(known ? error.message : error);
  process.exitCode = 1;
});
