import type { LookupFunction } from 'node:net';
import type { TlsOptions } from 'node:tls';
import { checkOptions } from '../arguments.ts';
import type { ListenOptions } from '../net/bind-sockets.ts';
import type { ServerOptions } from '../net/server-options.ts';
import { TCPServer } from '../net/tcp-server.ts';
import type { UnixListenOptions } from '../net/unix-listeners.ts';
import { UnixServer } from '../net/unix-server.ts';
import type { SocketOptions } from '../stream/socket-option-table.ts';
import { FactoryPort } from './factory-port.ts';
import type { ListeningPort } from './listening-port.ts';
import type { Factory } from './protocol.ts';

/** How a factory listens on TCP. */
export interface ListenTcpOptions extends ServerOptions, ListenOptions {
  /** Where: an IP literal or a name; by default all addresses of both families. */
  interface?: string | undefined;
  /** Resolves a name in place of `dns.lookup`. */
  lookup?: LookupFunction | undefined;
}

/** How a factory listens in the Unix domain. */
export interface ListenUnixOptions extends ServerOptions, UnixListenOptions {
  /** Set before bind(2) and listen(2); connections inherit them (Linux). */
  socketOptions?: SocketOptions | undefined;
}

/**
 * Has `factory` make the protocols of those who connect to `port`; 0: any free one.
 *
 * @throws SystemError EADDRINUSE, EACCES ...; `ERR_IOLOOP_INVALID_ARGUMENT`; what `startFactory()` throws.
 */
export async function listenTcp(
  port: number,
  factory: Factory,
  options?: ListenTcpOptions,
): Promise<ListeningPort> {
  checkOptions(options);
  return FactoryPort.listen(
    factory,
    (handler) => new TCPServer(handler, options),
    (server) => server.listen(port, options?.interface, options),
  );
}

/** As {@link listenTcp}, encrypted: `options.tls` has the certificate and its key. */
export async function listenTls(
  port: number,
  factory: Factory,
  options: ListenTcpOptions & { tls: TlsOptions },
): Promise<ListeningPort> {
  checkOptions(options ?? null);
  checkOptions(options.tls ?? null, 'options.tls');
  return listenTcp(port, factory, options);
}

/** As {@link listenTcp}, at a path or an abstract name in the Unix domain; see {@link UnixServer.listen}. */
export async function listenUnix(
  path: string,
  factory: Factory,
  options?: ListenUnixOptions,
): Promise<ListeningPort> {
  checkOptions(options);
  return FactoryPort.listen(
    factory,
    (handler) => new UnixServer(handler, options),
    (server) => server.listen(path, options),
  );
}
