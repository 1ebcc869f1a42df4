import { checkFunction, checkInteger } from '../arguments.ts';
import type { DatagramRequest } from './datagram-request.ts';

/** Why a datagram was not served: there are `maxConcurrent` requests, or verifyRequest did not want it. */
export type DatagramDropReason = 'concurrent' | 'refused';

/** What a server of datagrams allows its clients, and whom it tells. */
export interface DatagramServerOptions<Request extends DatagramRequest> {
  /**
   * Requests at a time whose handler's promise is pending; further datagrams are dropped; 1,024. So are
   * those that bring descriptors, while such requests have 512 of them.
   */
  maxConcurrent?: number | undefined;
  /** Whether to serve a datagram; false, a promise of it, a throw: it is dropped. */
  verifyRequest?: ((address: Request['address'], request: Request) => boolean | Promise<boolean>) | undefined;
  /**
   * What a handler threw or rejected with, and verifyRequest; with null what a socket has to tell: ICMP
   * errors, and why replies were refused that nobody waited for. By default one line on stderr.
   */
  onError?: ((error: unknown, request: Request | null) => void) | undefined;
  /** A datagram was dropped unserved. */
  onDrop?: ((reason: DatagramDropReason, address: Request['address']) => void) | undefined;
}

/** {@link DatagramServerOptions} checked and completed. */
export interface DatagramServerSettings<Request extends DatagramRequest> {
  readonly maxConcurrent: number;
  readonly verifyRequest: (address: Request['address'], request: Request) => boolean | Promise<boolean>;
  /** By default a line on stderr, which a socket has of its own. */
  readonly onError: ((error: unknown, request: Request | null) => void) | undefined;
  readonly onDrop: (reason: DatagramDropReason, address: Request['address']) => void;
}

/**
 * Checks `options` and fills in the defaults.
 *
 * @throws `ERR_IOLOOP_INVALID_ARGUMENT` with the option's name and its value.
 */
export function datagramServerSettings<Request extends DatagramRequest>(
  options: DatagramServerOptions<Request> = {},
): DatagramServerSettings<Request> {
  const { maxConcurrent = 1_024, verifyRequest = () => true, onError, onDrop = () => {} } = options;
  checkInteger(maxConcurrent, 'options.maxConcurrent', 1, Number.MAX_SAFE_INTEGER);
  checkFunction(verifyRequest, 'options.verifyRequest');
  if (onError !== undefined) checkFunction(onError, 'options.onError');
  checkFunction(onDrop, 'options.onDrop');
  return { maxConcurrent, verifyRequest, onError, onDrop };
}
