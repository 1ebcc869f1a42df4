import type { Address } from '../../address.ts';
import { invalidArgument } from '../../arguments.ts';
import { ClientFactory, type Connector } from '../client-factory.ts';
import { Factory, type Protocol } from '../protocol.ts';
import type { Reason } from '../reasons.ts';
import { ProtocolWrapper, type WrapperRegistry } from './protocol-wrapper.ts';

/**
 * A factory around another, whose protocols it wraps. It may be wrapped in turn: policies are stacked in any
 * order, and the outermost is what listens or connects.
 *
 * The wrapped factory starts and stops with it, and hears of connectors if it is a {@link ClientFactory}.
 */
export class WrappingFactory extends ClientFactory implements WrapperRegistry {
  /** The factory inside. */
  readonly wrappedFactory: Factory;
  /** Those whose connections are open. */
  readonly protocols: Set<ProtocolWrapper> = new Set();

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
  constructor(wrappedFactory: Factory) {
    super();
    if (!(wrappedFactory instanceof Factory))
      throw invalidArgument('wrappedFactory', 'a Factory', wrappedFactory);
    this.wrappedFactory = wrappedFactory;
  }

  /** What the wrapped factory builds, wrapped; null where that refuses. */
  override buildProtocol(address: Address): Protocol | null {
    const protocol = this.wrappedFactory.buildProtocol(address);
    return protocol === null ? null : this.wrapProtocol(protocol, address);
  }

  /** The wrapper of `protocol`: what a policy overrides, where Twisted's sets its `protocol`. */
  wrapProtocol(protocol: Protocol, _address: Address): ProtocolWrapper {
    return new ProtocolWrapper(this, protocol);
  }

  registerProtocol(protocol: ProtocolWrapper): void {
    this.protocols.add(protocol);
  }

  unregisterProtocol(protocol: ProtocolWrapper): void {
    this.protocols.delete(protocol);
  }

  override doStart(): void {
    this.wrappedFactory.doStart();
    try {
      super.doStart();
    } catch (error) {
      this.wrappedFactory.doStop();
      throw error;
    }
  }

  override doStop(): void {
    if (this.numPorts === 0) return;
    try {
      super.doStop();
    } finally {
      this.wrappedFactory.doStop();
    }
  }

  override startedConnecting(connector: Connector): void {
    if (this.wrappedFactory instanceof ClientFactory) this.wrappedFactory.startedConnecting(connector);
  }

  override clientConnectionFailed(connector: Connector, reason: Error): void {
    if (this.wrappedFactory instanceof ClientFactory)
      this.wrappedFactory.clientConnectionFailed(connector, reason);
  }

  override clientConnectionLost(connector: Connector, reason: Reason): void {
    if (this.wrappedFactory instanceof ClientFactory)
      this.wrappedFactory.clientConnectionLost(connector, reason);
  }
}
