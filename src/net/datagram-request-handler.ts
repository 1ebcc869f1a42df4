import type { Chunk } from '../stream/read-buffer.ts';
import type { DatagramRequest, UDPRequest } from './datagram-request.ts';
import { BaseRequestHandler } from './request-handler.ts';

/**
 * Handles one datagram of a {@link UDPServer}, or of a {@link UnixDatagramServer} as a
 * `DatagramRequestHandler<UnixDatagramRequest>`. What was written is one reply, which finish() sends; if
 * nothing was written, none is sent (socketserver sends an empty one).
 */
export abstract class DatagramRequestHandler<
  Request extends DatagramRequest = UDPRequest,
> extends BaseRequestHandler<Request, Request['address']> {
  readonly #reply: Uint8Array[] = [];

  /** The bytes of the datagram. */
  get packet(): Chunk {
    return this.request.data;
  }

  /** The socket that it came by. It is the server's to close. */
  get socket(): Request['socket'] {
    return this.request.socket;
  }

  /** Appends to the reply. Bytes are copied; a string is UTF-8. */
  write(data: string | Uint8Array): void {
    this.#reply.push(Buffer.from(data));
  }

  /**
   * Sends the reply. An override calls it, or sends none.
   *
   * @throws As {@link DatagramRequest.reply}.
   */
  override async finish(): Promise<void> {
    if (this.#reply.length > 0) await this.request.reply(Buffer.concat(this.#reply));
  }
}
