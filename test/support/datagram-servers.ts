import { type DatagramSocket, type UDPHandler, UDPServer, type UDPServerOptions } from '../../src/index.ts';
import { Arrivals, receive, UdpSockets } from './datagrams.ts';
import type { TestContext } from './suite.ts';
import { within } from './within.ts';

/** What a server tells. */
export class Told {
  /** What went to onError. */
  readonly errors = new Arrivals<unknown>();
  /** What went to onDrop. */
  readonly drops = new Arrivals<string>();
  readonly options = {
    onError: (error: unknown): void => this.errors.add(error),
    onDrop: (reason: string): void => this.drops.add(reason),
  };
}

/** A UDP server on IPv4's loopback, what it tells, and its clients. */
export class ServedUdp extends Told {
  readonly server: UDPServer;
  readonly sockets: UdpSockets;
  port = 0;

  constructor(context: TestContext, handler: UDPHandler, options: UDPServerOptions) {
    super();
    this.sockets = new UdpSockets(context);
    this.server = new UDPServer(handler, { loop: context.loop, ...this.options, ...options });
    context.defer(() => this.server.close({ graceMs: 0 }));
  }

  /** A client that is connected to `host`. */
  async connect(host = '127.0.0.1'): Promise<DatagramSocket> {
    const client = this.sockets.open({ type: host.includes(':') ? 'udp6' : 'udp4' });
    await within(2_000, client.connect(this.port, host), 'the connect');
    return client;
  }
}

/** Serves with `handler` on a port of its own. */
export async function serveUdp(
  context: TestContext,
  handler: UDPHandler,
  options: UDPServerOptions = {},
): Promise<ServedUdp> {
  const served = new ServedUdp(context, handler, options);
  served.port = (await served.server.listen(0, '127.0.0.1')).port;
  return served;
}

/** What `client` is answered. */
export async function ask(client: DatagramSocket, question: string): Promise<string> {
  void client.send(question);
  return heard(client);
}

/** The next datagram that `client` gets. */
export async function heard(client: DatagramSocket): Promise<string> {
  const [answer] = await receive(client, 1);
  return String(answer?.data);
}
