// Programs as people write them who know socketserver: compiled, not run.
import {
  type Address,
  BaseRequestHandler,
  type BaseServer,
  type Chunk,
  DatagramRequestHandler,
  type DatagramSocket,
  type InetAddress,
  type IOStream,
  type RequestHandlerClass,
  SeqpacketServer,
  type SeqpacketSocket,
  StreamRequestHandler,
  TCPServer,
  type UDPRequest,
  UDPServer,
  type UnixAddress,
  type UnixDatagramRequest,
  UnixDatagramServer,
  UnixServer,
} from '../../src/index.ts';
import { exactly } from './exactly.ts';

/** One that overrides every hook. */
export class EveryHook extends TCPServer {
  hits = 0;

  protected override verifyRequest(address: Address): boolean | Promise<boolean> {
    return address.family !== 'Unix' && super.verifyRequest(address);
  }

  protected override async processRequest(stream: IOStream, address: Address): Promise<void> {
    await super.processRequest(stream, address);
  }

  protected override finishRequest(stream: IOStream, address: Address): void | Promise<void> {
    return super.finishRequest(stream, address);
  }

  protected override handleError(error: unknown, stream: IOStream): void {
    exactly<unknown>()(error);
    void stream.close();
  }

  protected override handleTimeout(): void {}

  protected override async serviceActions(): Promise<void> {}

  protected override async shutdownRequest(stream: IOStream, cause?: Error): Promise<void> {
    await stream.end();
    await stream.close(cause);
  }
}

export class EveryDatagramHook extends UDPServer {
  protected override verifyRequest(address: InetAddress, request: UDPRequest): boolean | Promise<boolean> {
    return request.data.length > 0 && super.verifyRequest(address, request);
  }

  protected override processRequest(request: UDPRequest, address: InetAddress): void | Promise<void> {
    return super.processRequest(request, address);
  }

  protected override handleError(error: unknown, request: UDPRequest | null): void | Promise<void> {
    return super.handleError(error, request);
  }

  protected override shutdownRequest(_request: UDPRequest): void {}
}

export class Lines extends StreamRequestHandler {
  declare readonly server: EveryHook;

  override setup(): void {
    this.server.hits++;
  }

  async handle(): Promise<void> {
    exactly<IOStream>()(this.request);
    exactly<IOStream>()(this.connection);
    exactly<Address>()(this.clientAddress);
    await this.request.write('+');
  }
}

export class Datagrams extends DatagramRequestHandler {
  handle(): void {
    exactly<UDPRequest>()(this.request);
    exactly<InetAddress>()(this.clientAddress);
    exactly<Chunk>()(this.packet);
    exactly<DatagramSocket>()(this.socket);
    exactly<BaseServer>()(this.server);
    this.write(this.packet);
    this.write('text');
  }
}

export class UnixDatagrams extends DatagramRequestHandler<UnixDatagramRequest> {
  async handle(): Promise<void> {
    exactly<UnixAddress>()(this.clientAddress);
    for (const fd of this.request.fds) fd.close();
  }
}

export class Messages extends BaseRequestHandler<SeqpacketSocket> {
  async handle(): Promise<void> {
    await this.request.send('+');
  }
}

export function made(anyOf: RequestHandlerClass<IOStream>): BaseServer[] {
  return [
    new EveryHook(Lines),
    new TCPServer(anyOf, { requestQueueSize: 5 }),
    new UnixServer(Lines, { requestQueueSize: undefined }),
    new SeqpacketServer(Messages, { requestQueueSize: 5 }),
    new EveryDatagramHook(Datagrams, { maxPacketSize: 8_192 }),
    new UnixDatagramServer(UnixDatagrams),
  ];
}

export async function handled(server: EveryHook, datagrams: UDPServer, signal: AbortSignal): Promise<void> {
  exactly<Promise<InetAddress>>()(server.listen(0, '::', { startServing: false, backlog: 5 }));
  exactly<Promise<InetAddress>>()(datagrams.listen(0, '::', { startServing: undefined }));
  exactly<Promise<Address>>()(server.listenFd(3, { startServing: false }));
  exactly<Promise<void>>()(server.handleRequest());
  exactly<Promise<void>>()(datagrams.handleRequest({ timeoutMs: 1_000, signal }));
  exactly<Promise<void>>()(server.serveForever());
}
