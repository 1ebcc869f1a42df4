import { Buffer } from 'node:buffer';
import { checkInteger, checkOptions, invalidArgument } from '../arguments.ts';
import { IOLoopError, LimitError } from '../errors.ts';
import { type ProxyHeader, ProxyHeaderError, show } from './proxy-header.ts';
import { decodeLine, MAX_LINE } from './proxy-v1.ts';
import { checkVersion, decodeBinary, FIXED, LENGTH_AT, MAX_LENGTH, SIGNATURE } from './proxy-v2.ts';
import { type Chunk, EMPTY_CHUNK } from './read-buffer.ts';

const LINE_BEGINNING = Buffer.from('PROXY ');
const LF = 0x0a;
const CR = 0x0d;

/** What a header of version 2 may have by default: HAProxy and nginx send a tenth of that. */
export const MAX_PROXY_HEADER = 4096;

/**
 * Reads a PROXY header of either version, from bytes that come in any pieces. It knows no sockets, and
 * servers have it built in: `proxyProtocol` of {@link ServerOptions}.
 *
 * What is no header is known by its first wrong byte.
 */
export class ProxyHeaderParser {
  readonly #maxBytes: number;
  #bytes: Chunk = Buffer.alloc(MAX_LINE);
  #length = 0;
  #unread: Uint8Array = EMPTY_CHUNK;
  #spent = false;

  /**
   * @param options `maxBytes`: what a header of version 2 may have, 16 to 65,551; 4,096. A line of version 1
   *   has 107 at most.
   * @throws `ERR_IOLOOP_INVALID_ARGUMENT`.
   */
  constructor(options?: { maxBytes?: number | undefined }) {
    checkOptions(options);
    const { maxBytes = MAX_PROXY_HEADER } = options ?? {};
    checkMaxProxyHeader(maxBytes, 'options.maxBytes');
    this.#maxBytes = maxBytes;
  }

  /**
   * Takes the bytes that came next.
   *
   * @returns The header when it is complete, else null. It is spent then, as it is when it has thrown.
   * @throws ProxyHeaderError: that is no header, or a broken one. LimitError (`ERR_IOLOOP_READ_LIMIT`): it
   *   has more than `maxBytes`. `ERR_IOLOOP_INVALID_STATE` when it is spent.
   */
  push(data: Uint8Array): ProxyHeader | null {
    if (!(data instanceof Uint8Array)) throw invalidArgument('data', 'a Uint8Array', data);
    if (this.#spent) throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the header was parsed already');
    this.#spent = true;
    for (let offset = 0; offset < data.length; ) {
      const part = data.subarray(offset, offset + this.wanted);
      this.#bytes.set(part, this.#length);
      this.#length += part.length;
      offset += part.length;
      const end = this.#findEnd();
      if (end <= this.#length) {
        this.#unread = data.subarray(offset - (this.#length - end));
        return this.#decode(this.#bytes.subarray(0, end));
      }
    }
    this.#spent = false;
    return null;
  }

  /** How many bytes more may belong to the header. */
  get wanted(): number {
    return this.#bytes.length - this.#length;
  }

  /** Of what was pushed, what is behind the header. */
  get unread(): Uint8Array {
    return this.#unread;
  }

  #decode(header: Chunk): ProxyHeader {
    return header[0] === CR ? decodeBinary(header) : decodeLine(header);
  }

  /** Where the header ends; more than there is while that is not known. */
  #findEnd(): number {
    return this.#bytes[0] === CR ? this.#findEndOfBinary() : this.#findEndOfLine();
  }

  #findEndOfLine(): number {
    this.#checkBeginning(LINE_BEGINNING);
    const line = this.#bytes.subarray(0, this.#length);
    const end = line.indexOf(LF) + 1;
    if (end === 0 && this.#length < MAX_LINE) return MAX_LINE;
    if (end === 0) throw new ProxyHeaderError(`a line of version 1 ends within ${MAX_LINE} bytes`);
    if (line[end - 2] !== CR) throw new ProxyHeaderError('a line of version 1 ends with CR and LF');
    return end;
  }

  #findEndOfBinary(): number {
    this.#checkBeginning(SIGNATURE);
    if (this.#length > SIGNATURE.length) checkVersion(this.#bytes.readUInt8(SIGNATURE.length));
    if (this.#length < FIXED) return FIXED;
    const end = FIXED + this.#bytes.readUInt16BE(LENGTH_AT);
    if (end > this.#maxBytes)
      throw new LimitError('ERR_IOLOOP_READ_LIMIT', `a PROXY header of ${end} bytes`, this.#maxBytes);
    if (end > this.#bytes.length) this.#grow(end);
    return end;
  }

  #grow(size: number): void {
    // Memory of its own: what the header says is views of it.
    const bytes = Buffer.alloc(size);
    bytes.set(this.#bytes);
    this.#bytes = bytes;
  }

  #checkBeginning(expected: Uint8Array): void {
    const seen = this.#bytes.subarray(0, Math.min(this.#length, expected.length));
    if (seen.equals(expected.subarray(0, seen.length))) return;
    throw new ProxyHeaderError(`${show(this.#bytes.subarray(0, this.#length))} is no PROXY header`);
  }
}

/** A maximum for headers of version 2. */
export function checkMaxProxyHeader(value: unknown, name: string): asserts value is number {
  checkInteger(value, name, FIXED, FIXED + MAX_LENGTH);
}
