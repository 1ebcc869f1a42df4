import { invalidArgument } from '../arguments.ts';
import { type StandardIOOptions, StandardIOStream } from '../stream/standard-io-stream.ts';
import { Protocol } from './protocol.ts';
import { StreamTransport } from './stream-transport.ts';
import type { Transport } from './transport.ts';

/**
 * Gives `protocol` the standard input and output of this process as its connection (Twisted's StandardIO); see
 * {@link StandardIOStream}.
 *
 * The end of the input is the peer's: a protocol without `readConnectionLost()` is closed then. An output that
 * nobody reads any more is told by a write, as ConnectionLost whose cause is EPIPE.
 *
 * @throws SystemError EPERM: a directory; EBADF. `ERR_IOLOOP_INVALID_ARGUMENT`.
 */
export function connectStandardIO(protocol: Protocol, options?: StandardIOOptions): Transport {
  if (!(protocol instanceof Protocol)) throw invalidArgument('protocol', 'a Protocol', protocol);
  return StreamTransport.connect(new StandardIOStream(options), protocol);
}
