import type { NativeAddress } from './native.ts';

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

/** An address as the addon gives it. */
export function toAddress(native: NativeAddress): Address {
  return 'path' in native ? new Unix(native.path) : new Inet(native.address, native.port);
}
