import { Buffer } from 'node:buffer';
import { crc32c } from './crc32c.ts';
import { type ProxyDetails, ProxyHeaderError, type ProxySsl, type ProxyTlv } from './proxy-header.ts';
import type { Chunk } from './read-buffer.ts';

// PP2_TYPE_ of the specification, section 2.2.
const ALPN = 0x01;
const AUTHORITY = 0x02;
const CRC32C = 0x03;
const NOOP = 0x04;
const UNIQUE_ID = 0x05;
const SSL = 0x20;
const NETNS = 0x30;
const MAX_UNIQUE_ID = 128;

// PP2_SUBTYPE_SSL_
const SSL_VERSION = 0x21;
const SSL_CN = 0x22;
const SSL_CIPHER = 0x23;
const SSL_SIG_ALG = 0x24;
const SSL_KEY_ALG = 0x25;
/** A byte of flags and a word that says how the certificate was found. */
const SSL_FIXED = 5;

// PP2_CLIENT_
const CLIENT_SSL = 0x01;
const CLIENT_CERT_CONN = 0x02;
const CLIENT_CERT_SESS = 0x04;

const KNOWN = [ALPN, AUTHORITY, CRC32C, UNIQUE_ID, SSL, NETNS];
const KNOWN_OF_SSL = [SSL_VERSION, SSL_CN, SSL_CIPHER, SSL_SIG_ALG, SSL_KEY_ALG];

/**
 * What the TLVs of `header` say, which begin at `start`. Clears the checksum in it.
 *
 * @throws ProxyHeaderError
 */
export function decodeTlvs(header: Chunk, start: number): ProxyDetails {
  const { known, tlvs } = sort(header.subarray(start), KNOWN);
  checkSum(header, known.get(CRC32C));
  const uniqueId = known.get(UNIQUE_ID) ?? null;
  if (uniqueId !== null && uniqueId.length > MAX_UNIQUE_ID)
    throw new ProxyHeaderError(`the unique ID has ${uniqueId.length} bytes, more than ${MAX_UNIQUE_ID}`);
  return {
    alpn: known.get(ALPN)?.toString('latin1') ?? null,
    authority: known.get(AUTHORITY)?.toString() ?? null,
    uniqueId,
    networkNamespace: known.get(NETNS)?.toString() ?? null,
    ssl: decodeSsl(known.get(SSL)),
    tlvs,
  };
}

/** What {@link decodeTlvs} reads, in pieces, without the checksum. */
export function encodeTlvs({ alpn, authority, uniqueId, networkNamespace, ssl, tlvs }: ProxyDetails): Chunk {
  return Buffer.concat([
    ...(alpn === null ? [] : tlv(ALPN, Buffer.from(alpn, 'latin1'))),
    ...text(AUTHORITY, authority),
    ...(uniqueId === null ? [] : tlv(UNIQUE_ID, uniqueId)),
    ...(ssl === null ? [] : tlv(SSL, encodeSsl(ssl))),
    ...text(NETNS, networkNamespace),
    ...tlvs.flatMap(({ type, value }) => tlv(type, value)),
  ]);
}

/** A checksum that {@link sign} fills in. */
export const UNSIGNED: Uint8Array = Uint8Array.of(CRC32C, 0, 4, 0, 0, 0, 0);

/** Fills in the checksum of `header`, which ends in {@link UNSIGNED}. */
export function sign(header: Chunk): void {
  header.writeUInt32BE(crc32c(header), header.length - 4);
}

/** The checksum is that of the header with zeros in its own place. */
function checkSum(header: Chunk, sum: Chunk | undefined): void {
  if (sum === undefined) return;
  if (sum.length !== 4) throw new ProxyHeaderError(`the checksum has ${sum.length} bytes, not 4`);
  const expected = sum.readUInt32BE();
  sum.fill(0);
  if (crc32c(header) !== expected) throw new ProxyHeaderError('the checksum (CRC32C) is wrong');
}

function decodeSsl(bytes: Chunk | undefined): ProxySsl | null {
  if (bytes === undefined) return null;
  if (bytes.length < SSL_FIXED)
    throw new ProxyHeaderError(`${bytes.length} bytes say of TLS, fewer than ${SSL_FIXED}`);
  const client = bytes.readUInt8();
  const { known, tlvs } = sort(bytes.subarray(SSL_FIXED), KNOWN_OF_SSL);
  const textOf = (type: number): string | null => known.get(type)?.toString() ?? null;
  const certificate =
    (client & CLIENT_CERT_CONN) !== 0 ? 'connection' : (client & CLIENT_CERT_SESS) !== 0 ? 'session' : null;
  return {
    encrypted: (client & CLIENT_SSL) !== 0,
    certificate,
    // Without a certificate there is none to find fault with, and HAProxy says 0 as well.
    verified: certificate !== null && bytes.readUInt32BE(1) === 0,
    version: textOf(SSL_VERSION),
    commonName: textOf(SSL_CN),
    cipher: textOf(SSL_CIPHER),
    signatureAlgorithm: textOf(SSL_SIG_ALG),
    keyAlgorithm: textOf(SSL_KEY_ALG),
    tlvs,
  };
}

function encodeSsl(ssl: ProxySsl): Chunk {
  const fixed = Buffer.alloc(SSL_FIXED);
  const shown = { connection: CLIENT_CERT_CONN | CLIENT_CERT_SESS, session: CLIENT_CERT_SESS, none: 0 };
  fixed.writeUInt8((ssl.encrypted ? CLIENT_SSL : 0) | shown[ssl.certificate ?? 'none']);
  fixed.writeUInt32BE(ssl.verified ? 0 : 1, 1);
  return Buffer.concat([
    fixed,
    ...text(SSL_VERSION, ssl.version),
    ...text(SSL_CN, ssl.commonName),
    ...text(SSL_CIPHER, ssl.cipher),
    ...text(SSL_SIG_ALG, ssl.signatureAlgorithm),
    ...text(SSL_KEY_ALG, ssl.keyAlgorithm),
    ...ssl.tlvs.flatMap(({ type, value }) => tlv(type, value)),
  ]);
}

/** The TLVs in `bytes`: those of `types` by their type, and the others. */
function sort(
  bytes: Chunk,
  types: readonly number[],
): { readonly known: ReadonlyMap<number, Chunk>; readonly tlvs: readonly ProxyTlv[] } {
  const known = new Map<number, Chunk>();
  const tlvs: ProxyTlv[] = [];
  for (let start = 0; start < bytes.length; ) {
    const left = bytes.length - start;
    const end = left < 3 ? Number.POSITIVE_INFINITY : start + 3 + bytes.readUInt16BE(start + 1);
    if (end > bytes.length)
      throw new ProxyHeaderError(`a TLV does not fit into the ${left} bytes left for it`);
    const type = bytes.readUInt8(start);
    const value = bytes.subarray(start + 3, end);
    // Which of two to believe is nothing to be guessed.
    if (known.has(type)) throw new ProxyHeaderError(`there are two TLVs of type ${type}`);
    if (types.includes(type)) known.set(type, value);
    else if (type !== NOOP) tlvs.push({ type, value });
    start = end;
  }
  return { known, tlvs };
}

function text(type: number, value: string | null): Uint8Array[] {
  return value === null ? [] : tlv(type, Buffer.from(value));
}

function tlv(type: number, value: Uint8Array): Uint8Array[] {
  return [Uint8Array.of(type, value.length >>> 8, value.length & 0xff), value];
}
