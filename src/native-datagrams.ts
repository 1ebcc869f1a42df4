/**
 * The datagrams' part of the door: what the addon does with sockets that keep message borders, and the
 * table ({@link DatagramRows}) in which both sides say what a message is.
 *
 * As in native.ts, descriptors made or adopted here belong to this environment, and what answers `void`
 * leaves a count or -errno in `Addon.result`.
 */
export interface DatagramAddon {
  /**
   * A socket of that kind, neither bound nor connected, for {@link bindDatagram} and the rest.
   *
   * On Linux those of the Internet are told of ICMP errors (IP_RECVERR, ip(7); {@link receiveError}), by
   * Ready.PRIORITY as well (SO_SELECT_ERR_QUEUE, socket(7)), and get no multicast but their own groups'
   * (IP_MULTICAST_ALL at 0); those of 'seqpacket' are told who
   * sent a message (SO_PASSCRED, unix(7)), which tells an empty one from the end. Throws.
   */
  openDatagram(kind: NativeDatagramKind): number;
  /**
   * Two that are connected to each other (socketpair(2)). Throws.
   */
  openDatagramPair(kind: 'unix' | 'seqpacket'): [number, number];
  /**
   * bind(2). A path gets its mode before anybody can send to it; -1 leaves what umask(2) made of it. A
   * path that exists is EADDRINUSE. Throws.
   */
  bindDatagram(fd: number, path: string | undefined, host: string, port: number, mode: number): void;
  /** connect(2). Throws; ECONNREFUSED of a path: nobody is there any more; EAGAIN: its backlog is full. */
  connectDatagram(fd: number, path: string | undefined, host: string, port: number): void;
  /** connect(2) to nobody (AF_UNSPEC). Throws. */
  disconnectDatagram(fd: number): void;
  /** A socket of 'seqpacket' that listens, for `acceptStream`; as `listenStream` at a path. Throws. */
  listenSeqpacket(path: string, backlog: number, mode: number): number;
  /** Takes over a listening socket of 'seqpacket'. Throws ENOTSOCK, EINVAL (of another type, or not listening). */
  adoptSeqpacketListener(fd: number): void;
  /** Takes over a socket with message borders. Throws ENOTSOCK, EINVAL (of another type, or listening). */
  adoptDatagram(fd: number): NativeDatagramKind;

  /**
   * Has {@link receiveDatagrams} fill in what `wanted` names: bits of {@link WANT}. Throws; ENOPROTOOPT
   * and ENOTSUP where the system has none of it.
   */
  wantControl(fd: number, wanted: number): void;

  /**
   * recvmmsg(2): as many messages as are there, one to each slot of `slotSize` bytes of `slab` and one
   * to each row of `rows`; a slot's last 64 bytes stay free, so that slots do not share cache lines.
   * Names in the Unix domain go to `names`, NAME_SIZE bytes a row. Descriptors that came along go to
   * `fds`, and belong to this environment; without `fds`, or where they do not fit, they are closed.
   * What UDP_GRO has joined is one row with its {@link ROW.segment}.
   */
  receiveDatagrams(
    fd: number,
    slab: Uint8Array,
    slotSize: number,
    rows: Int32Array,
    names: Uint8Array,
    fds: Int32Array | undefined,
  ): void;
  /**
   * sendmmsg(2) of `count` messages from row `first` on, whose data are in `bytes`: how many were
   * taken, or -errno of the first. A name in the Unix domain stands in `bytes` right before the data.
   */
  sendDatagrams(
    fd: number,
    bytes: Uint8Array,
    rows: Int32Array,
    first: number,
    count: number,
    fds: Int32Array | undefined,
  ): void;
  /**
   * The next error that waits (MSG_ERRQUEUE of recv(2), SO_ERROR): 1 and in row 0 its errno, as `size`,
   * and whom the datagram was sent to, where that is known; 0: none waits.
   */
  receiveError(fd: number, rows: Int32Array): void;

  /** Messages that the kernel dropped for want of room, 32 bits of it (SO_MEMINFO); 0 where it does not tell. */
  droppedByKernel(fd: number): number;
  /** An IP literal as `family`, port 0, scope and words of a row's address, from `target[0]` on: 0 or -errno. */
  parseIp(literal: string, target: Int32Array): number;
  /**
   * Joins a multicast group, or leaves it: of `source` alone, unless it is ''. `networkInterface` is a
   * name, a number, an address of it, or '' (MCAST_JOIN_GROUP and its kin, RFC 3678). Throws.
   */
  setMembership(fd: number, group: string, networkInterface: string, source: string, join: boolean): void;
  /** The interface that multicasts leave by: as for {@link setMembership}. Throws. */
  setMulticastInterface(fd: number, networkInterface: string): void;
  /** Who has connected, or made the pair (SO_PEERCRED, unix(7)); where a system does not tell pid, -1. Throws. */
  peerCredentials(fd: number): { pid: number; uid: number; gid: number };
  /** What this kernel has, asked of it once. */
  capabilities(): NativeCapabilities;
}

/** Families and types that keep message borders. */
export type NativeDatagramKind = 'udp4' | 'udp6' | 'unix' | 'seqpacket';

/** What the kernel under us can do. */
export interface NativeCapabilities {
  /** recvmmsg(2) and sendmmsg(2): many messages in a system call. */
  readonly batchedDatagrams: boolean;
  /** UDP_SEGMENT of udp(7): the kernel cuts a send into datagrams. */
  readonly udpSegment: boolean;
  /** UDP_GRO of udp(7): the kernel joins what it receives. */
  readonly udpGro: boolean;
  /** Names in the Unix domain that are no paths. */
  readonly abstractNames: boolean;
  /** SOCK_SEQPACKET in the Unix domain. */
  readonly seqpacket: boolean;
  /** Who sent a message, SCM_CREDENTIALS of unix(7). */
  readonly credentials: boolean;
  /** What a socket dropped, SO_MEMINFO. */
  readonly dropCounts: boolean;
}

/** What {@link DatagramAddon.wantControl} may be asked for. */
export const WANT = {
  /** Where a datagram was sent to: IP_PKTINFO, IPV6_RECVPKTINFO. */
  LOCAL: 1,
  /** Its ECN and TTL, and when it came: IP_RECVTOS, IP_RECVTTL, SO_TIMESTAMPNS and their kin. */
  INFO: 2,
  /** UDP_GRO. */
  GRO: 4,
  /** SO_PASSCRED. */
  CREDENTIALS: 8,
} as const;

// native/core/datagram_row.h and datagram_socket.h have the same lists.

/** The words of a row. */
export const ROW = {
  /** Where its data begin. */
  OFFSET: 0,
  SIZE: 1,
  /** Bits of {@link FLAG}. */
  FLAGS: 2,
  /** Whom it is from, or goes to: 0: not known, or whom the socket is connected to; 1: in the Unix domain; 4; 6. */
  FAMILY: 3,
  /** In the Unix domain the bytes of the name. */
  PORT: 4,
  /** The interface of a link-local address; else 0. */
  SCOPE: 5,
  /** Four: as `NativePeer.word0` and on. */
  ADDRESS: 6,
  /** The interface that it came by, or leaves by; 0: any. */
  LOCAL_SCOPE: 10,
  /** Four: what an answer is sent from. IPv4: that in the first word, the destination as it was sent in the second. */
  LOCAL_ADDRESS: 11,
  /** The bytes of each datagram in it but the last; 0: it is one. */
  SEGMENT: 15,
  ECN: 16,
  TTL: 17,
  /** Two: nanoseconds since 1970, low word first. */
  TIMESTAMP: 18,
  /** The first of its descriptors, in `fds`. */
  FIRST_FD: 20,
  FD_COUNT: 21,
  /** Who sent it, in the Unix domain: in place of {@link ECN} and what follows. */
  PID: 16,
  UID: 17,
  GID: 18,
  WORDS: 22,
} as const;

/** Bits of {@link ROW.FLAGS}. */
export const FLAG = {
  /** It was longer than its slot. */
  TRUNCATED: 1,
  /** What came along did not fit, and descriptors of it were closed: MSG_CTRUNC. */
  CONTROL_TRUNCATED: 2,
  /** {@link ROW.LOCAL_ADDRESS} is filled in. */
  LOCAL: 4,
  /** {@link ROW.ECN} and what follows are filled in. */
  INFO: 8,
  /** {@link ROW.PID} and what follows are filled in. */
  CREDENTIALS: 16,
} as const;

/** The longest name in the Unix domain: sun_path of unix(7). */
export const NAME_SIZE = 108;
/** Most descriptors of one message: SCM_MAX_FD of unix(7). */
export const MAX_FDS = 253;

/** The rows of a table, in memory that never leaves this package's hands. */
export class DatagramRows {
  /** For the addon alone. */
  readonly words: Int32Array<ArrayBuffer>;
  /** How many there are. */
  readonly capacity: number;

  constructor(capacity: number) {
    this.words = new Int32Array(capacity * ROW.WORDS);
    this.capacity = capacity;
  }

  /** One word of a row. */
  get(row: number, word: number): number {
    return this.words[row * ROW.WORDS + word] as number;
  }

  set(row: number, word: number, value: number): void {
    this.words[row * ROW.WORDS + word] = value;
  }

  /** Whether a flag of a row is set: a bit of {@link FLAG}. */
  has(row: number, flag: number): boolean {
    return (this.get(row, ROW.FLAGS) & flag) !== 0;
  }

  /** Makes `row` a row for `size` bytes at `offset` that goes to whom the socket is connected to. */
  clear(row: number, offset: number, size: number): void {
    const start = row * ROW.WORDS;
    this.words.fill(0, start, start + ROW.WORDS);
    this.words[start + ROW.OFFSET] = offset;
    this.words[start + ROW.SIZE] = size;
  }

  /** Sets whom `row` goes to: `address` as parseIp() has left it. */
  setDestination(row: number, address: Int32Array, port: number): void {
    this.words.set(address, row * ROW.WORDS + ROW.FAMILY);
    this.words[row * ROW.WORDS + ROW.PORT] = port;
  }

  /** Has `row` go to whom row `from` of `received` came from, from where that was sent to. */
  setAnswer(row: number, received: DatagramRows, from: number): void {
    const source = from * ROW.WORDS;
    const target = row * ROW.WORDS;
    // Twelve words: a loop is faster than a call.
    for (let word: number = ROW.FAMILY; word < ROW.SEGMENT; word++)
      this.words[target + word] = received.words[source + word] as number;
    this.words[target + ROW.FLAGS] = (received.words[source + ROW.FLAGS] as number) & FLAG.LOCAL;
  }

  /** Copies `count` rows of `source`, from row `from` on, to this one's row `to` and on. */
  copy(source: DatagramRows, from: number, count: number, to: number): void {
    this.words.set(source.words.subarray(from * ROW.WORDS, (from + count) * ROW.WORDS), to * ROW.WORDS);
  }
}

/** Words of an address as {@link DatagramAddon.parseIp} fills them in. */
export const ADDRESS_WORDS: number = ROW.LOCAL_SCOPE - ROW.FAMILY;
