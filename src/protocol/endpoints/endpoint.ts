import { checkFunction, invalidArgument } from '../../arguments.ts';
import type { WaitOptions } from '../../ioloop.ts';
import type { ListeningPort } from '../listening-port.ts';
import { Factory, Protocol } from '../protocol.ts';

/** Somewhere to listen, before anybody does. */
export interface ServerEndpoint {
  /**
   * Has `factory` make the protocols of those who connect there. What was handed to this process can be
   * listened at once; all else again and again: each time a port of its own.
   */
  listen(factory: Factory): Promise<ListeningPort>;
}

/** Somebody to connect to, before anybody does. */
export interface ClientEndpoint {
  /**
   * Connects, and has `factory` make the protocol of that connection; again and again, if that is wanted.
   *
   * The methods of a {@link ClientFactory} are not called: this promise tells how it went.
   *
   * @param options `timeoutMs` and `signal` of this attempt, in place of the endpoint's own.
   * @throws SystemError, TimeoutError, AbortError, what the lookup or node:tls says; what `factory` throws;
   *   `ERR_IOLOOP_INVALID_STATE`: it has refused the connection, which is closed.
   */
  connect(factory: Factory, options?: WaitOptions): Promise<Protocol>;
}

/**
 * Gives `protocol` the connection of an endpoint, without a factory of the caller's making.
 *
 * @returns `protocol`.
 * @throws As {@link ClientEndpoint.connect}.
 */
export async function connectProtocol<P extends Protocol>(
  endpoint: ClientEndpoint,
  protocol: P,
  options?: WaitOptions,
): Promise<P> {
  checkFunction(endpoint?.connect, 'endpoint.connect');
  if (!(protocol instanceof Protocol)) throw invalidArgument('protocol', 'a Protocol', protocol);
  await endpoint.connect(new SingleFactory(protocol), options);
  return protocol;
}

/** A factory of one protocol, which is there already. */
class SingleFactory extends Factory {
  readonly #protocol: Protocol;

  constructor(protocol: Protocol) {
    super();
    this.#protocol = protocol;
  }

  override buildProtocol(): Protocol {
    return this.#protocol;
  }
}
