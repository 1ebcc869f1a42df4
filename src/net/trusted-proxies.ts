import { BlockList, isIP, isIPv4 } from 'node:net';
import type { Address } from '../address.ts';
import { invalidArgument } from '../arguments.ts';

/** Whom to believe by default: those who share this machine. */
const THIS_MACHINE = ['loopback', 'unix'];
const LOOPBACK = ['127.0.0.0/8', '::1'];

/** The peers whose word on whom they speak for is taken: `trustedProxies` of {@link ServerOptions}. */
export class TrustedProxies {
  readonly #addresses = new BlockList();
  #unix = false;

  /**
   * @param list IP addresses, networks (`'10.0.0.0/8'`, RFC 4632), `'loopback'`, `'unix'`.
   * @throws `ERR_IOLOOP_INVALID_ARGUMENT` with what is none of these.
   */
  constructor(list: readonly string[] = THIS_MACHINE) {
    if (!Array.isArray(list)) throw invalidArgument('options.trustedProxies', 'an array', list);
    for (const entry of list) {
      if (entry === 'unix') this.#unix = true;
      else if (entry === 'loopback') for (const network of LOOPBACK) this.#add(network);
      else this.#add(entry);
    }
  }

  /** Whether `peer` is one of them. An IPv4 address that is mapped to IPv6 is the IPv4 address. */
  has(peer: Address): boolean {
    if (peer.family === 'Unix') return this.#unix;
    // A zone, '%eth0', is no part of the address.
    return this.#addresses.check(peer.address.replace(/%.*$/, ''), peer.family === 'IPv4' ? 'ipv4' : 'ipv6');
  }

  #add(entry: unknown): void {
    const [, address = '', prefix] =
      /^([\d.]+|[\da-f:.]+)(?:\/(0|[1-9]\d{0,2}))?$/i.exec(String(entry)) ?? [];
    const bits = isIPv4(address) ? 32 : 128;
    if (isIP(address) === 0 || Number(prefix ?? 0) > bits)
      throw invalidArgument('options.trustedProxies', "IP addresses, networks, 'loopback', 'unix'", entry);
    this.#addresses.addSubnet(address, Number(prefix ?? bits), bits === 32 ? 'ipv4' : 'ipv6');
  }
}
