import type { Address } from '../../address.ts';
import { checkInteger, checkOptions } from '../../arguments.ts';
import type { Factory, Protocol } from '../protocol.ts';
import { peerOf } from './peer-of.ts';
import { ProtocolWrapper, type WrapperRegistry } from './protocol-wrapper.ts';
import { WrappingFactory } from './wrapping-factory.ts';

/** How many connections a peer has at a time. */
export interface PeerLimitOptions {
  /** Connections of one peer at a time; 5. */
  maxConnectionsPerPeer?: number | undefined;
  /** How many bits of an IPv6 address are one peer, 1 to 128; 64, the network that one customer has at least. */
  ipv6PrefixLength?: number | undefined;
}

/** A connection that counts for a peer. */
class PeerWrapper extends ProtocolWrapper {
  /** Whose it is; null: nobody's who is counted. */
  readonly peer: string | null;

  constructor(factory: WrapperRegistry, wrappedProtocol: Protocol, peer: string | null) {
    super(factory, wrappedProtocol);
    this.peer = peer;
  }
}

/**
 * Limits how many connections one IP address has at a time, and refuses the others. An IPv4-mapped IPv6 address
 * is the IPv4 one; of IPv6 the /64 is one peer. Local peers, in the Unix domain, are not limited.
 *
 * It knows those peers that are connected, and no others.
 */
export class LimitConnectionsByPeer extends WrappingFactory {
  /** Connections of one peer at a time; may be changed, for those to come. */
  maxConnectionsPerPeer: number;
  readonly #ipv6PrefixLength: number;
  readonly #connections = new Map<string, number>();

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
  constructor(wrappedFactory: Factory, options?: PeerLimitOptions) {
    super(wrappedFactory);
    checkOptions(options);
    const { maxConnectionsPerPeer = 5, ipv6PrefixLength = 64 } = options ?? {};
    checkInteger(maxConnectionsPerPeer, 'options.maxConnectionsPerPeer', 0, Number.MAX_SAFE_INTEGER);
    checkInteger(ipv6PrefixLength, 'options.ipv6PrefixLength', 1, 128);
    this.maxConnectionsPerPeer = maxConnectionsPerPeer;
    this.#ipv6PrefixLength = ipv6PrefixLength;
  }

  /** Connections by peer: of those that have any. */
  get peerConnections(): ReadonlyMap<string, number> {
    return this.#connections;
  }

  override buildProtocol(address: Address): Protocol | null {
    const peer = peerOf(address, this.#ipv6PrefixLength);
    if (peer !== null && this.#count(peer) >= this.maxConnectionsPerPeer) return null;
    return super.buildProtocol(address);
  }

  override wrapProtocol(protocol: Protocol, address: Address): ProtocolWrapper {
    return new PeerWrapper(this, protocol, peerOf(address, this.#ipv6PrefixLength));
  }

  override registerProtocol(protocol: ProtocolWrapper): void {
    super.registerProtocol(protocol);
    if (protocol instanceof PeerWrapper) this.#add(protocol.peer, 1);
  }

  override unregisterProtocol(protocol: ProtocolWrapper): void {
    super.unregisterProtocol(protocol);
    if (protocol instanceof PeerWrapper) this.#add(protocol.peer, -1);
  }

  #count(peer: string): number {
    return this.#connections.get(peer) ?? 0;
  }

  #add(peer: string | null, change: 1 | -1): void {
    if (peer === null) return;
    const count = this.#count(peer) + change;
    if (count === 0) this.#connections.delete(peer);
    else this.#connections.set(peer, count);
  }
}
