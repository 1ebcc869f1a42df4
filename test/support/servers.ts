import type { AddressInfo } from 'node:net';

import { type Address, type ServerOptions, type StreamHandler, TCPServer } from '../../src/index.ts';
import { type Client, connectTo } from './clients.ts';
import { signal } from './driven.ts';
import type { TestContext } from './suite.ts';
import { within } from './within.ts';

/** A TCP server on IPv4's loopback, and what it tells. */
export class Served {
  readonly server: TCPServer;
  /** What went to onError. */
  readonly errors: unknown[] = [];
  /** What went to onDrop. */
  readonly drops: string[] = [];
  port = 0;
  readonly #defer: TestContext['defer'];
  #onTold = signal();

  constructor({ loop, defer }: TestContext, handler: StreamHandler, options: ServerOptions) {
    this.#defer = defer;
    this.server = new TCPServer(handler, {
      loop,
      onError: (error) => {
        this.errors.push(error);
        this.#onTold.fire();
      },
      onDrop: (reason) => {
        this.drops.push(reason);
        this.#onTold.fire();
      },
      ...options,
    });
    defer(() => this.server.close({ graceMs: 0 }));
  }

  connect(): Client {
    return connectTo({ host: '127.0.0.1', port: this.port }, this.#defer);
  }

  /** Waits until `done` holds after something was told. */
  async told(done: () => boolean): Promise<void> {
    while (!done()) {
      this.#onTold = signal();
      await within(5_000, this.#onTold.promise, 'a call of onError or onDrop');
    }
  }
}

/** Serves with `handler` on a port of its own. */
export async function serve(
  context: TestContext,
  handler: StreamHandler,
  options: ServerOptions = {},
): Promise<Served> {
  const served = new Served(context, handler, options);
  served.port = portOf(await served.server.listen(0, '127.0.0.1'));
  return served;
}

/** The port of an address that has one. */
export function portOf(address: Address | AddressInfo | string | null): number {
  if (typeof address === 'object' && address !== null && 'port' in address) return address.port;
  throw new Error(`${address} has no port`);
}
