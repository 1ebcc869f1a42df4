import type { Address } from '../address.ts';
import { IOLoopError } from '../errors.ts';
import type { Reason } from './reasons.ts';
import type { Transport } from './transport.ts';

/**
 * One connection: what it says and what it makes of what it hears. Override what you need.
 *
 * What a method throws ends its connection, with a {@link ConnectionLost} whose cause it is, and goes to the
 * `onError` of who listens or connects; other connections do not notice.
 */
export class Protocol {
  /** Who made it. A subclass that needs more of it says `declare factory: ItsFactory`. */
  factory: Factory | null = null;
  #transport: Transport | null = null;

  /**
   * The connection.
   *
   * @throws `ERR_IOLOOP_INVALID_STATE` before {@link makeConnection}.
   */
  get transport(): Transport {
    if (this.#transport === null)
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the protocol has no transport yet');
    return this.#transport;
  }

  /** Gives it its connection. Returns what {@link connectionMade} does, which may be overridden by an async one. */
  makeConnection(transport: Transport): void | Promise<void> {
    this.#transport = transport;
    return this.connectionMade();
  }

  /**
   * Bytes that it was given and keeps for later: `startTls()` is refused while there are any. For receivers of
   * one's own to override, so that nothing plain is taken for what came encrypted.
   */
  get bytesUnread(): number {
    return 0;
  }

  /** There is a connection: the first call. */
  connectionMade(): void {}

  /**
   * Bytes came, at whatever borders the network gave them.
   *
   * @param data A view of memory that the next connection receives into: it is valid during the call. Copy
   *   what you keep (`Buffer.from(data)`); what is written is copied by that.
   */
  dataReceived(_data: Buffer): void {}

  /** The connection is over: called exactly once, last of all, if {@link connectionMade} was. */
  connectionLost(_reason: Reason): void {}

  /**
   * The peer has ended its half. A protocol that has this method may go on writing, and closes the
   * connection itself; one that has not is closed when what it has written is sent.
   */
  readConnectionLost?(): void;

  /** Our half has ended, everything written was sent: the answer to `loseWriteConnection()`. */
  writeConnectionLost?(): void;

  /** The handshake of `startTls()` is done. */
  handshakeCompleted?(): void;
}

/** Makes the protocols of the connections of one or more ports, and keeps what these share. */
export class Factory {
  /** What {@link buildProtocol} makes; null: that is overridden. */
  protocol: (new () => Protocol) | null = null;
  #ports = 0;

  /** A factory whose connections are `protocol`s. */
  static forProtocol<Made extends Factory>(this: new () => Made, protocol: new () => Protocol): Made {
    const factory = new this();
    factory.protocol = protocol;
    return factory;
  }

  /**
   * The protocol of a connection with `address`, by default a new {@link protocol} whose `factory` this is.
   *
   * @returns null: the connection is refused.
   */
  buildProtocol(_address: Address): Protocol | null {
    if (this.protocol === null)
      throw new IOLoopError(
        'ERR_IOLOOP_INVALID_STATE',
        'the factory has neither protocol nor buildProtocol()',
      );
    const protocol = new this.protocol();
    protocol.factory = this;
    return protocol;
  }

  /** The first of its ports listens, or its first connector connects. */
  startFactory(): void {}

  /** The last of its ports has stopped, the last of its connectors is done. */
  stopFactory(): void {}

  /** How many ports and connectors use it. */
  get numPorts(): number {
    return this.#ports;
  }

  /** One port or connector more uses it: {@link startFactory} for the first. Called by these. */
  doStart(): void {
    if (this.#ports === 0) this.startFactory();
    this.#ports++;
  }

  /** One less: {@link stopFactory} after the last. Called by these. */
  doStop(): void {
    if (this.#ports === 0) return;
    this.#ports--;
    if (this.#ports === 0) this.stopFactory();
  }
}
