import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

import { portOf } from './servers.ts';
import type { TestContext } from './suite.ts';
import { within } from './within.ts';

/** A server of another make than ours: Node's own, on IPv4's loopback. It ends with the test. */
export class NodeServer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(onSocket: (socket: Socket) => unknown) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket.on('error', () => {}));
      onSocket(socket);
    });
  }

  /** @param port 0: any free one. */
  static async listen(
    defer: TestContext['defer'],
    onSocket: (socket: Socket) => unknown,
    port = 0,
  ): Promise<NodeServer> {
    const server = new NodeServer(onSocket);
    defer(() => server.close());
    server.#server.listen(port, '127.0.0.1');
    await within(5_000, once(server.#server, 'listening'), 'a server');
    return server;
  }

  get port(): number {
    return portOf(this.#server.address());
  }

  /** Connections that there have been. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Destroys the connections, and frees the port. */
  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    if (!this.#server.listening) return;
    this.#server.close();
    await within(5_000, once(this.#server, 'close'), 'the end of a server');
  }
}

/** A port where nobody listens. */
export async function deadPort(defer: TestContext['defer']): Promise<number> {
  const server = await NodeServer.listen(defer, () => {});
  const { port } = server;
  await server.close();
  return port;
}
