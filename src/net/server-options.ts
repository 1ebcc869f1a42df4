import type { TlsOptions } from 'node:tls';
import type { Address } from '../address.ts';
import { checkFunction, checkInteger } from '../arguments.ts';
import type { IOStream } from '../stream/io-stream.ts';
import type { StreamOptions } from '../stream/stream-options.ts';
import type { ShedReason } from './listener.ts';

/** Connections that wait to be accepted by default. */
export const DEFAULT_QUEUE_SIZE = 4096;

/** What a server of connections allows its clients, and whom it tells; `Reason`: why else it drops them. */
export interface ConnectionServerOptions<Connection, Reason extends string = never> {
  /** Connections at a time; further clients are closed at once. By default as many as there are descriptors. */
  maxConnections?: number | undefined;
  /** Whether to serve a client; false, a promise of it, a throw: it is closed. */
  verifyRequest?: ((address: Address) => boolean | Promise<boolean>) | undefined;
  /**
   * Connections that wait to be accepted, where `listen` has no `backlog`; 4096, clipped by the kernel
   * (listen(2), net.core.somaxconn).
   */
  requestQueueSize?: number | undefined;
  /** Clients accepted in one turn: then others have theirs; 256. */
  maxAcceptsPerTurn?: number | undefined;
  /** What a handler threw or rejected with, and verifyRequest; by default one line on stderr. */
  onError?: ((error: unknown, connection: Connection) => void) | undefined;
  /** A client was closed unserved, or ended for want of memory. */
  onDrop?: ((reason: ShedReason | 'refused' | Reason, address: Address | null) => void) | undefined;
}

/** Why a client was not served, or no longer. */
export type DropReason = ShedReason | 'refused' | 'memory' | 'handshake';

/** What a server of streams allows its clients, and whom it tells. */
export interface ServerOptions
  extends StreamOptions,
    ConnectionServerOptions<IOStream, 'memory' | 'handshake'> {
  /** TLS from the first byte; the handler is called after the handshake. */
  tls?: TlsOptions | undefined;
  /** How long a handshake may take, and a PROXY header; 10,000. */
  handshakeTimeoutMs?: number | undefined;
  /**
   * Whether proxies are in front that send a PROXY header, of version 1 or 2, ahead of everything, TLS too.
   *
   * Those of `trustedProxies` have to: who sends none in time is dropped ('handshake'). The stream's `remote`
   * and `local` are then the client's, as is the address for `verifyRequest` and the handler, and
   * `proxyHeader` has all that was said. Others are served as themselves: a header of theirs is data.
   */
  proxyProtocol?: boolean | undefined;
  /**
   * The peers to believe: IP addresses, networks (`'10.0.0.0/8'`), `'loopback'`, `'unix'`; by default the
   * latter two. Those who reach the server past the proxy must not be among them: they could be anybody.
   */
  trustedProxies?: readonly string[] | undefined;
  /** What a PROXY header of version 2 may have in bytes; 4,096. */
  maxProxyHeaderSize?: number | undefined;
}

/** {@link ConnectionServerOptions} checked and completed. */
export interface ConnectionServerSettings<Connection, Reason extends string> {
  readonly maxConnections: number;
  readonly requestQueueSize: number;
  readonly maxAcceptsPerTurn: number;
  readonly verifyRequest: (address: Address) => boolean | Promise<boolean>;
  readonly onError: (error: unknown, connection: Connection) => void;
  readonly onDrop: (reason: ShedReason | 'refused' | Reason, address: Address | null) => void;
}

/**
 * Checks `options` and fills in the defaults.
 *
 * @throws `ERR_IOLOOP_INVALID_ARGUMENT` with the option's name and its value.
 */
export function connectionServerSettings<
  Connection extends { readonly remote: Address },
  Reason extends string,
>(options: ConnectionServerOptions<Connection, Reason> = {}): ConnectionServerSettings<Connection, Reason> {
  const {
    maxConnections = Number.POSITIVE_INFINITY,
    requestQueueSize = DEFAULT_QUEUE_SIZE,
    maxAcceptsPerTurn = 256,
    verifyRequest = () => true,
    onError = (error, connection) => printError(error, remoteOf(connection)),
    onDrop = () => {},
  } = options;
  if (maxConnections !== Number.POSITIVE_INFINITY)
    checkInteger(maxConnections, 'options.maxConnections', 0, Number.MAX_SAFE_INTEGER);
  checkInteger(requestQueueSize, 'options.requestQueueSize', 0, 0x7fffffff);
  checkInteger(maxAcceptsPerTurn, 'options.maxAcceptsPerTurn', 1, Number.MAX_SAFE_INTEGER);
  checkFunction(verifyRequest, 'options.verifyRequest');
  checkFunction(onError, 'options.onError');
  checkFunction(onDrop, 'options.onDrop');
  return { maxConnections, requestQueueSize, maxAcceptsPerTurn, verifyRequest, onError, onDrop };
}

/** One line, which names the client: what onError does by default. */
export function printError(error: unknown, client: string): void {
  const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  // A peer may have chosen its own name, or what is said of it: neither is to steer a terminal.
  console.error(`ioloop: the handler of ${client} failed: ${what}`.replace(/\p{Cc}+/gu, ' '));
}

function remoteOf(connection: { readonly remote: Address }): string {
  try {
    return connection.remote.toString() || 'a local client';
  } catch {
    return 'a client that has left';
  }
}
