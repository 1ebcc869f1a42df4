import type { TcpInfo } from './tcp-info.ts';

/**
 * Descriptors for streams and their servers: non-blocking, close-on-exec, never a SIGPIPE.
 *
 * Those made or adopted here belong to this environment, which closes what is left of them when it
 * ends; {@link closeStream}, {@link abortStream} and {@link releaseStream} end that. What answers
 * `void` leaves a count, a descriptor or -errno in `Addon.result`: the functions of the same
 * names in native.ts return it.
 */
export interface StreamAddon {
  acceptStream(listener: number): void;
  /** What {@link readPeer} reads. */
  readonly peer: Int32Array;
  /** The name of a network interface, its number where it has none (if_indextoname(3)). */
  interfaceName(index: number): string;

  /**
   * A listening socket. At a path its mode is set before anybody can connect; -1 leaves what
   * umask(2) made of it. A path that exists is EADDRINUSE, whether somebody listens there or not.
   * "::" takes IPv4 too, unless `ipv6Only`. What {@link setSocketOption} sets on it, accepted
   * sockets inherit (Linux, tcp(7)). Throws; what is refused of `presets` with its name as the call.
   */
  listenStream(
    path: string | undefined,
    host: string,
    port: number,
    backlog: number,
    reusePort: boolean,
    ipv6Only: boolean,
    mode: number,
    presets?: readonly NativePreset[],
  ): number;
  /**
   * Begins to connect: writable when it is decided, {@link Addon.socketError} then tells how. From
   * `localAddress` (an IP literal, '' for any) and `localPort` (0 for any; then the port is chosen
   * for the whole four-tuple, IP_BIND_ADDRESS_NO_PORT of ip(7)). Throws what is refused at once;
   * ECONNREFUSED of a path: nobody listens there any more; EAGAIN of a path: its backlog is full; what
   * is refused of `presets` with its name as the call.
   */
  connectStream(
    path: string | undefined,
    host: string,
    port: number,
    localAddress: string,
    localPort: number,
    presets?: readonly NativePreset[],
  ): number;
  /** /dev/null, held in reserve against EMFILE. Throws. */
  openSpare(): number;

  /** Takes over a connected stream socket. Throws ENOTSOCK, EINVAL (of another type), ENOTCONN. */
  adoptSocket(fd: number): void;
  /** Takes over a listening stream socket. Throws ENOTSOCK, EINVAL (of another type, or not listening). */
  adoptListener(fd: number): void;
  /**
   * Takes over a pipe, FIFO, terminal, character device or socket: its status flags as they were
   * (F_GETFL of fcntl(2)), for {@link openDirections} and {@link restoreFlags}. Throws EPERM for a
   * regular file or a directory, which are never not ready.
   */
  adoptPipe(fd: number): number;
  /** Sets the status flags (F_SETFL): what another process sees of a shared file, too. 0 or -errno. */
  restoreFlags(fd: number, flags: number): number;

  closeStream(fd: number): void;
  abortStream(fd: number): void;
  /** The descriptor is its taker's from now on. */
  releaseStream(fd: number): void;
  shutdownStream(fd: number): void;

  readPipe(fd: number, target: Uint8Array, offset?: number, length?: number): void;
  writePipe(fd: number, source: Uint8Array, offset?: number, length?: number): void;
  sendVector(fd: number, views: readonly Uint8Array[], first: number, count: number, skip: number): void;
  sendFile(socket: number, file: number, offset: number, count: number): void;
  unreadBytes(fd: number): void;
  unsentBytes(fd: number): void;

  /** A duplicate, close-on-exec (F_DUPFD_CLOEXEC of fcntl(2)). Throws. */
  duplicate(fd: number): number;
  sendWithFds(fd: number, source: Uint8Array, start: number, length: number, fds: Int32Array): void;
  recvWithFds(fd: number, target: Uint8Array, start: number, length: number, fds: Int32Array): void;

  /** The option of that name in this system's headers ('SO_RCVBUF', 'TCP_NODELAY' ...), null: it has none. */
  socketOption(name: string): NativeOption | null;
  /** setsockopt(2): 0 or -errno. */
  setSocketOption(fd: number, level: number, name: number, value: Uint8Array): number;
  /** getsockopt(2): the bytes filled in, or -errno. */
  getSocketOption(fd: number, level: number, name: number, target: Uint8Array): number;
  /** TCP_INFO, as much of it as this kernel tells. Throws, ENOTSUP where the system has none. */
  tcpInfo(fd: number): TcpInfo;

  /** Which file `path` names, links not followed; for {@link unlinkPath} alone. Throws. */
  fileIdentity(path: string): string;
  /** Unlinks `path` if it still names that file: 0 or -errno, ESTALE: it names another. */
  unlinkPath(path: string, identity: string): number;

  /** The limit on what streams hold in memory, in bytes for the whole process, 0: none set. Sets it first, if given. */
  memoryBudget(limit?: number): number;
  /**
   * Adds bytes to what streams hold, takes them away if negative: the total of the process. What an
   * environment has added is taken away when it ends.
   */
  memoryAdd(delta: number): number;
}

/** Level and number for {@link StreamAddon.setSocketOption}, and what its value is in C. */
export type NativeOption = readonly [level: number, name: number, kind: 'int' | 'linger' | 'string'];

/**
 * An option that is set right after socket(2), where some have to be, by its name for people. Those of
 * IPv6 are left out on sockets of IPv4.
 */
export type NativePreset = readonly [name: string, level: number, number: number, value: Uint8Array];

/**
 * A path, or else an IP literal with a port. It crosses as three arguments, because an object's
 * properties cannot be read in an environment that is ending, where calls still come from.
 */
export interface NativeTarget {
  readonly path: string | undefined;
  readonly host: string;
  readonly port: number;
}
/**
 * Who was accepted: the numbers of an address, whose text is made when somebody reads it.
 *
 * A word is four bytes of it, the first in the highest bits; IPv4 has all in the first.
 */
export interface NativePeer {
  readonly family: 4 | 6;
  readonly port: number;
  /** The interface of a link-local address, for {@link StreamAddon.interfaceName}; else 0. */
  readonly scope: number;
  readonly word0: number;
  readonly word1: number;
  readonly word2: number;
  readonly word3: number;
}
// native/core/socket.h has the same list.
export type PeerWords = readonly [
  family: 0 | 4 | 6,
  port: number,
  scope: number,
  number,
  number,
  number,
  number,
];
/** What the kernel says of a socket. */
export type NativeAddress = { address: string; port: number } | { path: string };
