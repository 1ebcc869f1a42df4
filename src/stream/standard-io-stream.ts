import { type Address, toAddress, toUnixAddress } from '../address.ts';
import { checkFd, checkOptions, invalidArgument } from '../arguments.ts';
import { IOLoopError } from '../errors.ts';
import { Interest } from '../interest.ts';
import { addon, type NativeAddress, readPipe, shutdownStream, writePipe } from '../native.ts';
import { isNativeError } from '../native-error.ts';
import { IOStream } from './io-stream.ts';
import { type OutgoingFile, sendThroughMemory } from './outgoing-file.ts';
import { PipeEnd } from './pipe-end.ts';
import { type StreamOptions, streamSettings } from './stream-options.ts';

/** Which descriptors a {@link StandardIOStream} takes. */
export interface StandardIOOptions extends StreamOptions {
  /** What is read; 0, the standard input. */
  input?: number | undefined;
  /** What is written to; 1, the standard output. */
  output?: number | undefined;
}

/**
 * The standard input and output as one stream: what a filter, an inetd service or a child speaks over.
 *
 * Each may be a pipe, a FIFO, a terminal, a socket, a character device or a regular file; files and
 * /dev/null are always ready, and block for as long as the disk takes. Where they are sockets, `local` and
 * `remote` say whose; else both are the unnamed {@link UnixAddress}.
 *
 * The stream is over when both are closed, with what was written delivered and the flags of the open files,
 * which a shell shares, put back. The numbers 0 and 1 are /dev/null's from then on, so that nothing printed
 * goes to who gets them next. Nobody else may read `process.stdin` meanwhile; what is written to
 * `process.stdout` overtakes what is queued here.
 */
export class StandardIOStream extends IOStream {
  readonly #input: PipeEnd;
  readonly #output: PipeEnd;
  readonly #local: Address;
  #interest = 0;

  /**
   * @throws SystemError EPERM: a directory; EBADF. Nothing was taken then. `ERR_IOLOOP_INVALID_ARGUMENT`.
   */
  constructor(options?: StandardIOOptions) {
    checkOptions(options);
    const { input = 0, output = 1 } = options ?? {};
    checkFd(input, 'options.input');
    checkFd(output, 'options.output');
    if (input === output)
      throw invalidArgument('options.output', 'another than the input: PipeIOStream takes one', output);
    const settings = streamSettings(options);
    const [inEnd, outEnd] = openBoth(input, output);
    super(
      input,
      settings,
      addressOf(() => addon().peerAddress(input)),
      0,
    );
    this.#input = inEnd;
    this.#output = outEnd;
    this.#local = addressOf(() => addon().socketAddress(input));
    this.startReading();
  }

  override get local(): Address {
    return this.#local;
  }

  override detach(): never {
    throw new IOLoopError('ERR_IOLOOP_INVALID_STATE', 'a stream of two descriptors cannot be detached');
  }

  protected override setInterest(interest: number): void {
    const changed = interest ^ this.#interest;
    this.#interest = interest;
    if ((changed & Interest.READ) !== 0) this.#watch(this.#input, Interest.READ);
    if ((changed & Interest.WRITE) !== 0) this.#watch(this.#output, Interest.WRITE);
    this.countReference();
  }
  protected override get interest(): number {
    return this.#interest;
  }
  protected override forgetFd(): void {
    if (!this.loop.scheduler.closed) this.setInterest(0);
  }
  protected override get readsInPieces(): boolean {
    return this.#input.isAlwaysReady;
  }
  protected override readMore(): void {
    if (this.#input.isAlwaysReady) this.want(Interest.READ, true);
  }
  protected override get passesFds(): boolean {
    return false;
  }
  protected override readFromFd(target: Uint8Array, start: number): number {
    return readPipe(this.#input.fd, target, start, target.length - start);
  }
  protected override writeToFd(source: Uint8Array, start: number, end: number): number {
    return writePipe(this.#output.fd, source, start, end - start);
  }
  protected override writeViewsToFd(views: readonly Uint8Array[], skip: number): number {
    const [first] = views;
    return first === undefined ? 0 : this.writeToFd(first, skip, first.length);
  }
  protected override sendFileToFd(file: OutgoingFile, most: number): number {
    return sendThroughMemory(file, most, (bytes) => this.writeToFd(bytes, 0, bytes.length));
  }
  /** A pipe has no halves: the output's end is its close. */
  protected override shutdownFd(): void {
    if (this.#output.isSocket) {
      shutdownStream(this.#output.fd);
      return;
    }
    this.want(Interest.WRITE, false);
    this.#output.close();
  }
  protected override closeFd(): void {
    // The last one taken first: on a terminal both are one open file, which the first has found blocking.
    this.#output.close();
    this.#input.close();
  }
  protected override mustLinger(): boolean {
    return false;
  }
  protected override errorOf(result: number, call: string): Error {
    return super.errorOf(result, call === 'recv' ? 'read' : 'write');
  }

  #watch(end: PipeEnd, bit: number): void {
    end.watch(this.settings.streams, bit, (this.#interest & bit) === 0 ? null : this.#tell);
  }

  readonly #tell = (fd: number, events: number): void => {
    if (this.fd < 0) return;
    const end = fd === this.#input.fd ? this.#input : this.#output;
    if (end.isAlwaysReady) {
      if ((this.#interest & events) === 0) return;
      // Told once: it is asked for anew.
      this.#interest &= ~events;
    }
    this.ready(fd, events);
  };
}

function openBoth(input: number, output: number): [PipeEnd, PipeEnd] {
  const inEnd = PipeEnd.open(input);
  try {
    return [inEnd, PipeEnd.open(output)];
  } catch (error) {
    inEnd.giveBack();
    throw error;
  }
}

/** The address of a socket; of what is none, that of nobody. */
function addressOf(read: () => NativeAddress): Address {
  try {
    return toAddress(read());
  } catch (error) {
    if (isNativeError(error)) return toUnixAddress('');
    throw error;
  }
}
