import { toUnixAddress, type UnixAddress } from '../address.ts';
import { checkFunction, checkOptions, invalidArgument } from '../arguments.ts';
import type { UnixDatagramBatch } from '../datagram/unix-batch.ts';
import { type UnixDatagramOptions, UnixDatagramSocket } from '../datagram/unix-datagram-socket.ts';
import { checkSocketPath } from '../stream/socket-file.ts';
import { DatagramPort } from './datagram-port.ts';
import { UnixDatagramProtocol } from './datagram-protocol.ts';
import type { UnixDatagramTransport, UnixTarget } from './datagram-transport.ts';

/** How a protocol has a datagram socket in the Unix domain. */
export interface ListenUnixDatagramOptions
  extends Omit<UnixDatagramOptions, 'receiveFds' | 'credentials' | 'onError'> {
  /** Who may send to the path, as chmod(2) says it; 0o600. */
  mode?: number | undefined;
  /**
   * What the protocol throws, and why what was written was refused. By default a line on stderr, of the
   * kernel's errors once for each code.
   */
  onError?: ((error: unknown) => void) | undefined;
}

/** How a protocol connects to a datagram socket in the Unix domain. */
export interface ConnectUnixDatagramOptions extends ListenUnixDatagramOptions {
  /** A path or an abstract name to be bound to: who is bound to none can have no reply. */
  bindAddress?: string | undefined;
}

/**
 * Has `protocol` receive the datagrams sent to a path, or to an abstract name after a NUL: see
 * {@link UnixDatagramSocket.bind}.
 *
 * @throws SystemError EADDRINUSE, EACCES, ENOENT; `ERR_IOLOOP_INVALID_ARGUMENT`; what `startProtocol()` throws.
 */
export async function listenUnixDatagram(
  path: string,
  protocol: UnixDatagramProtocol,
  options?: ListenUnixDatagramOptions,
): Promise<UnixDatagramTransport> {
  checkSocketPath(path);
  return UnixDatagramPort.open(protocol, options, async (socket) => {
    await socket.bind(path, { mode: options?.mode });
    return null;
  });
}

/**
 * Has `protocol` send to a path, and receive from there.
 *
 * @throws SystemError ECONNREFUSED: nobody is there; ENOENT, EACCES, EPROTOTYPE, of `bindAddress` EADDRINUSE
 *   ...; `ERR_IOLOOP_INVALID_ARGUMENT`; what `startProtocol()` throws.
 */
export async function connectUnixDatagram(
  path: string,
  protocol: UnixDatagramProtocol,
  options?: ConnectUnixDatagramOptions,
): Promise<UnixDatagramTransport> {
  checkSocketPath(path);
  return UnixDatagramPort.open(protocol, options, async (socket) => {
    const { bindAddress, mode } = options ?? {};
    if (bindAddress !== undefined) {
      checkSocketPath(bindAddress, 'options.bindAddress');
      await socket.bind(bindAddress, { mode });
    }
    await socket.connect(path);
    return toUnixAddress(path);
  });
}

/** A Unix datagram socket, as the transport of a protocol. */
class UnixDatagramPort
  extends DatagramPort<UnixAddress, UnixTarget, UnixDatagramBatch, UnixDatagramSocket>
  implements UnixDatagramTransport
{
  #peer: UnixAddress | null = null;

  /** A port whose socket `setUp` binds or connects; that answers whom it is connected to. */
  static async open(
    protocol: UnixDatagramProtocol,
    options: ListenUnixDatagramOptions | undefined,
    setUp: (socket: UnixDatagramSocket) => Promise<UnixAddress | null>,
  ): Promise<UnixDatagramPort> {
    if (!(protocol instanceof UnixDatagramProtocol))
      throw invalidArgument('protocol', 'a UnixDatagramProtocol', protocol);
    checkOptions(options);
    const onError = options?.onError;
    if (onError !== undefined) checkFunction(onError, 'options.onError');
    const socket = new UnixDatagramSocket(options);
    try {
      const peer = await setUp(socket);
      const port = new UnixDatagramPort(socket, protocol, onError);
      port.#peer = peer;
      await port.start(() => protocol.makeConnection(port));
      return port;
    } catch (error) {
      void socket.close();
      throw error;
    }
  }

  override getPeer(): UnixAddress | null {
    return this.#peer;
  }

  protected override send(datagram: string | Uint8Array, address: UnixTarget | undefined): void {
    const peer = this.#peer;
    if (peer !== null && (address === undefined || address.path === peer.path)) {
      void this.socket.send(datagram);
      return;
    }
    if (typeof address?.path !== 'string')
      throw invalidArgument('address', 'a path, or NUL and an abstract name', address);
    void this.socket.send(datagram, address.path);
  }
}
