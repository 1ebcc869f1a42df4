import type { Address } from '../address.ts';
import { invalidArgument } from '../arguments.ts';
import type { StreamHandler, StreamServer } from '../net/stream-server.ts';
import type { IOStream } from '../stream/io-stream.ts';
import type { ListeningPort } from './listening-port.ts';
import { Factory } from './protocol.ts';
import { StreamTransport } from './stream-transport.ts';

/** A server of streams whose connections are the protocols of a factory. */
export class FactoryPort implements ListeningPort {
  readonly #factory: Factory;
  readonly #server: StreamServer;
  readonly #host: Address;
  #listens = true;

  private constructor(factory: Factory, server: StreamServer, host: Address) {
    this.#factory = factory;
    this.#server = server;
    this.#host = host;
    server.onStop = () => this.#stopped();
  }

  /**
   * Has the server that `makeServer` makes listen, and `factory` make the protocols of its connections.
   *
   * @throws `ERR_IOLOOP_INVALID_ARGUMENT`; what `makeServer`, `listen` and `startFactory()` throw.
   */
  static async listen<Server extends StreamServer>(
    factory: Factory,
    makeServer: (handler: StreamHandler) => Server,
    listen: (server: Server) => Promise<Address>,
  ): Promise<FactoryPort> {
    if (!(factory instanceof Factory)) throw invalidArgument('factory', 'a Factory', factory);
    const server: Server = makeServer((stream, address) => serve(factory, server, stream, address));
    const host = await listen(server);
    try {
      factory.doStart();
    } catch (error) {
      void server.close({ graceMs: 0 });
      throw error;
    }
    return new FactoryPort(factory, server, host);
  }

  /** Serves a stream that nobody had to accept; see {@link StreamServer.adopt}. */
  adopt(stream: IOStream): void {
    this.#server.adopt(stream);
  }

  getHost(): Address {
    return this.#host;
  }

  async stopListening(): Promise<void> {
    this.#server.stop();
  }

  async close(options?: { graceMs?: number | undefined }): Promise<void> {
    await this.#server.close(options);
  }

  get connections(): number {
    return this.#server.connections;
  }

  ref(): this {
    this.#server.ref();
    return this;
  }

  unref(): this {
    this.#server.unref();
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** The factory is told once, however the port came to its end. */
  #stopped(): void {
    if (!this.#listens) return;
    this.#listens = false;
    try {
      this.#factory.doStop();
    } catch (error) {
      this.#server.onError(error);
    }
  }
}

function serve(factory: Factory, server: StreamServer, stream: IOStream, address: Address): void {
  const protocol = factory.buildProtocol(address);
  if (protocol !== null) {
    StreamTransport.connect(stream, protocol);
    return;
  }
  void stream.close();
  server.onDrop('refused', address);
}
