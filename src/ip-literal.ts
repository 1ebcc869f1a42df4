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
