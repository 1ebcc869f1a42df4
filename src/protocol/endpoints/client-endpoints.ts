import { checkOptions, invalidArgument } from '../../arguments.ts';
import { IOLoopError } from '../../errors.ts';
import type { WaitOptions } from '../../ioloop.ts';
import { checkTarget } from '../../stream/dial.ts';
import { type ConnectOptions, type ConnectTarget, IOStream } from '../../stream/io-stream.ts';
import { streamSettings } from '../../stream/stream-options.ts';
import type { ConnectTcpOptions } from '../connect.ts';
import { Factory, type Protocol } from '../protocol.ts';
import { StreamTransport } from '../stream-transport.ts';
import type { ClientEndpoint } from './endpoint.ts';

/** What the endpoints of clients have in common: all but whom they connect to. */
abstract class StreamClientEndpoint implements ClientEndpoint {
  readonly #target: ConnectTarget;
  readonly #options: ConnectOptions;

  protected constructor(target: ConnectTarget, options: ConnectOptions = {}) {
    checkTarget(target, options.lookup);
    this.#target = target;
    this.#options = options;
  }

  async connect(factory: Factory, options?: WaitOptions): Promise<Protocol> {
    if (!(factory instanceof Factory)) throw invalidArgument('factory', 'a Factory', factory);
    checkOptions(options);
    const { loop } = streamSettings(this.#options);
    factory.doStart();
    const done = (): void => {
      try {
        factory.doStop();
      } catch (error) {
        loop.scheduler.caught(error);
      }
    };
    try {
      const { signal = this.#options.signal, timeoutMs = this.#options.timeoutMs } = options ?? {};
      return await this.#connect(factory, { ...this.#options, signal, timeoutMs, loop }, done);
    } catch (error) {
      done();
      throw error;
    }
  }

  async #connect(factory: Factory, options: ConnectOptions, done: () => void): Promise<Protocol> {
    const stream = await IOStream.connect(this.#target, options);
    try {
      const protocol = factory.buildProtocol(stream.remote);
      if (protocol === null)
        throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the factory has refused the connection');
      StreamTransport.connect(stream, protocol, done);
      return protocol;
    } catch (error) {
      void stream.close();
      throw error;
    }
  }
}

/** A port of a name or an IP literal, by TCP; with the option `tls` encrypted. */
export class TCPClientEndpoint extends StreamClientEndpoint {
  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
  constructor(host: string, port: number, options?: ConnectTcpOptions) {
    checkOptions(options);
    const { localAddress, localPort } = options ?? {};
    super({ host, port, localAddress, localPort }, options);
  }
}

/** A path, or an abstract name after a NUL, in the Unix domain (unix(7)). */
export class UnixClientEndpoint extends StreamClientEndpoint {
  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
  constructor(path: string, options?: ConnectOptions) {
    checkOptions(options);
    super({ path }, options);
  }
}
