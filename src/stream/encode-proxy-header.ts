import { Buffer } from 'node:buffer';
import { type Address, toInetAddress } from '../address.ts';
import { checkBoolean, checkInteger, checkOneOf, checkOptions, invalidArgument } from '../arguments.ts';
import { isIpLiteral, packIp } from '../ip-literal.ts';
import { NO_DETAILS, type ProxyDetails, type ProxyHeader } from './proxy-header.ts';
import { encodeLine } from './proxy-v1.ts';
import { encodeBinary, FIXED, MAX_LENGTH } from './proxy-v2.ts';
import type { Chunk } from './read-buffer.ts';

/** What {@link encodeProxyHeader} has to say: any part of a {@link ProxyHeader}, and whether with a checksum. */
export type ProxyHeaderOptions = {
  readonly [Name in keyof ProxyHeader]?: ProxyHeader[Name] | undefined;
} & { readonly crc32c?: boolean | undefined };

/**
 * The PROXY header that a proxy sends ahead of all else, by default of version 2 and for a stream.
 *
 * Version 1 has no word for Unix addresses and for LOCAL: that is UNKNOWN then. An address of IPv4 beside one
 * of IPv6 is mapped to IPv6 (RFC 4291, 2.5.5.2); a zone is left out.
 *
 * @param options `source`: the client, `destination`: where it has connected to. Without both, the server
 *   takes the proxy itself for the client.
 * @throws `ERR_IOLOOP_INVALID_ARGUMENT`: one address alone; more than version 1 can say; a value, or all of
 *   them, that is too long.
 */
export function encodeProxyHeader(options: ProxyHeaderOptions): Chunk {
  checkOptions(options ?? null);
  const { version = 2, command = 'PROXY', transport, crc32c = false } = options;
  checkInteger(version, 'options.version', 1, 2);
  checkOneOf(command, 'options.command', ['PROXY', 'LOCAL']);
  checkOneOf(transport ?? undefined, 'options.transport', ['stream', 'datagram']);
  checkBoolean(crc32c, 'options.crc32c');
  const [source, destination] = command === 'LOCAL' ? [null, null] : addressesOf(options);
  const details = detailsOf(options);
  if (version === 1) {
    const isMore = Object.values(details).some((value) => value !== null && value !== details.tlvs);
    if (isMore || details.tlvs.length > 0 || crc32c || transport === 'datagram')
      throw invalidArgument('options', 'addresses of a stream alone, which are all of version 1', options);
    return encodeLine(source, destination);
  }
  const header = { version, command, transport: transport ?? null, source, destination, ...details };
  const bytes = encodeBinary(header, crc32c);
  if (bytes.length > FIXED + MAX_LENGTH)
    throw invalidArgument('options', `a header of ${FIXED + MAX_LENGTH} bytes at most`, options);
  return bytes;
}

/** The two addresses, of one family. */
function addressesOf(options: ProxyHeaderOptions): [source: Address | null, destination: Address | null] {
  const { source = null, destination = null } = options;
  if (source === null && destination === null) return [null, null];
  checkAddress(source, 'options.source');
  checkAddress(destination, 'options.destination');
  if ((source.family === 'Unix') !== (destination.family === 'Unix'))
    throw invalidArgument('options.destination', "in the same domain as 'options.source'", destination);
  const size = [source, destination].some(({ family }) => family === 'IPv6') ? 16 : 4;
  return [ofSize(source, size), ofSize(destination, size)];
}

/** The address in `size` bytes: IPv4 mapped to IPv6 where there is need for it. Without its zone. */
function ofSize(address: Address, size: number): Address {
  if (address.family === 'Unix') return address;
  const bytes = packIp(address.address.replace(/%.*$/, ''));
  if (bytes.length === size) return toInetAddress(bytes, address.port);
  return toInetAddress(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...bytes), address.port);
}

function checkAddress(address: Address | null, name: string): asserts address is Address {
  if (typeof address !== 'object' || address === null) throw invalidArgument(name, 'an address', address);
  const isInet = 'port' in address && isIpLiteral(address.address);
  if (isInet && (address.family === 'IPv6') === address.address.includes(':')) {
    checkInteger(address.port, `${name}.port`, 0, 65_535);
    return;
  }
  const isPath = 'path' in address && typeof address.path === 'string';
  if (!isPath || Buffer.byteLength(address.path) > 108)
    throw invalidArgument(name, 'an address, or a path of 108 bytes at most', address);
}

function detailsOf(options: ProxyHeaderOptions): ProxyDetails {
  const { alpn, authority, uniqueId, networkNamespace, ssl, tlvs } = { ...NO_DETAILS, ...options };
  const details = {
    alpn: alpn ?? null,
    authority: authority ?? null,
    uniqueId: uniqueId ?? null,
    networkNamespace: networkNamespace ?? null,
    ssl: ssl ?? null,
    tlvs: tlvs ?? [],
  };
  for (const name of ['alpn', 'authority', 'networkNamespace'] as const)
    if (details[name] !== null && typeof details[name] !== 'string')
      throw invalidArgument(`options.${name}`, 'a string', details[name]);
  if (uniqueId != null && !(uniqueId instanceof Uint8Array && uniqueId.length <= 128))
    throw invalidArgument('options.uniqueId', '128 bytes at most', uniqueId);
  if (!Array.isArray(details.tlvs)) throw invalidArgument('options.tlvs', 'an array', tlvs);
  for (const { type, value } of [...details.tlvs, ...(details.ssl?.tlvs ?? [])])
    if (!(Number.isInteger(type) && type >= 0 && type <= 255 && value.length <= MAX_LENGTH))
      throw invalidArgument('options.tlvs', 'types from 0 to 255 with 65,535 bytes at most', tlvs);
  return details;
}
