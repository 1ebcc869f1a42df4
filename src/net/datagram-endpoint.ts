import type { Address } from '../address.ts';
import type { ListeningPlace } from './base-server.ts';
import type { AnsweringSocket } from './datagram-request.ts';

/** A socket of datagrams, as the server sees it that receives by it. */
export interface ServerSocket<Batch> extends AnsweringSocket {
  readonly local: Address;
  readonly dropped: number;
  readonly closed: boolean;
  onMessages(listener: ((batch: Batch) => void) | null): void;
  close(): Promise<void>;
  ref(): this;
  unref(): this;
  /** @internal */
  owner: object | null;
  /** @internal */
  maxMessages: number;
  /** @internal */
  sendLast(): void;
  /** @internal */
  abort(): void;
}

/** One place where a server listens: its socket, which outlives the listening while requests are pending. */
export class DatagramEndpoint<Batch, Socket extends ServerSocket<Batch>> implements ListeningPlace {
  readonly socket: Socket;
  readonly address: Socket['local'];
  readonly #receive: (batch: Batch) => void;
  #requests = 0;
  #isAccepting = false;
  #isStopped = false;

  /** @param receive Called with what comes, as {@link accept} says. */
  constructor(socket: Socket, receive: (batch: Batch) => void) {
    this.socket = socket;
    this.address = socket.local;
    this.#receive = receive;
  }

  /** Whether nothing is received here any more. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  get isAccepting(): boolean {
    return this.#isAccepting;
  }

  accept(most: number = Number.POSITIVE_INFINITY): void {
    this.socket.maxMessages = most;
    if (this.#isAccepting) return;
    this.socket.onMessages(this.#receive);
    this.#isAccepting = true;
  }

  rest(): void {
    if (!this.#isAccepting) return;
    this.#isAccepting = false;
    this.socket.onMessages(null);
  }

  ref(): void {
    this.socket.ref();
  }

  unref(): void {
    this.socket.unref();
  }

  /** A request is under way. */
  begin(): void {
    this.#requests++;
  }

  /** The end of {@link begin}. */
  finish(): void {
    this.#requests--;
    if (this.#isStopped) this.#closeIfDone();
  }

  /** Receives no more, and closes when all requests are done. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.rest();
    this.#closeIfDone();
  }

  /** Closes at once, after a last attempt to send. */
  abort(): void {
    this.socket.sendLast();
    this.socket.abort();
  }

  #closeIfDone(): void {
    if (this.#requests === 0) void this.socket.close();
  }
}
