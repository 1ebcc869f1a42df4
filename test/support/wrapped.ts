import { type Address, toAddress } from '../../src/address.ts';
import type { IOLoop, LoopOptions } from '../../src/index.ts';
import { Factory, Protocol, type Reason } from '../../src/protocol/index.ts';
import { StreamTransport } from '../../src/protocol/stream-transport.ts';
import { IOStream } from '../../src/stream/io-stream.ts';
import type { SimNetwork, SimOptions } from '../../src/testing/sim.ts';
import { signal } from './driven.ts';
import { simNetwork } from './sim.ts';
import type { TestContext } from './suite.ts';
import { within } from './within.ts';

/** A protocol that notes what it is told. */
export class Noting extends Protocol {
  readonly calls: string[] = [];
  text = '';
  reason: Reason | null = null;
  #onCall = signal();

  override connectionMade(): void {
    this.note('made');
  }

  override dataReceived(data: Buffer): void {
    this.text += data.toString('latin1');
    this.note('received');
  }

  override connectionLost(reason: Reason): void {
    this.reason = reason;
    this.note('lost');
  }

  protected note(call: string): void {
    if (call !== 'received' || this.calls.at(-1) !== call) this.calls.push(call);
    this.#onCall.fire();
  }

  /** Waits until `done` holds after a call. */
  async told(done: () => boolean): Promise<void> {
    while (!done()) {
      this.#onCall = signal();
      await within(5_000, this.#onCall.promise, `a call after ${this.calls}`);
    }
  }

  /** Why it is over, once it is. */
  async lost(): Promise<Reason | null> {
    await this.told(() => this.reason !== null);
    return this.reason;
  }
}

/** Answers what it hears. */
export class Echoing extends Noting {
  override dataReceived(data: Buffer): void {
    super.dataReceived(data);
    this.transport.write(data);
  }
}

/** A factory that remembers the protocols that it has built. */
export class Remembering<P extends Protocol> extends Factory {
  readonly built: P[] = [];
  readonly calls: string[] = [];
  readonly #make: () => P;

  constructor(make: () => P) {
    super();
    this.#make = make;
  }

  override startFactory(): void {
    this.calls.push('start');
  }

  override stopFactory(): void {
    this.calls.push('stop');
  }

  override buildProtocol(): P {
    const protocol = this.#make();
    protocol.factory = this;
    this.built.push(protocol);
    return protocol;
  }

  /** The last one. */
  get last(): P {
    const last = this.built.at(-1);
    if (last === undefined) throw new Error('the factory has built no protocol');
    return last;
  }
}

/** An IP address, as a connection has one. */
export function ipAddress(address: string): Address {
  return toAddress({ address, port: 4711 });
}

/** A simulated network with one loop, and connections whose other end is a plain stream. */
export class SimHost {
  readonly network: SimNetwork;
  readonly loop: IOLoop;
  readonly #peers: IOStream[] = [];

  constructor(context: TestContext, options?: Pick<LoopOptions, 'onError'>, network?: SimOptions) {
    this.network = simNetwork(context, network);
    this.loop = this.network.createLoop(options);
  }

  /** The peer of a connection whose protocol `factory` builds; null: it is refused. */
  connect(factory: Factory, from = '192.0.2.1'): IOStream | null {
    const protocol = factory.buildProtocol(ipAddress(from));
    if (protocol === null) return null;
    const [near, far] = this.network.connectPair();
    const peer = IOStream.fromFd(far, { loop: this.loop, allowHalfOpen: true });
    this.#peers.push(peer);
    StreamTransport.connect(IOStream.fromFd(near, { loop: this.loop }), protocol);
    return peer;
  }

  /** As {@link connect}, of one that is not refused. */
  open(factory: Factory, from?: string): IOStream {
    const peer = this.connect(factory, from);
    if (peer === null) throw new Error('the connection was refused');
    return peer;
  }

  /** Runs `body`, then resets all that is open, and gives those who are paused the time to hear of it. */
  async run(body: () => Promise<void>): Promise<void> {
    await this.network.run(body);
    for (const peer of this.#peers) peer.abort();
    await this.network.advance(60_000);
  }

  /** Milliseconds of the virtual clock that `body` takes. */
  async timeOf(body: () => Promise<unknown>): Promise<number> {
    const beginMs = this.loop.time();
    await body();
    return this.loop.time() - beginMs;
  }

  /** Waits for `delayMs` of the virtual clock, inside {@link run}. */
  pass(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.loop.callLater(delayMs, resolve));
  }
}
