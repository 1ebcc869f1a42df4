import * as assert from 'uvu/assert';

import { type Datagram, type DatagramOptions, DatagramSocket } from '../../src/index.ts';
import type { TestContext } from './suite.ts';
import { within } from './within.ts';

/** Of a socket whose type goes without saying. */
export type SocketOptions = Partial<DatagramOptions>;

/** UDP sockets on a test's loop, closed with the test: which fails when one tells of an error that it does not expect. */
export class UdpSockets {
  readonly #context: TestContext;
  readonly #unexpected: Error[] = [];

  constructor(context: TestContext) {
    this.#context = context;
    context.defer(() => assert.equal(this.#unexpected.map(String), [], 'errors that nobody expected'));
  }

  /** One that is neither bound nor connected; 'udp4' unless `options` say otherwise. */
  open(options: SocketOptions = {}): DatagramSocket {
    const onError = (error: Error): void => void this.#unexpected.push(error);
    return this.adopt(new DatagramSocket({ type: 'udp4', loop: this.#context.loop, onError, ...options }));
  }

  /** One that is bound to a free port, of the loopback address unless `host` says otherwise. */
  async bind(options: SocketOptions = {}, host = loopbackOf(options)): Promise<DatagramSocket> {
    const socket = this.open(options);
    await within(2_000, socket.bind(0, host), 'the port');
    return socket;
  }

  /** A bound socket, and another one that is connected to it. */
  async pair(options: SocketOptions = {}, clientOptions: SocketOptions = options): Promise<UdpPair> {
    const server = await this.bind(options);
    const client = this.open(clientOptions);
    await within(2_000, client.connect(server.local.port, server.local.address), 'the connect');
    return { server, client };
  }

  /** Closes `socket` with the test. Returns it. */
  adopt(socket: DatagramSocket): DatagramSocket {
    this.#context.defer(() => socket.close());
    return socket;
  }
}

export interface UdpPair {
  readonly server: DatagramSocket;
  readonly client: DatagramSocket;
}

function loopbackOf({ type }: SocketOptions): string {
  return type === 'udp6' ? '::1' : '127.0.0.1';
}

/** What comes one by one, and is waited for. */
export class Arrivals<T> {
  readonly all: T[] = [];
  #wanted = 0;
  #arrived: () => void = () => {};

  readonly add = (item: T): void => {
    this.all.push(item);
    if (this.all.length >= this.#wanted) this.#arrived();
  };

  /** All that have come, once they are `count`. */
  async first(count: number, what: string): Promise<readonly T[]> {
    if (this.all.length < count) {
      this.#wanted = count;
      const arrived = new Promise<void>((resolve) => {
        this.#arrived = resolve;
      });
      await within(5_000, arrived, `${count} ${what}`);
    }
    return this.all;
  }
}

/** The next `count` datagrams. */
export async function receive(socket: DatagramSocket, count: number): Promise<readonly Datagram[]> {
  const received: Datagram[] = [];
  const iterate = async (): Promise<void> => {
    for await (const datagram of socket) if (received.push(datagram) === count) return;
  };
  await within(5_000, iterate(), `${count} datagrams`);
  return received;
}

/** Their bytes, as text. */
export function textsOf(datagrams: readonly { readonly data: Uint8Array }[]): string[] {
  return datagrams.map(({ data }) => Buffer.from(data).toString());
}

/** A port of the loopback address that nobody is bound to, so that ICMP answers what is sent there. */
export async function closedPort(sockets: UdpSockets): Promise<number> {
  const socket = await sockets.bind();
  const { port } = socket.local;
  await socket.close();
  return port;
}

/** The rejection of `promise`. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  const outcome = promise.then(
    () => new Error('it did not reject'),
    (error: unknown) => error,
  );
  return within(5_000, outcome, 'the rejection');
}

/** The code of an error of the kernel's or of ours. */
export function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : error;
}
