import { type InetAddress, toAddress, toDotted, toIPv6 } from '../address.ts';
import { IOLoopError } from '../errors.ts';
import { type DatagramRows, FLAG, ROW } from '../native-datagrams.ts';
import { MessageBatch } from './message-batch.ts';

/** What the kernel says of a datagram beside where it came from. */
export interface DatagramInfo {
  /** The address that it was sent to: ours, a group, a broadcast. */
  readonly localAddress: string;
  /** Explicit congestion notification, 0 to 3: RFC 3168. */
  readonly ecn: number;
  /** Hops that it had left: its TTL, or its hop limit. */
  readonly ttl: number;
  /** When the kernel received it, in nanoseconds since 1970; 0 where it does not say. */
  readonly timestampNs: bigint;
}

/** UDP datagrams, as {@link DatagramSocket.onMessages} hands them out. */
export class DatagramBatch extends MessageBatch {
  /** The IP address that message `i` came from; a string is made at each call. */
  address(i: number): string {
    return textAt(this.rows, this.rowOf(i), ROW.ADDRESS, ROW.SCOPE);
  }

  /** The port that message `i` came from. */
  port(i: number): number {
    return this.rows.get(this.rowOf(i), ROW.PORT);
  }

  /** Where message `i` came from; its text is made when it is read. */
  source(i: number): InetAddress {
    const { rows } = this;
    const row = this.rowOf(i);
    const address = toAddress({
      family: rows.get(row, ROW.FAMILY) === 4 ? 4 : 6,
      port: rows.get(row, ROW.PORT),
      scope: rows.get(row, ROW.SCOPE),
      word0: rows.get(row, ROW.ADDRESS),
      word1: rows.get(row, ROW.ADDRESS + 1),
      word2: rows.get(row, ROW.ADDRESS + 2),
      word3: rows.get(row, ROW.ADDRESS + 3),
    });
    if (address.family !== 'Unix') return address;
    throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'no address of the Internet');
  }

  /** What came with message `i`; null without `packetInfo`. */
  info(i: number): DatagramInfo | null {
    const { rows } = this;
    const row = this.rowOf(i);
    if (!rows.has(row, FLAG.INFO)) return null;
    const low = BigInt(rows.get(row, ROW.TIMESTAMP) >>> 0);
    const high = BigInt(rows.get(row, ROW.TIMESTAMP + 1) >>> 0);
    return {
      localAddress: destinationAt(rows, row),
      ecn: rows.get(row, ROW.ECN),
      ttl: rows.get(row, ROW.TTL),
      timestampNs: (high << 32n) | low,
    };
  }
}

/** Where the datagram of `row` was sent to. */
function destinationAt(rows: DatagramRows, row: number): string {
  // An answer to a broadcast comes from an address of ours, which is the first word.
  if (rows.get(row, ROW.FAMILY) === 4) return toDotted(rows.get(row, ROW.LOCAL_ADDRESS + 1));
  const address = ROW.LOCAL_ADDRESS;
  if (isOfLink(rows.get(row, address))) return textAt(rows, row, address, ROW.LOCAL_SCOPE);
  return toIPv6(...wordsAt(rows, row, address), 0);
}

/** Whether an IPv6 address that begins with `word` says nothing without an interface: RFC 4007, section 4. */
function isOfLink(word: number): boolean {
  const isLinkLocal = word >>> 22 === 0xfe80 >>> 6;
  const isGroup = word >>> 24 === 0xff;
  const groupScope = (word >>> 16) & 15;
  return isLinkLocal || (isGroup && (groupScope === 1 || groupScope === 2));
}

/** The IP literal whose words begin at `word` of `row`. */
export function textAt(rows: DatagramRows, row: number, word: number, scope: number): string {
  if (rows.get(row, ROW.FAMILY) === 4) return toDotted(rows.get(row, word));
  return toIPv6(...wordsAt(rows, row, word), rows.get(row, scope));
}

function wordsAt(rows: DatagramRows, row: number, word: number): [number, number, number, number] {
  return [rows.get(row, word), rows.get(row, word + 1), rows.get(row, word + 2), rows.get(row, word + 3)];
}
