import { type Address, toInetAddress } from '../../address.ts';
import { packIp } from '../../ip-literal.ts';

/**
 * Whose connections are counted together, in words: an IPv4 address, also where it comes as an IPv4-mapped IPv6
 * one (RFC 4291 section 2.5.5.2); of an IPv6 address its network, since whoever has one address has all of that
 * (RFC 6177); of a link-local one the address and its zone, since all of a link share that network.
 *
 * @param prefixLength How many bits of an IPv6 address are its network.
 * @returns null: a local peer, which has no address.
 */
export function peerOf(address: Address, prefixLength: number): string | null {
  if (address.family === 'Unix') return null;
  const literal = address.address;
  if (address.family === 'IPv4') return literal;
  const bytes = packIp(literal.replace(/%.*$/, ''));
  if (isMapped(bytes)) return bytes.subarray(12).join('.');
  if (isLinkLocal(bytes)) return literal;
  const network = bytes.map((byte, index) => byte & mask(prefixLength - index * 8));
  return `${toInetAddress(network, 0).address}/${prefixLength}`;
}

/** ::ffff:0:0/96 */
function isMapped(bytes: Uint8Array): boolean {
  return bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
}

/** fe80::/10 */
function isLinkLocal(bytes: Uint8Array): boolean {
  const [first = 0, second = 0] = bytes;
  return first === 0xfe && (second & 0xc0) === 0x80;
}

/** The bits of a byte that belong to a network whose prefix has `bits` from there on. */
function mask(bits: number): number {
  return 0xff00 >> Math.min(Math.max(bits, 0), 8);
}
