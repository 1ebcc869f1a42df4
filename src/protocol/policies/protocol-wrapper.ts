import type { Address } from '../../address.ts';
import type { Bytes } from '../../stream/base-stream.ts';
import type { StartTlsOptions } from '../../stream/io-stream.ts';
import { type Factory, Protocol } from '../protocol.ts';
import type { Reason } from '../reasons.ts';
import type { Producer, Transport } from '../transport.ts';

/** A factory that knows which of its connections are open. */
export interface WrapperRegistry extends Factory {
  /** The connection of `protocol` begins. */
  registerProtocol(protocol: ProtocolWrapper): void;
  /** The connection of `protocol` is over, and the wrapped protocol is told next. */
  unregisterProtocol(protocol: ProtocolWrapper): void;
}

/**
 * A protocol around another: to the transport below it is the protocol, to the protocol inside it is the
 * transport. As it is it passes everything on; a policy overrides what it is about.
 *
 * It has the half-close hooks that the wrapped protocol has when it is wrapped, as having
 * `readConnectionLost` says that a half-open connection is wanted.
 */
export class ProtocolWrapper extends Protocol implements Transport {
  declare factory: WrapperRegistry;
  /** The protocol inside. */
  readonly wrappedProtocol: Protocol;

  constructor(factory: WrapperRegistry, wrappedProtocol: Protocol) {
    super();
    this.factory = factory;
    this.wrappedProtocol = wrappedProtocol;
    if (wrappedProtocol.readConnectionLost !== undefined)
      this.readConnectionLost = () => wrappedProtocol.readConnectionLost?.();
    if (wrappedProtocol.writeConnectionLost !== undefined)
      this.writeConnectionLost = () => wrappedProtocol.writeConnectionLost?.();
    if (wrappedProtocol.handshakeCompleted !== undefined)
      this.handshakeCompleted = () => wrappedProtocol.handshakeCompleted?.();
  }

  // ---- the protocol of the transport below

  override connectionMade(): void | Promise<void> {
    this.factory.registerProtocol(this);
    return this.wrappedProtocol.makeConnection(this);
  }

  override get bytesUnread(): number {
    return this.wrappedProtocol.bytesUnread;
  }

  /** Passes on what the wrapped protocol returns, as all do: a promise is the transport's to wait for. */
  override dataReceived(data: Buffer): unknown {
    return this.wrappedProtocol.dataReceived(data);
  }

  override connectionLost(reason: Reason): unknown {
    this.factory.unregisterProtocol(this);
    return this.wrappedProtocol.connectionLost(reason);
  }

  // ---- the transport of the protocol above

  write(data: Bytes): void {
    this.transport.write(data);
  }

  writeSequence(data: Iterable<Uint8Array>): void {
    this.write([...data]);
  }

  registerProducer(producer: Producer, streaming: boolean): void {
    this.transport.registerProducer(producer, streaming);
  }

  unregisterProducer(): void {
    this.transport.unregisterProducer();
  }

  pauseProducing(): void {
    this.transport.pauseProducing();
  }

  resumeProducing(): void {
    this.transport.resumeProducing();
  }

  stopProducing(): void {
    this.loseConnection();
  }

  loseConnection(): void {
    this.transport.loseConnection();
  }

  abortConnection(): void {
    this.transport.abortConnection();
  }

  loseWriteConnection(): void {
    this.transport.loseWriteConnection();
  }

  startTls(options: StartTlsOptions): void {
    this.transport.startTls(options);
  }

  getHost(): Address {
    return this.transport.getHost();
  }

  getPeer(): Address {
    return this.transport.getPeer();
  }

  setTcpNoDelay(on: boolean): void {
    this.transport.setTcpNoDelay(on);
  }

  setTcpKeepAlive(on: boolean): void {
    this.transport.setTcpKeepAlive(on);
  }

  /** @internal */
  protocolFailed(error: unknown): void {
    const { transport } = this;
    if (transport.protocolFailed === undefined) throw error;
    transport.protocolFailed(error);
  }

  get disconnecting(): boolean {
    return this.transport.disconnecting;
  }
}
