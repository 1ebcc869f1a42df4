import type { Address, InetAddress, UnixAddress } from '../address.ts';
import type { DatagramBatch, DatagramInfo } from '../datagram/datagram-batch.ts';
import type { DatagramSocket } from '../datagram/datagram-socket.ts';
import type { MessageBatch, Origin } from '../datagram/message-batch.ts';
import type { UnixDatagramBatch } from '../datagram/unix-batch.ts';
import type { UnixDatagramSocket } from '../datagram/unix-datagram-socket.ts';
import type { OwnedFd } from '../owned-fd.ts';
import type { PeerCredentials } from '../peer-credentials.ts';
import type { Chunk } from '../stream/read-buffer.ts';

/** What answers requests. */
export interface AnsweringSocket {
  /** @internal Sends `data` to where a datagram came from. */
  answer(origin: Origin, data: string | Uint8Array): Promise<void>;
}

/** One datagram, for the handler of a server, who may keep it. */
export abstract class DatagramRequest<Socket extends AnsweringSocket = AnsweringSocket> {
  /** Where it came from. */
  abstract readonly address: Address;
  /** The socket that it came by. It is the server's to close. */
  readonly socket: Socket;
  readonly data: Chunk;
  /** Whether it was longer than `maxPacketSize`, and its end is lost. */
  readonly truncated: boolean;
  /** @internal Descriptors that came with it. */
  readonly fdCount: number;
  readonly #origin: Origin;

  /** @internal Message `i` of a batch that `socket` has received. */
  constructor(socket: Socket, batch: MessageBatch, i: number) {
    this.socket = socket;
    this.data = batch.copy(i);
    this.truncated = batch.truncated(i);
    this.fdCount = batch.fdCount(i);
    this.#origin = batch.origin(i);
  }

  /**
   * Sends `data` to where the datagram came from, from the address that it was sent to: any number of
   * times, as long as the server has the socket. `data` is yours again when the call returns.
   *
   * @returns As the `send` of its socket; EBADF: the server is closed. A rejection that nobody waits for
   *   goes to the server's `onError`.
   */
  reply(data: string | Uint8Array): Promise<void> {
    return this.socket.answer(this.#origin, data);
  }

  /** @internal It is done with: closes what came with it and nobody has taken. */
  finish(): void {}
}

/** A UDP datagram, for the handler of a {@link UDPServer}. */
export class UDPRequest extends DatagramRequest<DatagramSocket> {
  /** Where it came from; its text is made when it is read. */
  override readonly address: InetAddress;
  /** What the kernel says of it; null without `packetInfo`. */
  readonly info: DatagramInfo | null;

  /** @internal */
  constructor(socket: DatagramSocket, batch: DatagramBatch, i: number) {
    super(socket, batch, i);
    this.address = batch.source(i);
    this.info = batch.info(i);
  }
}

/** A Unix datagram, for the handler of a {@link UnixDatagramServer}. */
export class UnixDatagramRequest extends DatagramRequest<UnixDatagramSocket> {
  /** Where it came from; path '': its sender has no name, and can have no reply (ENOTCONN). */
  override readonly address: UnixAddress;
  /** Who sent it; null without `credentials`. */
  readonly credentials: PeerCredentials | null;
  /** The descriptors that came with it, with `receiveFds`: those not taken when the handler is done are closed. */
  readonly fds: readonly OwnedFd[];
  /** Whether descriptors were lost that did not fit in our table. */
  readonly fdsTruncated: boolean;

  /** @internal */
  constructor(socket: UnixDatagramSocket, batch: UnixDatagramBatch, i: number) {
    super(socket, batch, i);
    this.address = batch.source(i);
    this.credentials = batch.credentials(i);
    this.fds = batch.fds(i);
    this.fdsTruncated = batch.fdsTruncated(i);
  }

  /** @internal */
  override finish(): void {
    for (const fd of this.fds) fd.close();
  }
}
