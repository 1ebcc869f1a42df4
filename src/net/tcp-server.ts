import type { LookupFunction } from 'node:net';
import type { InetAddress } from '../address.ts';
import { IOLoopError } from '../errors.ts';
import type { IOStream } from '../stream/io-stream.ts';
import { startsServing } from './base-server.ts';
import { bindSockets, type ListenOptions } from './bind-sockets.ts';
import type { RequestHandlerClass } from './request-handler.ts';
import type { ServerOptions } from './server-options.ts';
import { type StreamHandler, StreamServer } from './stream-server.ts';

/** A server of TCP connections. */
export class TCPServer extends StreamServer {
  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`; what node:tls says of bad keys and certificates. */
  constructor(handler: StreamHandler | RequestHandlerClass<IOStream>, options?: ServerOptions) {
    super(handler, options);
  }

  /**
   * Listens, at one more place if it does already. Without a host: at all addresses of both families.
   * A name: at all its addresses, on one port. Port 0: any free one.
   *
   * @returns The first address.
   * @throws SystemError EADDRINUSE, EACCES, EADDRNOTAVAIL ..., of the lookup ENOTFOUND ...
   */
  async listen(
    port: number,
    host?: string,
    options?: ListenOptions & { lookup?: LookupFunction | undefined },
  ): Promise<InetAddress> {
    this.checkListening();
    const startServing = startsServing(options);
    const fds = await bindSockets(port, host, options, this.requestQueueSize);
    const first = this.listenOn(fds, startServing);
    if (first.family !== 'Unix') return first;
    throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', `${host} is no Internet address`);
  }
}
