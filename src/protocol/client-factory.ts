import type { Address } from '../address.ts';
import type { IOLoop } from '../ioloop.ts';
import { Factory } from './protocol.ts';
import type { Reason } from './reasons.ts';

/** One destination, connected to once or again and again. */
export interface Connector {
  /** Connects anew, after it failed or was lost. Throws `ERR_IOLOOP_INVALID_STATE` otherwise. */
  connect(): void;
  /** Gives the attempt up. Throws `ERR_IOLOOP_INVALID_STATE` when there is none. */
  stopConnecting(): void;
  /** Gives the attempt up, or loses the connection in order; no effect without either. */
  disconnect(): void;
  /** Whom it connects to; its `address` is what was asked for, which may be a name. */
  getDestination(): Address;
  /** Where it stands. */
  readonly state: 'connecting' | 'connected' | 'disconnected';
  /** The loop it connects on. */
  readonly loop: IOLoop;
}

/** A factory of connections that this side makes, which hears how these fare. */
export class ClientFactory extends Factory {
  /** An attempt begins. */
  startedConnecting(_connector: Connector): void {}

  /**
   * An attempt failed; `connector.connect()` tries again.
   *
   * @param reason SystemError, TimeoutError, what the lookup or node:tls says; AbortError after `stopConnecting()`.
   */
  clientConnectionFailed(_connector: Connector, _reason: Error): void {}

  /** A connection is over, its protocol was told; `connector.connect()` makes another. */
  clientConnectionLost(_connector: Connector, _reason: Reason): void {}
}
