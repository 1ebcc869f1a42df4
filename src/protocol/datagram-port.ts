import { Buffer } from 'node:buffer';
import type { Address } from '../address.ts';
import type { MessageBatch } from '../datagram/message-batch.ts';
import type { SocketOwner } from '../datagram/socket-core.ts';
import { deferred } from '../deferred.ts';
import { isPromise } from '../entry-runner.ts';
import { IOLoopError, type SystemError } from '../errors.ts';
import type { IOLoop } from '../ioloop.ts';
import type { LoopPart } from '../loop-part.ts';
import { printError } from '../net/server-options.ts';
import type { DatagramTransport } from './datagram-transport.ts';

/** What a datagram port tells its protocol. */
interface PortProtocol<Source> {
  doStop(): void | Promise<void>;
  datagramReceived(data: Buffer, address: Source, truncated: boolean): void;
  connectionRefused(): void;
}

/** Messages, each with where it came from. */
type SourcedBatch<Source> = MessageBatch & { source(i: number): Source };

/** A socket of datagrams, as its port sees it. */
interface PortSocket<Batch, Source> {
  readonly loop: IOLoop;
  readonly local: Source;
  readonly closed: boolean;
  onMessages(listener: (batch: Batch) => void): void;
  close(): Promise<void>;
  ref(): this;
  unref(): this;
  /** @internal */
  owner: object | null;
  /** @internal */
  sendLast(): void;
  /** @internal */
  abort(): void;
}

/** What {@link listenUdp} and its sisters make: a socket that receives for a protocol. */
export abstract class DatagramPort<
  Source extends Target & Address,
  Target,
  Batch extends SourcedBatch<Source>,
  Socket extends PortSocket<Batch, Source>,
> implements DatagramTransport<Source, Target, Socket>, SocketOwner<Socket>, LoopPart
{
  protected readonly socket: Socket;
  readonly #protocol: PortProtocol<Source>;
  readonly #onError: ((error: unknown) => void) | undefined;
  readonly #stopped = deferred();
  #host: Source;
  /** The batch and the place of the message that the protocol is given now, and where it came from. */
  #batch: Batch | null = null;
  #place = 0;
  #sender: Source | null = null;
  #droppedWrites = 0;

  protected constructor(
    socket: Socket,
    protocol: PortProtocol<Source>,
    onError: ((error: unknown) => void) | undefined,
  ) {
    this.socket = socket;
    this.#protocol = protocol;
    this.#onError = onError;
    this.#host = socket.local;
  }

  // ---- what its kinds say

  abstract getPeer(): Source | null;

  /** Sends by the socket, to its peer or to `address`. */
  protected abstract send(datagram: string | Uint8Array, address: Target | undefined): void;

  // ---- the transport

  write(datagram: string | Uint8Array, address?: Target): void {
    if (this.socket.closed) return;
    if (this.#batch !== null && address === this.#sender) this.#batch.reply(this.#place, datagram);
    else this.send(datagram, address);
  }

  writeSequence(parts: Iterable<Uint8Array>, address?: Target): void {
    this.write(Buffer.concat([...parts]), address);
  }

  getHost(): Source {
    if (!this.socket.closed) this.#host = this.socket.local;
    return this.#host;
  }

  getHandle(): Socket {
    return this.socket;
  }

  stopListening(): Promise<void> {
    void this.socket.close();
    return this.#stopped.promise;
  }

  get droppedWrites(): number {
    return this.#droppedWrites;
  }

  ref(): this {
    this.socket.ref();
    return this;
  }

  unref(): this {
    this.socket.unref();
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopListening();
  }

  // ---- the socket

  /**
   * Receives from now on; `makeConnection` gives the protocol this transport.
   *
   * @throws what `makeConnection` throws, {@link SystemError} of addHandler(): then the socket is closed.
   */
  protected async start(makeConnection: () => void | Promise<void>): Promise<void> {
    const { socket } = this;
    socket.loop.attach(this);
    socket.owner = this;
    try {
      socket.onMessages((batch) => this.#receive(batch));
      await makeConnection();
    } catch (error) {
      await this.stopListening();
      throw error;
    }
  }

  #receive(batch: Batch): void {
    this.#batch = batch;
    // A protocol that stops listening is given no more.
    for (let i = 0; i < batch.length && !this.socket.closed; i++) {
      this.#place = i;
      const sender = batch.source(i);
      this.#sender = sender;
      // As #call() would, without a closure for each.
      try {
        this.#awaitIfPromise(this.#protocol.datagramReceived(batch.data(i), sender, batch.truncated(i)));
      } catch (error) {
        this.#tell(error);
      }
    }
    this.#batch = null;
    this.#sender = null;
  }

  /** Calls the protocol: what it throws, or rejects with, is told. */
  #call(call: () => unknown): void {
    try {
      this.#awaitIfPromise(call());
    } catch (error) {
      this.#tell(error);
    }
  }

  /** What the protocol answers: nothing, unless its method is async. */
  #awaitIfPromise(answer: unknown): void {
    if (isPromise(answer)) Promise.resolve(answer).then(undefined, (error: unknown) => this.#tell(error));
  }

  #tell(error: unknown): void {
    const { loop } = this.socket;
    try {
      if (this.#onError === undefined) printError(error, String(this.#sender ?? this.#host));
      else this.#onError(error);
    } catch (thrown) {
      loop.scheduler.caught(thrown);
    }
  }

  // ---- SocketOwner

  socketErred(_socket: Socket, error: SystemError): boolean {
    if (IOLoopError.is(error.cause, 'ERR_IOLOOP_BUFFER_FULL')) this.#droppedWrites++;
    if (error.code !== 'ECONNREFUSED' || this.getPeer() === null || this.socket.closed) return false;
    this.#call(() => this.#protocol.connectionRefused());
    return true;
  }

  socketFailed(_socket: Socket, error: unknown): void {
    this.#tell(error);
  }

  socketRests(): void {}

  socketClosed(): void {
    // After the call that is under way, which may be one of the protocol's.
    queueMicrotask(() => {
      this.socket.loop.detach(this);
      this.#call(() => this.#protocol.doStop());
      this.#stopped.resolve();
    });
  }

  // ---- LoopPart

  settle(): void {}

  async close(): Promise<void> {
    await this.stopListening();
  }

  abort(): void {
    this.socket.sendLast();
    this.socket.abort();
  }

  /** The loop measures its socket with all others. */
  measure(): void {}
}
