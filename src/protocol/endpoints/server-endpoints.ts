import { type Address, toUnixAddress } from '../../address.ts';
import { checkFd, checkOptions, invalidArgument } from '../../arguments.ts';
import { IOLoopError } from '../../errors.ts';
import type { ServerOptions } from '../../net/server-options.ts';
import { type StreamHandler, StreamServer } from '../../net/stream-server.ts';
import { type StandardIOOptions, StandardIOStream } from '../../stream/standard-io-stream.ts';
import { FactoryPort } from '../factory-port.ts';
import { type ListenTcpOptions, type ListenUnixOptions, listenTcp, listenUnix } from '../listen.ts';
import type { ListeningPort } from '../listening-port.ts';
import type { Factory } from '../protocol.ts';
import type { ServerEndpoint } from './endpoint.ts';

/** A TCP port, of both families unless `options.interface` says otherwise; with the option `tls` encrypted. */
export class TCPServerEndpoint implements ServerEndpoint {
  readonly #port: number;
  readonly #options: ListenTcpOptions | undefined;

  constructor(port: number, options?: ListenTcpOptions) {
    this.#port = port;
    this.#options = options;
  }

  listen(factory: Factory): Promise<ListeningPort> {
    return listenTcp(this.#port, factory, this.#options);
  }
}

/** A path, or an abstract name after a NUL, in the Unix domain (unix(7)). */
export class UnixServerEndpoint implements ServerEndpoint {
  readonly #path: string;
  readonly #options: ListenUnixOptions | undefined;

  constructor(path: string, options?: ListenUnixOptions) {
    this.#path = path;
    this.#options = options;
  }

  listen(factory: Factory): Promise<ListeningPort> {
    return listenUnix(this.#path, factory, this.#options);
  }
}

/** Serves what this process was started with. */
class InheritedServer extends StreamServer {
  constructor(handler: StreamHandler, options: ServerOptions | undefined) {
    super(handler, options);
  }
}

/** Sockets that listen already: a service manager's ({@link listenFds}), a parent's. They are one port. */
export class AdoptedServerEndpoint implements ServerEndpoint {
  readonly #fds: readonly number[];
  readonly #options: ServerOptions | undefined;
  #isUsed = false;

  /**
   * @param fds The port's, once listen() has settled: one that is refused leaves them its caller's but for
   *   those before it, which are closed.
   * @throws `ERR_IOLOOP_INVALID_ARGUMENT`.
   */
  constructor(fds: number | readonly number[], options?: ServerOptions) {
    this.#fds = typeof fds === 'number' ? [fds] : [...fds];
    for (const fd of this.#fds) checkFd(fd, 'fds');
    if (this.#fds.length === 0) throw invalidArgument('fds', 'one descriptor or more', fds);
    checkOptions(options);
    this.#options = options;
  }

  /** @throws SystemError ENOTSOCK, EINVAL: it does not listen; EBADF. `ERR_IOLOOP_INVALID_STATE`: the second time. */
  async listen(factory: Factory): Promise<ListeningPort> {
    if (this.#isUsed)
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the descriptors are those of another port by now');
    this.#isUsed = true;
    return FactoryPort.listen(
      factory,
      (handler) => new InheritedServer(handler, this.#options),
      (server) => this.#adopt(server),
    );
  }

  async #adopt(server: InheritedServer): Promise<Address> {
    try {
      const addresses: Address[] = [];
      for (const fd of this.#fds) addresses.push(await server.listenFd(fd));
      return addresses[0] ?? toUnixAddress('');
    } catch (error) {
      await server.close({ graceMs: 0 });
      throw error;
    }
  }
}

/** The standard input and output of this process: one connection, which is there from the start. */
export class StandardIOEndpoint implements ServerEndpoint {
  readonly #options: ServerOptions & StandardIOOptions;

  constructor(options: ServerOptions & StandardIOOptions = {}) {
    checkOptions(options);
    this.#options = options;
  }

  /** The port has that connection, and listens for no other. */
  async listen(factory: Factory): Promise<ListeningPort> {
    const port = await FactoryPort.listen(
      factory,
      (handler) => new InheritedServer(handler, this.#options),
      async () => toUnixAddress(''),
    );
    try {
      port.adopt(new StandardIOStream(this.#options));
      return port;
    } catch (error) {
      await port.close({ graceMs: 0 });
      throw error;
    }
  }
}
