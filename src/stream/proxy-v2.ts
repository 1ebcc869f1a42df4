import { Buffer } from 'node:buffer';
import { type Address, toInetAddress, toUnixAddress } from '../address.ts';
import { packIp } from '../ip-literal.ts';
import { NO_DETAILS, type ProxyHeader, ProxyHeaderError } from './proxy-header.ts';
import { decodeTlvs, encodeTlvs, sign, UNSIGNED } from './proxy-tlvs.ts';
import type { Chunk } from './read-buffer.ts';

/** What it begins with: no protocol of lines takes that for a line of its own. */
export const SIGNATURE: Uint8Array = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
/** Signature, version and command, family and transport, and the length of what follows. */
export const FIXED = 16;
/** Where that length is. */
export const LENGTH_AT = 14;
/** The longest length. */
export const MAX_LENGTH = 0xffff;

const VERSION = 0x20;
const LOCAL = 0;
const PROXY = 1;
const UNSPECIFIED = 0x00;
const TRANSPORTS = { 1: 'stream', 2: 'datagram' } as const;
/** Bytes of sun_path, unix(7) on Linux. */
const UNIX_PATH = 108;

/** How the two addresses are there: by the upper half of the byte that says the family. */
const FAMILIES: Readonly<Record<number, { readonly size: number; readonly decode: DecodeAddresses }>> = {
  1: { size: 12, decode: (bytes) => decodeInet(bytes, 4) },
  2: { size: 36, decode: (bytes) => decodeInet(bytes, 16) },
  3: { size: 2 * UNIX_PATH, decode: (bytes) => [decodePath(bytes, 0), decodePath(bytes, UNIX_PATH)] },
};

type DecodeAddresses = (bytes: Chunk) => readonly [source: Address, destination: Address];

/**
 * Checks the byte behind the signature: the version and the command.
 *
 * @throws ProxyHeaderError
 */
export function checkVersion(byte: number): void {
  if ((byte & 0xf0) !== VERSION) throw new ProxyHeaderError(`version ${byte >>> 4} is not known`);
  if ((byte & 0x0f) > PROXY) throw new ProxyHeaderError(`command ${byte & 0x0f} is not known`);
}

/**
 * What a header of version 2 says, all of which is in `bytes`, and whose first byte is checked.
 *
 * @throws ProxyHeaderError
 */
export function decodeBinary(bytes: Chunk): ProxyHeader {
  const nobody = { version: 2, transport: null, source: null, destination: null, ...NO_DETAILS } as const;
  // Whatever family it says, and whatever follows: it is to be discarded.
  if ((bytes.readUInt8(12) & 0x0f) === LOCAL) return { ...nobody, command: 'LOCAL' };
  const kind = bytes.readUInt8(13);
  if (kind === UNSPECIFIED) return { ...nobody, command: 'PROXY', ...decodeTlvs(bytes, FIXED) };
  const family = FAMILIES[kind >>> 4];
  const half = kind & 0x0f;
  if (family === undefined || (half !== 1 && half !== 2))
    throw new ProxyHeaderError(`family and transport 0x${kind.toString(16).padStart(2, '0')} are not known`);
  const end = FIXED + family.size;
  if (bytes.length < end)
    throw new ProxyHeaderError(`${bytes.length - FIXED} bytes do not hold addresses of ${family.size}`);
  const [source, destination] = family.decode(bytes.subarray(FIXED, end));
  const transport = TRANSPORTS[half];
  return { version: 2, command: 'PROXY', transport, source, destination, ...decodeTlvs(bytes, end) };
}

/** What {@link decodeBinary} reads; of two addresses of one family. `crc32c`: with a checksum. */
export function encodeBinary(header: ProxyHeader, crc32c: boolean): Chunk {
  const { command, transport, source, destination } = header;
  const bytes = Buffer.concat([
    SIGNATURE,
    Uint8Array.of(VERSION | (command === 'LOCAL' ? LOCAL : PROXY), UNSPECIFIED, 0, 0),
    ...(source === null || destination === null ? [] : encodeAddresses(source, destination)),
    encodeTlvs(header),
    ...(crc32c ? [UNSIGNED] : []),
  ]);
  if (source !== null) {
    const family = { IPv4: 1, IPv6: 2, Unix: 3 }[source.family];
    bytes.writeUInt8((family << 4) | (transport === 'datagram' ? 2 : 1), 13);
  }
  // One that is too long for its length is refused by who asked for it.
  bytes.writeUInt16BE((bytes.length - FIXED) & MAX_LENGTH, LENGTH_AT);
  if (crc32c) sign(bytes);
  return bytes;
}

function decodeInet(bytes: Chunk, size: number): [source: Address, destination: Address] {
  const ports = 2 * size;
  return [
    toInetAddress(bytes.subarray(0, size), bytes.readUInt16BE(ports)),
    toInetAddress(bytes.subarray(size, ports), bytes.readUInt16BE(ports + 2)),
  ];
}

/** A path ends at its NUL; an abstract name begins with one, and its length is not said: NULs at its end are padding. */
function decodePath(bytes: Chunk, start: number): Address {
  const padded = bytes.toString('utf8', start, start + UNIX_PATH);
  if (!padded.startsWith('\0')) return toUnixAddress(padded.replace(/\0.*$/s, ''));
  return toUnixAddress(padded.replace(/\0+$/, ''));
}

function encodeAddresses(source: Address, destination: Address): Uint8Array[] {
  if (source.family === 'Unix' || destination.family === 'Unix') return [source, destination].map(encodePath);
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(source.port);
  ports.writeUInt16BE(destination.port, 2);
  return [packIp(source.address), packIp(destination.address), ports];
}

function encodePath(address: Address): Uint8Array {
  const padded = Buffer.alloc(UNIX_PATH);
  if (address.family === 'Unix') padded.write(address.path);
  return padded;
}
