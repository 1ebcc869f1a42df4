/**
 * The common socket options by the names of their man pages. Which there are depends on the system: one that
 * it does not have is `ERR_IOLOOP_INVALID_ARGUMENT`, and one that a socket of this kind does not have
 * ENOPROTOOPT or ENOTSUP. "Root": CAP_NET_ADMIN, unless it says otherwise; without it EPERM.
 *
 * What is set on a listening socket, accepted ones inherit (Linux).
 */
export interface SocketOptions {
  // ---- socket(7)

  /** Sends to a broadcast address are allowed. Datagrams only. */
  SO_BROADCAST?: boolean | undefined;
  /** Goes by this network interface alone, as 'eth0'; '': by any. Root (CAP_NET_RAW) to change it once it is set. */
  SO_BINDTODEVICE?: string | undefined;
  /** Microseconds that a receive which would block polls the device. Older kernels: root to raise it. */
  SO_BUSY_POLL?: number | undefined;
  /** Goes to hosts of a network of ours alone, by no gateway. */
  SO_DONTROUTE?: boolean | undefined;
  /** Of sockets that share a port, this is for packets handled by that CPU. Reads as the CPU of the last packet. */
  SO_INCOMING_CPU?: number | undefined;
  /** Probes a silent peer: {@link TCP_KEEPIDLE} and its kin say when. */
  SO_KEEPALIVE?: boolean | undefined;
  /** Seconds that close(2) waits for what is unsent, 0: it resets; negative: it does neither, the default. */
  SO_LINGER?: number | undefined;
  /** Mark of its packets, for routes and filters. Root. */
  SO_MARK?: number | undefined;
  /** Urgent data stay in line. */
  SO_OOBINLINE?: boolean | undefined;
  /** Messages say who sent them (SCM_CREDENTIALS of unix(7)). */
  SO_PASSCRED?: boolean | undefined;
  /** Busy polling goes before interrupts. Root to set it. */
  SO_PREFER_BUSY_POLL?: boolean | undefined;
  /** Priority of its packets in queues of the device, 0 to 6; above that, root. */
  SO_PRIORITY?: number | undefined;
  /** Bytes of the receive buffer, which the kernel doubles; net.core.rmem_max at most. Before connect or listen, for TCP's window. */
  SO_RCVBUF?: number | undefined;
  /** As {@link SO_RCVBUF}, beyond that limit. Root. */
  SO_RCVBUFFORCE?: number | undefined;
  /** Bytes that have to wait before it is readable. */
  SO_RCVLOWAT?: number | undefined;
  /** Binds to a port in TIME_WAIT; servers set it themselves. Before bind. */
  SO_REUSEADDR?: boolean | undefined;
  /** Several sockets of one user share the port. Before bind, on each of them. */
  SO_REUSEPORT?: boolean | undefined;
  /** Counts what was dropped for want of room (SO_RXQ_OVFL). Datagrams only. */
  SO_RXQ_OVFL?: boolean | undefined;
  /** Bytes of the send buffer, as {@link SO_RCVBUF}; net.core.wmem_max at most. */
  SO_SNDBUF?: number | undefined;
  /** As {@link SO_SNDBUF}, beyond that limit. Root. */
  SO_SNDBUFFORCE?: number | undefined;
  /** Bytes that have to fit before it is writable; Linux has it at 1 for good: ENOPROTOOPT. */
  SO_SNDLOWAT?: number | undefined;
  /** Messages say when they came, in nanoseconds. Datagrams only. */
  SO_TIMESTAMPNS?: boolean | undefined;
  /** Sends with MSG_ZEROCOPY are allowed; streams here make none. */
  SO_ZEROCOPY?: boolean | undefined;

  // ---- tcp(7)

  /** Congestion control, one of net.ipv4.tcp_available_congestion_control. Root for what is not in tcp_allowed_congestion_control. */
  TCP_CONGESTION?: string | undefined;
  /** Sends no segment that is not full, for 200 ms at most. */
  TCP_CORK?: boolean | undefined;
  /** On a listener: seconds that a connection may wait for its first bytes before it is accepted without any. */
  TCP_DEFER_ACCEPT?: number | undefined;
  /** On a listener, before or after listen(2): how many connections with data in their SYN may wait (net.ipv4.tcp_fastopen). */
  TCP_FASTOPEN?: number | undefined;
  /** Before connect(2): that answers at once, and the SYN leaves with the first bytes written. */
  TCP_FASTOPEN_CONNECT?: boolean | undefined;
  /** Probes without an answer before the connection is given up. */
  TCP_KEEPCNT?: number | undefined;
  /** Seconds of silence before the first probe. */
  TCP_KEEPIDLE?: number | undefined;
  /** Seconds between probes. */
  TCP_KEEPINTVL?: number | undefined;
  /** Seconds in FIN_WAIT2 after close(2). */
  TCP_LINGER2?: number | undefined;
  /** Bytes of a segment at most. Before connect, to tell the peer. */
  TCP_MAXSEG?: number | undefined;
  /** Small segments leave at once; streams set it themselves: `noDelay`. */
  TCP_NODELAY?: boolean | undefined;
  /** {@link TCP_CORK}, as BSD calls it. */
  TCP_NOPUSH?: boolean | undefined;
  /** Unsent bytes above which it is not writable. */
  TCP_NOTSENT_LOWAT?: number | undefined;
  /** Acknowledges at once, for now: the kernel goes back to delaying by itself. */
  TCP_QUICKACK?: boolean | undefined;
  /** SYNs sent again before connect(2) gives up. Before connect. */
  TCP_SYNCNT?: number | undefined;
  /** Milliseconds that sent bytes may go without an acknowledgement; 0: the system's default. */
  TCP_USER_TIMEOUT?: number | undefined;
  /** Bytes of the window that the peer is told, at most. */
  TCP_WINDOW_CLAMP?: number | undefined;

  // ---- ip(7)

  /** bind(2) at port 0 leaves the choice of a port to connect(2). */
  IP_BIND_ADDRESS_NO_PORT?: boolean | undefined;
  /** Binds to an address that is not, or not yet, of this machine. Before bind. */
  IP_FREEBIND?: boolean | undefined;
  /** The path MTU of a connected socket, in bytes. To be read only. */
  IP_MTU?: number | undefined;
  /** Path MTU discovery: 0 never, 1 by the route, 2 always (EMSGSIZE for what is too long), 3 sends and does not listen. */
  IP_MTU_DISCOVER?: number | undefined;
  /** Gets multicasts of groups that others on this machine have joined. */
  IP_MULTICAST_ALL?: boolean | undefined;
  /** Multicasts that it sends come to this machine as well. */
  IP_MULTICAST_LOOP?: boolean | undefined;
  /** TTL of its multicasts; 1: this network. */
  IP_MULTICAST_TTL?: number | undefined;
  /** Messages say where they were sent to. Datagrams only. */
  IP_PKTINFO?: boolean | undefined;
  /** Errors wait in a queue of their own, with what they are about (MSG_ERRQUEUE of recv(2)). */
  IP_RECVERR?: boolean | undefined;
  /** DSCP and ECN of its packets: the whole byte. */
  IP_TOS?: number | undefined;
  /** Takes connections to any address, for transparent proxies. Before bind. Root (or CAP_NET_RAW). */
  IP_TRANSPARENT?: boolean | undefined;
  /** TTL of its packets, 1 to 255. */
  IP_TTL?: number | undefined;

  // ---- ipv6(7)

  /** Fragments no packet of its own: EMSGSIZE. Datagrams only. */
  IPV6_DONTFRAG?: boolean | undefined;
  /** The path MTU of a connected socket, in bytes. */
  IPV6_MTU?: number | undefined;
  /** As {@link IP_MTU_DISCOVER}. */
  IPV6_MTU_DISCOVER?: number | undefined;
  /** As {@link IP_MULTICAST_ALL}. */
  IPV6_MULTICAST_ALL?: boolean | undefined;
  /** As {@link IP_MULTICAST_TTL}. */
  IPV6_MULTICAST_HOPS?: number | undefined;
  /** As {@link IP_MULTICAST_LOOP}. */
  IPV6_MULTICAST_LOOP?: boolean | undefined;
  /** As {@link IP_RECVERR}. */
  IPV6_RECVERR?: boolean | undefined;
  /** As {@link IP_TOS}. */
  IPV6_TCLASS?: number | undefined;
  /** As {@link IP_TTL}. */
  IPV6_UNICAST_HOPS?: number | undefined;
  /** "::" takes no IPv4; servers set it themselves: `ipv6Only`. Before bind. */
  IPV6_V6ONLY?: boolean | undefined;

  // ---- udp(7)

  /** Gathers what is sent into one datagram, until it is off again. */
  UDP_CORK?: boolean | undefined;
  /** Receives datagrams of one sender joined; sockets here set it themselves. */
  UDP_GRO?: boolean | undefined;
  /** Bytes of the datagrams that one send is cut into. */
  UDP_SEGMENT?: number | undefined;
}
