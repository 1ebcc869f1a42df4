import { checkOptions } from '../arguments.ts';
import type { ConnectOptions } from '../stream/io-stream.ts';
import type { ClientFactory, Connector } from './client-factory.ts';
import { StreamConnector } from './stream-connector.ts';

/** How to connect on TCP. */
export interface ConnectTcpOptions extends ConnectOptions {
  /** An address of this machine to connect from. */
  localAddress?: string | undefined;
  /** The port to connect from. */
  localPort?: number | undefined;
}

/**
 * Connects `factory` to a name or an IP literal, whichever address of a name answers first. How that ends
 * `factory` is told, never within this call.
 *
 * @param options `timeoutMs` is 30,000, as in {@link IOStream.connect}; an aborted `signal` gives the attempt up.
 * @throws `ERR_IOLOOP_INVALID_ARGUMENT`; what `startFactory()` and `startedConnecting()` throw.
 */
export function connectTcp(
  host: string,
  port: number,
  factory: ClientFactory,
  options?: ConnectTcpOptions,
): Connector {
  checkOptions(options);
  const { localAddress, localPort } = options ?? {};
  const connector = new StreamConnector({ host, port, localAddress, localPort }, factory, options);
  connector.connect();
  return connector;
}

/** As {@link connectTcp}, encrypted; `options.tls`: how, by default as `tls.connect()` would. */
export function connectTls(
  host: string,
  port: number,
  factory: ClientFactory,
  options?: ConnectTcpOptions,
): Connector {
  checkOptions(options);
  return connectTcp(host, port, factory, { ...options, tls: options?.tls ?? true });
}

/** As {@link connectTcp}, to a path or an abstract name in the Unix domain (unix(7)). */
export function connectUnix(path: string, factory: ClientFactory, options?: ConnectOptions): Connector {
  checkOptions(options);
  const connector = new StreamConnector({ path }, factory, options);
  connector.connect();
  return connector;
}
