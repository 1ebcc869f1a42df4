import type { Address } from '../address.ts';
import type { Chunk } from './read-buffer.ts';

/**
 * What a proxy says of the connection that it forwards, ahead of the first byte of that: HAProxy's PROXY
 * protocol (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt), of which version 1 is a line of
 * text, and version 2 binary.
 */
export interface ProxyHeader extends ProxyDetails {
  readonly version: 1 | 2;
  /** LOCAL: the proxy speaks for itself, a health check; nothing else is said then. */
  readonly command: 'PROXY' | 'LOCAL';
  /** How the client came to the proxy; null: by neither, or unknown. */
  readonly transport: 'stream' | 'datagram' | null;
  /** The client; null: the proxy speaks for itself, or does not know. */
  readonly source: Address | null;
  /** Where the client has connected to; null with {@link source}. */
  readonly destination: Address | null;
}

/** What version 2 may say beside the addresses; null: it did not. */
export interface ProxyDetails {
  /** What the client and the proxy agreed on by ALPN (RFC 7301). */
  readonly alpn: string | null;
  /** The name that the client asked for: SNI of TLS. It is as the client sent it: nobody has checked it. */
  readonly authority: string | null;
  /** What tells the connection from all others; up to 128 bytes. */
  readonly uniqueId: Uint8Array | null;
  /** The name of the proxy's network namespace, ip-netns(8). */
  readonly networkNamespace: string | null;
  /** TLS between the client and the proxy. */
  readonly ssl: ProxySsl | null;
  /** What else came, in order: types that have no property here. Without checksum and padding, which are done with. */
  readonly tlvs: readonly ProxyTlv[];
}

/** TLS between a client and a proxy. */
export interface ProxySsl {
  /** Whether the client came over TLS. */
  readonly encrypted: boolean;
  /** Whether the client showed a certificate: on this connection, or on one whose session it resumed. */
  readonly certificate: 'connection' | 'session' | null;
  /** Whether there is a certificate and the proxy has found it good. */
  readonly verified: boolean;
  /** `'TLSv1.3'`. */
  readonly version: string | null;
  /** The common name in the client's certificate. */
  readonly commonName: string | null;
  /** `'TLS_AES_128_GCM_SHA256'`, `'ECDHE-RSA-AES128-GCM-SHA256'`. */
  readonly cipher: string | null;
  /** What the proxy's certificate is signed with: `'RSA-SHA256'`. */
  readonly signatureAlgorithm: string | null;
  /** The key of the proxy's certificate: `'RSA2048'`. */
  readonly keyAlgorithm: string | null;
  /** What else came, in order. */
  readonly tlvs: readonly ProxyTlv[];
}

/** A value by its type, as it came (type, length, value). */
export interface ProxyTlv {
  /** 0 to 255; 0xE0 to 0xEF are free for applications. */
  readonly type: number;
  readonly value: Uint8Array;
}

/** What came is no PROXY header, or a broken one. */
export class ProxyHeaderError extends Error {
  override readonly name = 'ProxyHeaderError';
}

/** Nothing beside the addresses. */
export const NO_DETAILS: ProxyDetails = {
  alpn: null,
  authority: null,
  uniqueId: null,
  networkNamespace: null,
  ssl: null,
  tlvs: [],
};

/** The beginning of `bytes`, for a message. */
export function show(bytes: Chunk): string {
  return JSON.stringify(bytes.toString('latin1', 0, 24));
}
