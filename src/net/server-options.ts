import type { TlsOptions } from 'node:tls';
import type { Address } from '../address.ts';
import { checkFunction, checkInteger, checkMilliseconds } from '../arguments.ts';
import type { IOStream } from '../stream/io-stream.ts';
import type { StreamOptions } from '../stream/stream-options.ts';
import type { ShedReason } from './listener.ts';

/** Why a client was not served, or no longer. */
export type DropReason = ShedReason | 'memory' | 'refused' | 'handshake';

/** What a server allows its clients, and whom it tells. */
export interface ServerOptions extends StreamOptions {
  /** Connections at a time; further clients are closed at once. By default as many as there are descriptors. */
  maxConnections?: number | undefined;
  /** Whether to serve a client; false, a promise of it, a throw: it is closed. */
  verifyRequest?: ((address: Address) => boolean | Promise<boolean>) | undefined;
  /** TLS from the first byte; the handler is called after the handshake. */
  tls?: TlsOptions | undefined;
  /** How long a handshake may take; 10,000. */
  handshakeTimeoutMs?: number | undefined;
  /** Clients accepted in one turn: then others have theirs; 256. */
  maxAcceptsPerTurn?: number | undefined;
  /** What a handler threw or rejected with, and verifyRequest; by default one line on stderr. */
  onError?: ((error: unknown, stream: IOStream) => void) | undefined;
  /** A client was closed unserved, or ended for want of memory. */
  onDrop?: ((reason: DropReason, address: Address | null) => void) | undefined;
}

/** {@link ServerOptions} checked and completed, but for those of streams and of TLS. */
export interface ServerSettings {
  readonly maxConnections: number;
  readonly handshakeTimeoutMs: number;
  readonly maxAcceptsPerTurn: number;
  readonly verifyRequest: (address: Address) => boolean | Promise<boolean>;
  readonly onError: (error: unknown, stream: IOStream) => void;
  readonly onDrop: (reason: DropReason, address: Address | null) => void;
}

/**
 * Checks `options` and fills in the defaults.
 *
 * @throws `ERR_IOLOOP_INVALID_ARGUMENT` with the option's name and its value.
 */
export function serverSettings(options: ServerOptions = {}): ServerSettings {
  const {
    maxConnections = Number.POSITIVE_INFINITY,
    handshakeTimeoutMs = 10_000,
    maxAcceptsPerTurn = 256,
    verifyRequest = () => true,
    onError = printError,
    onDrop = () => {},
  } = options;
  if (maxConnections !== Number.POSITIVE_INFINITY)
    checkInteger(maxConnections, 'options.maxConnections', 0, Number.MAX_SAFE_INTEGER);
  checkMilliseconds(handshakeTimeoutMs, 'options.handshakeTimeoutMs');
  checkInteger(maxAcceptsPerTurn, 'options.maxAcceptsPerTurn', 1, Number.MAX_SAFE_INTEGER);
  checkFunction(verifyRequest, 'options.verifyRequest');
  checkFunction(onError, 'options.onError');
  checkFunction(onDrop, 'options.onDrop');
  return { maxConnections, handshakeTimeoutMs, maxAcceptsPerTurn, verifyRequest, onError, onDrop };
}

/** One line, which names the client. */
function printError(error: unknown, stream: IOStream): void {
  const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  console.error(`ioloop: the handler of ${remoteOf(stream)} failed: ${what.replaceAll('\n', ' ')}`);
}

function remoteOf(stream: IOStream): string {
  try {
    return stream.remote.toString() || 'a local client';
  } catch {
    return 'a client that has left';
  }
}
