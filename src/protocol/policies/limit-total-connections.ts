import type { Address } from '../../address.ts';
import { checkFunction, checkInteger, checkOptions } from '../../arguments.ts';
import type { Factory, Protocol } from '../protocol.ts';
import { ProtocolWrapper } from './protocol-wrapper.ts';
import { WrappingFactory } from './wrapping-factory.ts';

/** How many connections a factory has at a time. */
export interface TotalLimitOptions {
  /** Connections at a time; by default no limit. */
  connectionLimit?: number | undefined;
  /** The protocol of those above the limit, to say so and hang up; by default they are refused. */
  overflowProtocol?: (new () => Protocol) | undefined;
  /** How many of these at a time, above which clients are refused; `connectionLimit`. */
  overflowLimit?: number | undefined;
}

/** The connection of a protocol that says that there are too many. */
class OverflowWrapper extends ProtocolWrapper {}

/**
 * Limits how many connections are open at a time, over all the ports of the factory. Those that get the
 * overflow protocol have a limit of their own, and do not keep others out.
 */
export class LimitTotalConnectionsFactory extends WrappingFactory {
  /** Connections at a time; may be changed, for those to come. */
  connectionLimit: number;
  readonly #overflowProtocol: (new () => Protocol) | null;
  readonly #overflowLimit: number;
  readonly #overflowing = new Set<ProtocolWrapper>();

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
  constructor(wrappedFactory: Factory, options?: TotalLimitOptions) {
    super(wrappedFactory);
    checkOptions(options);
    const { connectionLimit = Number.POSITIVE_INFINITY, overflowProtocol } = options ?? {};
    const { overflowLimit = connectionLimit } = options ?? {};
    checkLimit(connectionLimit, 'options.connectionLimit');
    checkLimit(overflowLimit, 'options.overflowLimit');
    if (overflowProtocol !== undefined) checkFunction(overflowProtocol, 'options.overflowProtocol');
    this.connectionLimit = connectionLimit;
    this.#overflowProtocol = overflowProtocol ?? null;
    this.#overflowLimit = overflowLimit;
  }

  /** Connections that are open, without those that get the overflow protocol. */
  get connectionCount(): number {
    return this.protocols.size;
  }

  /** Open connections that got the overflow protocol. */
  get overflowCount(): number {
    return this.#overflowing.size;
  }

  override buildProtocol(address: Address): Protocol | null {
    if (this.connectionCount < this.connectionLimit) return super.buildProtocol(address);
    if (this.#overflowProtocol === null || this.overflowCount >= this.#overflowLimit) return null;
    const protocol = new this.#overflowProtocol();
    protocol.factory = this;
    return new OverflowWrapper(this, protocol);
  }

  override registerProtocol(protocol: ProtocolWrapper): void {
    if (protocol instanceof OverflowWrapper) this.#overflowing.add(protocol);
    else super.registerProtocol(protocol);
  }

  override unregisterProtocol(protocol: ProtocolWrapper): void {
    if (!this.#overflowing.delete(protocol)) super.unregisterProtocol(protocol);
  }
}

/** A number of connections; Infinity: no limit. */
function checkLimit(value: unknown, name: string): void {
  if (value !== Number.POSITIVE_INFINITY) checkInteger(value, name, 0, Number.MAX_SAFE_INTEGER);
}
