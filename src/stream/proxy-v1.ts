import { Buffer } from 'node:buffer';
import { isIPv4, isIPv6 } from 'node:net';
import { type Address, type InetAddress, toInetAddress } from '../address.ts';
import { packIp } from '../ip-literal.ts';
import { NO_DETAILS, type ProxyHeader, ProxyHeaderError, show } from './proxy-header.ts';
import type { Chunk } from './read-buffer.ts';

/** The longest line: two IPv6 addresses, or whatever is UNKNOWN. */
export const MAX_LINE = 107;

const UNKNOWN = 'PROXY UNKNOWN';
const FORM = /^PROXY TCP([46]) ([^ ]+) ([^ ]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})\r\n$/;

/**
 * What a line of version 1 says; it ends in CRLF.
 *
 * @throws ProxyHeaderError
 */
export function decodeLine(line: Chunk): ProxyHeader {
  const unknown: ProxyHeader = {
    version: 1,
    command: 'PROXY',
    transport: null,
    source: null,
    destination: null,
    ...NO_DETAILS,
  };
  const text = line.toString('latin1');
  // What else is said then is to be ignored.
  if (text === `${UNKNOWN}\r\n` || text.startsWith(`${UNKNOWN} `)) return unknown;
  const [, family, source, destination, sourcePort, destinationPort] = FORM.exec(text) ?? [];
  if (source === undefined || destination === undefined)
    throw new ProxyHeaderError(`${show(line)} is no line of PROXY's version 1`);
  const isOfFamily = family === '4' ? isIPv4 : isIPv6Address;
  const endpoint = (address: string, port: number): InetAddress => {
    if (!isOfFamily(address)) throw new ProxyHeaderError(`'${address}' is no address of IPv${family}`);
    if (port > 0xffff) throw new ProxyHeaderError(`${port} is no port`);
    return toInetAddress(packIp(address), port);
  };
  return {
    ...unknown,
    transport: 'stream',
    source: endpoint(source, Number(sourcePort)),
    destination: endpoint(destination, Number(destinationPort)),
  };
}

/** The line of version 1 for two addresses of one family; UNKNOWN for what it has no word for. */
export function encodeLine(source: Address | null, destination: Address | null): Chunk {
  if (source === null || destination === null || source.family === 'Unix' || destination.family === 'Unix')
    return Buffer.from(`${UNKNOWN}\r\n`);
  const protocol = source.family === 'IPv4' ? 'TCP4' : 'TCP6';
  const words = [protocol, source.address, destination.address, source.port, destination.port];
  return Buffer.from(`PROXY ${words.join(' ')}\r\n`);
}

/** Node allows for a zone, '%eth0'. */
function isIPv6Address(text: string): boolean {
  return isIPv6(text) && !text.includes('%');
}
