import type { Address, InetAddress, UnixAddress } from '../address.ts';
import type { DatagramSocket } from '../datagram/datagram-socket.ts';
import type { UnixDatagramSocket } from '../datagram/unix-datagram-socket.ts';

/** Where a UDP datagram goes: an IP literal and a port. What {@link DatagramProtocol.datagramReceived} is given is one. */
export type UdpTarget = Pick<InetAddress, 'address' | 'port'>;

/** Where a Unix datagram goes. What {@link UnixDatagramProtocol.datagramReceived} is given is one. */
export type UnixTarget = Pick<UnixAddress, 'path'>;

/** A socket of datagrams, as its protocol uses it. */
export interface DatagramTransport<Source extends Address, Target, Socket> {
  /**
   * Sends one datagram; without an address to whom the transport is connected to. `datagram` is yours
   * again when the call returns. No effect once {@link stopListening} was called.
   *
   * To the sender of the datagram that is being received, by the very address that came with it, it
   * leaves with the other replies of the turn, from the address that was written to, and no text is made
   * of either. What the kernel does not take at once is queued. What is refused goes to `onError`: ENOBUFS
   * when the queue is full (see {@link droppedWrites}), EMSGSIZE, ENETUNREACH ...
   *
   * @throws `ERR_IOLOOP_INVALID_ARGUMENT`; `ERR_IOLOOP_INVALID_STATE`: it is connected to somebody else.
   */
  write(datagram: string | Uint8Array, address?: Target): void;
  /** {@link write} of the views in order, as one datagram. */
  writeSequence(parts: Iterable<Uint8Array>, address?: Target): void;
  /** Where it is bound. */
  getHost(): Source;
  /** Whom it is connected to; null: nobody. */
  getPeer(): Source | null;
  /** The socket, for what has no word here: its options, counts, pauses. */
  getHandle(): Socket;
  /**
   * Receives no more, sends what is queued, and closes. Idempotent; settles when the descriptor is gone
   * and the protocol was told.
   */
  stopListening(): Promise<void>;
  /** Datagrams that were written and found no room in the queue: `maxQueueSize`, `maxQueueLength`. */
  readonly droppedWrites: number;
  /** Keeps the process alive while it receives: the default. */
  ref(): this;
  /** Does not keep the process alive by receiving. */
  unref(): this;
  /** {@link stopListening} */
  [Symbol.asyncDispose](): Promise<void>;
}

/** A UDP socket, as its {@link DatagramProtocol} uses it. */
export interface UdpTransport extends DatagramTransport<InetAddress, UdpTarget, DatagramSocket> {
  /**
   * Sends to this address, and receives from nobody else, from now on; that it refuses what it is sent
   * (ICMP) is told by {@link DatagramProtocol.connectionRefused}.
   *
   * @param host An IP literal: nothing is resolved here.
   * @throws SystemError ENETUNREACH, EACCES ...
   */
  connect(host: string, port: number): void;
  /**
   * Receives what is sent to a multicast group.
   *
   * @param networkInterface Its name, number or address; the system's choice.
   * @throws SystemError ENODEV: no such interface; EADDRINUSE: joined already; EINVAL: no group.
   */
  joinGroup(group: string, networkInterface?: string): void;
  /** The end of {@link joinGroup}. @throws SystemError EADDRNOTAVAIL: it is not in the group. */
  leaveGroup(group: string, networkInterface?: string): void;
  /** The interface that multicasts leave by: its name, number or address; '': the system's choice. */
  setOutgoingInterface(networkInterface: string): void;
  /** How many hops a multicast may go, 1 by default: 0 stays on this machine. */
  setTtl(ttl: number): void;
  /** What {@link setTtl} has set. */
  getTtl(): number;
  /** Whether this machine's members of a group get what is sent from here; true. */
  setLoopbackMode(on: boolean): void;
  /** What {@link setLoopbackMode} has set. */
  getLoopbackMode(): boolean;
  /** Whether broadcasts may be sent (SO_BROADCAST, socket(7)); false. */
  setBroadcastAllowed(on: boolean): void;
  /** What {@link setBroadcastAllowed} has set. */
  getBroadcastAllowed(): boolean;
}

/** A Unix datagram socket, as its {@link UnixDatagramProtocol} uses it. */
export interface UnixDatagramTransport
  extends DatagramTransport<UnixAddress, UnixTarget, UnixDatagramSocket> {}
