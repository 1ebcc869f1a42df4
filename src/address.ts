import { addon, type NativeAddress, type NativePeer } from './native.ts';

/** An IPv4 or IPv6 address with its port; has the shape of Node's `net.AddressInfo`. */
export interface InetAddress {
  readonly family: 'IPv4' | 'IPv6';
  /** The IP literal. */
  readonly address: string;
  readonly port: number;
  /** `'127.0.0.1:80'`, `'[::1]:80'`. */
  toString(): string;
}

/** A name in the Unix domain: a path, `''` for unnamed, or NUL and an abstract name. */
export interface UnixAddress {
  readonly family: 'Unix';
  readonly path: string;
  /** The path; an abstract name with `@` for its NUL. */
  toString(): string;
}

/** Where a socket is. */
export type Address = InetAddress | UnixAddress;

class Inet implements InetAddress {
  readonly family: 'IPv4' | 'IPv6';
  readonly address: string;
  readonly port: number;

  constructor(address: string, port: number) {
    this.family = address.includes(':') ? 'IPv6' : 'IPv4';
    this.address = address;
    this.port = port;
  }

  toString(): string {
    return this.family === 'IPv6' ? `[${this.address}]:${this.port}` : `${this.address}:${this.port}`;
  }
}

class Unix implements UnixAddress {
  readonly family = 'Unix';
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  toString(): string {
    return this.path.replace('\0', '@');
  }
}

// A peer as it was accepted: its text is made when it is read, which many servers never do. Words are
// kept signed, since V8 gives larger numbers a place of their own.

class PeerIPv4 implements InetAddress {
  readonly port: number;
  readonly #word: number;

  constructor({ port, word0 }: NativePeer) {
    this.port = port;
    this.#word = word0 | 0;
  }

  get family(): 'IPv4' {
    return 'IPv4';
  }

  get address(): string {
    return toDotted(this.#word);
  }

  toString(): string {
    return `${this.address}:${this.port}`;
  }

  toJSON(): { family: string; address: string; port: number } {
    return { family: this.family, address: this.address, port: this.port };
  }
}

class PeerIPv6 implements InetAddress {
  readonly port: number;
  readonly #word0: number;
  readonly #word1: number;
  readonly #word2: number;
  readonly #word3: number;
  readonly #scope: number;

  constructor(peer: NativePeer) {
    this.port = peer.port;
    this.#word0 = peer.word0 | 0;
    this.#word1 = peer.word1 | 0;
    this.#word2 = peer.word2 | 0;
    this.#word3 = peer.word3 | 0;
    this.#scope = peer.scope;
  }

  get family(): 'IPv6' {
    return 'IPv6';
  }

  get address(): string {
    return toIPv6(this.#word0, this.#word1, this.#word2, this.#word3, this.#scope);
  }

  toString(): string {
    return `[${this.address}]:${this.port}`;
  }

  toJSON(): { family: string; address: string; port: number } {
    return { family: this.family, address: this.address, port: this.port };
  }
}

/** The literal of an IPv4 address, whose first byte is in the highest bits of `word`. */
export function toDotted(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
}

/** The literal of an IPv6 address; `scope`: the interface of a link-local one, else 0. */
export function toIPv6(word0: number, word1: number, word2: number, word3: number, scope: number): string {
  const text = toColons([word0, word1, word2, word3]);
  return scope === 0 ? text : `${text}%${addon().interfaceName(scope)}`;
}

// As inet_ntop(3) writes it, and so all of Node: the longest run of zeros is '::', the first of equal
// ones, a single zero never; what holds an IPv4 address ends in its dotted form.
function toColons(words: readonly [number, number, number, number]): string {
  const groups = words.flatMap((word) => [word >>> 16, word & 0xffff]);
  const { start, length } = longestZeros(groups);
  const last = words[3];
  if (start === 0 && length === 6) return `::${toDotted(last)}`;
  if (start === 0 && length === 5 && groups[5] === 0xffff) return `::ffff:${toDotted(last)}`;
  const hex = groups.map((group) => group.toString(16));
  if (length < 2) return hex.join(':');
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`;
}

function longestZeros(groups: readonly number[]): { start: number; length: number } {
  let longest = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let end = start;
    while (groups[end] === 0) end++;
    if (end - start > longest.length) longest = { start, length: end - start };
  }
  return longest;
}

/** The address of 4 bytes of IPv4 or 16 of IPv6, in network order. */
export function toInetAddress(bytes: Uint8Array, port: number): InetAddress {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length === 4) return new Inet(toDotted(view.getInt32(0)), port);
  return new Inet(toIPv6(view.getInt32(0), view.getInt32(4), view.getInt32(8), view.getInt32(12), 0), port);
}

/** The address of a path, of an abstract name after a NUL, or of nobody: ''. */
export function toUnixAddress(path: string): UnixAddress {
  return new Unix(path);
}

/** An address as the addon gives it; null is the accepted peer that has no name, in the Unix domain. */
export function toAddress(native: NativeAddress | NativePeer | null): Address {
  if (native === null) return new Unix('');
  if ('path' in native) return new Unix(native.path);
  if ('address' in native) return new Inet(native.address, native.port);
  return native.family === 4 ? new PeerIPv4(native) : new PeerIPv6(native);
}
