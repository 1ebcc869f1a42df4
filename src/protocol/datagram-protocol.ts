import type { Address, InetAddress, UnixAddress } from '../address.ts';
import { IOLoopError } from '../errors.ts';
import type { UdpTransport, UnixDatagramTransport } from './datagram-transport.ts';

/**
 * What one socket of datagrams says and makes of what it hears. Override what you need.
 *
 * What a method throws goes to the `onError` of who listens, and ends nothing: there is no connection to end.
 */
export abstract class AbstractDatagramProtocol<Transport, Source extends Address> {
  #transport: Transport | null = null;
  #isStarted = false;

  /**
   * The socket that it has, or has had last.
   *
   * @throws `ERR_IOLOOP_INVALID_STATE` before {@link makeConnection}.
   */
  get transport(): Transport {
    if (this.#transport === null)
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the protocol has no transport yet');
    return this.#transport;
  }

  /**
   * Gives it its socket, and calls {@link startProtocol}: again, when that of before has stopped. Returns what
   * that does, which may be overridden by an async one.
   *
   * @throws `ERR_IOLOOP_INVALID_STATE`: it has one.
   */
  makeConnection(transport: Transport): void | Promise<void> {
    if (this.#isStarted)
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the protocol has a transport already');
    this.#transport = transport;
    const starting = this.startProtocol();
    this.#isStarted = true;
    return starting;
  }

  /** Its socket is closed: calls {@link stopProtocol}, if it was started. Called by the transport. */
  doStop(): void | Promise<void> {
    if (!this.#isStarted) return;
    this.#isStarted = false;
    return this.stopProtocol();
  }

  /**
   * There is a socket, which is bound: the first call. What it throws, or rejects with, is the rejection of
   * who listens; after a throw there is nothing to stop.
   */
  startProtocol(): void {}

  /** The socket is closed: called exactly once, last of all. */
  stopProtocol(): void {}

  /**
   * A datagram came.
   *
   * @param data A view of memory that the next ones are received into: it is valid during the call. Copy
   *   what you keep (`Buffer.from(data)`); what is written is copied by that.
   * @param address Where it came from, and where `transport.write(reply, address)` sends to; its text is
   *   made when it is read.
   * @param truncated Whether it was longer than `maxPacketSize`, and its end is lost.
   */
  datagramReceived(_data: Buffer, _address: Source, _truncated: boolean): void {}

  /** Nobody is there to receive what was written before, to whom the transport is connected to. */
  connectionRefused(): void {}
}

/** The protocol of a UDP socket: {@link listenUdp}. */
export class DatagramProtocol extends AbstractDatagramProtocol<UdpTransport, InetAddress> {}

/**
 * The protocol of a Unix datagram socket: {@link listenUnixDatagram}, {@link connectUnixDatagram}. A sender
 * without a name has the path '', and can have no reply.
 */
export class UnixDatagramProtocol extends AbstractDatagramProtocol<UnixDatagramTransport, UnixAddress> {}
