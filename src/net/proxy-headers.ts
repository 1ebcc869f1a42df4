import type { Address } from '../address.ts';
import { checkBoolean } from '../arguments.ts';
import type { IOStream } from '../stream/io-stream.ts';
import { checkMaxProxyHeader, MAX_PROXY_HEADER, ProxyHeaderParser } from '../stream/proxy-header-parser.ts';
import type { ServerOptions } from './server-options.ts';
import { TrustedProxies } from './trusted-proxies.ts';

/** The PROXY headers that a server waits for, each within its time. */
export class ProxyHeaders {
  readonly #trusted: TrustedProxies;
  readonly #maxBytes: number;
  readonly #timeoutMs: number;

  private constructor(trusted: TrustedProxies, maxBytes: number, timeoutMs: number) {
    this.#trusted = trusted;
    this.#maxBytes = maxBytes;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Those that `options` ask for; null: none.
   *
   * @throws `ERR_IOLOOP_INVALID_ARGUMENT`.
   */
  static of(options: ServerOptions | undefined, timeoutMs: number): ProxyHeaders | null {
    const { proxyProtocol = false, trustedProxies, maxProxyHeaderSize = MAX_PROXY_HEADER } = options ?? {};
    checkBoolean(proxyProtocol, 'options.proxyProtocol');
    checkMaxProxyHeader(maxProxyHeaderSize, 'options.maxProxyHeaderSize');
    const trusted = new TrustedProxies(trustedProxies);
    return proxyProtocol ? new ProxyHeaders(trusted, maxProxyHeaderSize, timeoutMs) : null;
  }

  /** Whether one comes first: from those who are trusted it must, and in the others' bytes nobody looks for it. */
  isDueFrom(peer: Address): boolean {
    return this.#trusted.has(peer);
  }

  /**
   * Takes the header from the front of `stream`, and tells it to that; what is behind it stays unread.
   *
   * @throws ProxyHeaderError, LimitError, TimeoutError; StreamClosedError: the peer has left.
   */
  async receive(stream: IOStream): Promise<void> {
    const { loop } = stream;
    const deadline = loop.time() + this.#timeoutMs;
    const parser = new ProxyHeaderParser({ maxBytes: this.#maxBytes });
    for (;;) {
      const timeoutMs = Math.max(0, deadline - loop.time());
      const header = parser.push(await stream.readBytes(parser.wanted, { partial: true, timeoutMs }));
      if (header === null) continue;
      if (parser.unread.length > 0) stream.unshift(parser.unread);
      stream.cameThrough(header);
      return;
    }
  }
}
