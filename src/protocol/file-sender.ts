import { Buffer } from 'node:buffer';
import { read } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { promisify } from 'node:util';
import { checkFd, checkFunction, invalidArgument } from '../arguments.ts';
import { type Deferred, deferred } from '../deferred.ts';
import { IOLoopError } from '../errors.ts';
import type { Consumer, Producer } from './transport.ts';

/** What a {@link FileSender} reads: a path, which it opens and closes, or what is open, and stays so. */
export type FileSource = string | number | FileHandle;

/** Bytes that are read at once. */
const PIECE = 64 * 1024;
const readFd = promisify(read);

interface Transfer {
  readonly source: FileSource;
  readonly consumer: Consumer;
  readonly transform: ((piece: Buffer) => Uint8Array) | undefined;
  readonly sent: Deferred<number>;
  /** What it opens. */
  opened: Promise<FileHandle> | null;
  isReading: boolean;
  /** Bytes written. */
  count: number;
}

/**
 * Sends files to a consumer, a piece each time that the one before has left: no more than that is in memory.
 *
 * Where nothing is transformed, {@link IOStream.sendFile} does not even take it into memory.
 */
export class FileSender implements Producer {
  #transfer: Transfer | null = null;

  /**
   * Sends all of a file, behind what `consumer` took before, as its pull producer.
   *
   * @param source What is open is read from where it stands to its end.
   * @param transform What to send in place of each piece: its bytes, or others, or none.
   * @returns How many bytes were written, when the last were. Rejects with what node:fs says or `transform`
   *   throws; `ERR_IOLOOP_STREAM_CLOSED` when the consumer takes no more, which nobody has to handle.
   * @throws `ERR_IOLOOP_INVALID_STATE` while it sends another, or `consumer` has a producer.
   */
  beginFileTransfer(
    source: FileSource,
    consumer: Consumer,
    transform?: (piece: Buffer) => Uint8Array,
  ): Promise<number> {
    if (typeof source === 'number') checkFd(source, 'source');
    else if (typeof source !== 'string' && typeof source?.read !== 'function')
      throw invalidArgument('source', 'a path, a descriptor or a FileHandle', source);
    for (const method of ['write', 'registerProducer', 'unregisterProducer'] as const)
      checkFunction(consumer?.[method], `consumer.${method}`);
    if (transform !== undefined) checkFunction(transform, 'transform');
    if (this.#transfer !== null)
      throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'the sender sends another file');
    const transfer: Transfer = {
      source,
      consumer,
      transform,
      sent: deferred(),
      opened: null,
      isReading: false,
      count: 0,
    };
    this.#transfer = transfer;
    try {
      consumer.registerProducer(this, false);
    } catch (error) {
      this.#transfer = null;
      throw error;
    }
    return transfer.sent.promise;
  }

  /** Sends the next piece. Called by the consumer. */
  resumeProducing(): void {
    const transfer = this.#transfer;
    if (transfer !== null && !transfer.isReading) void this.#sendPiece(transfer);
  }

  /** Does nothing: it sends what it is asked for. */
  pauseProducing(): void {}

  /** Ends the transfer. Called by the consumer. */
  stopProducing(): void {
    const transfer = this.#transfer;
    if (transfer === null) return;
    // The connection tells its end by itself.
    transfer.sent.promise.catch(() => {});
    void this.#end(transfer, new IOLoopError('ERR_IOLOOP_STREAM_CLOSED', 'the consumer takes no more'));
  }

  async #sendPiece(transfer: Transfer): Promise<void> {
    const { consumer, transform } = transfer;
    transfer.isReading = true;
    try {
      for (;;) {
        const piece = await readPiece(transfer);
        if (this.#transfer !== transfer) return;
        if (piece.length === 0) break;
        const sent = transform === undefined ? piece : transform(piece);
        transfer.count += sent.length;
        if (sent.length === 0) continue;
        // It may ask for the next from within write().
        transfer.isReading = false;
        consumer.write(sent);
        return;
      }
      await this.#end(transfer, null);
    } catch (error) {
      await this.#end(transfer, error);
    }
  }

  /** Over: with an error, or everything was written. */
  async #end(transfer: Transfer, error: unknown): Promise<void> {
    if (this.#transfer !== transfer) return;
    const { consumer, sent, opened, count } = transfer;
    this.#transfer = null;
    consumer.unregisterProducer();
    // An error of it was told already, or is none of the transfer's.
    await opened?.then((file) => file.close()).catch(() => {});
    if (error === null) sent.resolve(count);
    else sent.reject(error);
  }
}

/** The next piece; empty: that was the last. */
async function readPiece(transfer: Transfer): Promise<Buffer> {
  const { source } = transfer;
  const piece = Buffer.allocUnsafeSlow(PIECE);
  if (typeof source === 'number') {
    const { bytesRead } = await readFd(source, piece, 0, PIECE, null);
    return piece.subarray(0, bytesRead);
  }
  const file = typeof source === 'string' ? await openOnce(transfer, source) : source;
  const { bytesRead } = await file.read(piece, 0, PIECE, null);
  return piece.subarray(0, bytesRead);
}

function openOnce(transfer: Transfer, path: string): Promise<FileHandle> {
  transfer.opened ??= open(path);
  return transfer.opened;
}
