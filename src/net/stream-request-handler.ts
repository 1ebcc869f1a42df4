import type { IOStream } from '../stream/io-stream.ts';
import { BaseRequestHandler } from './request-handler.ts';

/**
 * Handles one connection of a {@link TCPServer} or {@link UnixServer}; `request` is its stream.
 *
 * There is no rfile and no wfile: the stream is both, `this.request.readUntil('\n')`, `this.request.write(...)`.
 * What was written is delivered when the connection is shut down.
 */
export abstract class StreamRequestHandler extends BaseRequestHandler<IOStream> {
  /** The stream: `request` by its other name. */
  get connection(): IOStream {
    return this.request;
  }
}
