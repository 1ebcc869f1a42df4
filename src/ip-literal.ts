import { isIP } from 'node:net';

/** Whether `host` is an IPv4 or IPv6 address, with a zone or without: 'fe80::1%eth0'. */
export function isIpLiteral(host: string): boolean {
  const address = host.replace(/%[^%]+$/, '');
  return !address.includes('%') && isIP(address) !== 0;
}

/** The family of an IP literal. */
export function familyOf(literal: string): 4 | 6 {
  return literal.includes(':') ? 6 : 4;
}

/** The 4 or 16 bytes of an IP literal without a zone, in network order: inet_pton(3). */
export function packIp(literal: string): Uint8Array {
  if (familyOf(literal) === 4) return Uint8Array.from(literal.split('.'), Number);
  const [head = '', tail] = literal.split('::');
  const before = groupsOf(head);
  const behind = groupsOf(tail ?? '');
  const packed = new Uint8Array(16);
  packed.set(before);
  packed.set(behind, packed.length - behind.length);
  return packed;
}

/** The bytes of groups between colons, the last of which may be of IPv4. */
function groupsOf(groups: string): number[] {
  if (groups === '') return [];
  return groups.split(':').flatMap((group) => {
    if (group.includes('.')) return group.split('.').map(Number);
    const word = Number.parseInt(group, 16);
    return [word >>> 8, word & 0xff];
  });
}
