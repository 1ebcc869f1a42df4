import { checkDuration, checkFunction, checkInteger, checkOptions, invalidArgument } from '../arguments.ts';
import { IOLoopError, type SystemError } from '../errors.ts';
import { IOLoop } from '../ioloop.ts';

/** What every socket that keeps message borders may be told. Limits are on by default. */
export interface MessageOptions {
  /** The loop it lives on; IOLoop.current(). */
  loop?: IOLoop | undefined;
  /** Bytes of a message that are received: what is longer is cut off, and says so; 65,535. */
  maxPacketSize?: number | undefined;
  /** Bytes that may wait, of what is received for an iteration and of what is to be sent, each; 1 MiB. A received descriptor counts for 2 KiB. */
  maxQueueSize?: number | undefined;
  /** Messages that may wait, likewise; 16,384. */
  maxQueueLength?: number | undefined;
  /** Messages received by one system call, 1 to 64; 64. */
  maxBatch?: number | undefined;
  /** The kernel's buffer of what was received (SO_RCVBUF, socket(7)); the system's default. */
  receiveBufferSize?: number | undefined;
  /** The kernel's buffer of what is to be sent (SO_SNDBUF, socket(7)); the system's default. */
  sendBufferSize?: number | undefined;
  /** How long close() waits for what is queued to leave; 2,000. */
  closeTimeoutMs?: number | undefined;
  /**
   * What went wrong without anybody waiting for it: ICMP errors (with the address that the datagram was
   * sent to, where the kernel says so), and sends whose promise nobody looks at. It ends nothing. By
   * default a line on stderr, once for each code.
   */
  onError?: ((error: SystemError) => void) | undefined;
}

/** {@link MessageOptions} checked and completed. */
export interface MessageSettings {
  readonly loop: IOLoop;
  readonly maxPacketSize: number;
  /** Whether the kernel may join messages that it receives (UDP_GRO). */
  readonly isJoining: boolean;
  /** Bytes that one receive may bring: of a message, or of several that were joined. */
  readonly receiveSize: number;
  readonly maxQueueSize: number;
  readonly maxQueueLength: number;
  readonly maxBatch: number;
  readonly receiveBufferSize: number | undefined;
  readonly sendBufferSize: number | undefined;
  readonly closeTimeoutMs: number;
  readonly onError: ((error: SystemError) => void) | undefined;
}

/** Most messages of one system call: UIO_MAXIOV would be 1,024, and nothing is gained beyond this. */
export const MAX_BATCH = 64;
/** A message in the Unix domain may be as long as the sender's buffer, which an administrator can raise. */
const MAX_PACKET_SIZE = 16 * 1024 * 1024;
/** The most that the kernel joins: what the length field of IP can say. */
const MAX_JOINED_SIZE = 65_535;
const MAX_KERNEL_BUFFER = 0x3fffffff;

/**
 * Checks `options` and fills in the defaults.
 *
 * @throws `ERR_IOLOOP_INVALID_ARGUMENT` with the option's name and its value; `ERR_IOLOOP_CLOSED`.
 */
export function messageSettings(options: MessageOptions | undefined, isJoining = false): MessageSettings {
  checkOptions(options);
  const {
    loop = IOLoop.current(),
    maxPacketSize = 65_535,
    maxQueueSize = 1024 * 1024,
    maxQueueLength = 16_384,
    maxBatch = MAX_BATCH,
    receiveBufferSize,
    sendBufferSize,
    closeTimeoutMs = 2_000,
    onError,
  } = options ?? {};
  if (!(loop instanceof IOLoop)) throw invalidArgument('options.loop', 'an IOLoop', loop);
  if (loop.scheduler.closed) throw new IOLoopError('ERR_IOLOOP_CLOSED', 'no socket lives on a closed loop');
  checkInteger(maxPacketSize, 'options.maxPacketSize', 1, MAX_PACKET_SIZE);
  checkInteger(maxQueueSize, 'options.maxQueueSize', 0, MAX_KERNEL_BUFFER);
  checkInteger(maxQueueLength, 'options.maxQueueLength', 1, MAX_KERNEL_BUFFER);
  checkInteger(maxBatch, 'options.maxBatch', 1, MAX_BATCH);
  if (receiveBufferSize !== undefined)
    checkInteger(receiveBufferSize, 'options.receiveBufferSize', 1, MAX_KERNEL_BUFFER);
  if (sendBufferSize !== undefined)
    checkInteger(sendBufferSize, 'options.sendBufferSize', 1, MAX_KERNEL_BUFFER);
  checkDuration(closeTimeoutMs, 'options.closeTimeoutMs');
  if (onError !== undefined) checkFunction(onError, 'options.onError');
  return {
    ...{ loop, maxPacketSize, maxQueueSize, maxQueueLength, maxBatch, isJoining },
    receiveSize: isJoining ? Math.max(maxPacketSize, MAX_JOINED_SIZE) : maxPacketSize,
    ...{ receiveBufferSize, sendBufferSize, closeTimeoutMs, onError },
  };
}
