import type { Address } from '../address.ts';
import type { AnsweringSocket } from './datagram-request.ts';

/** A socket of datagrams, as its endpoint sees it. */
export interface EndpointSocket extends AnsweringSocket {
  readonly local: Address;
  onMessages(listener: null): void;
  close(): Promise<void>;
  /** @internal */
  sendLast(): void;
  /** @internal */
  abort(): void;
}

/** The same, as the server sees it that receives by it. */
export interface ServerSocket<Batch> extends EndpointSocket {
  readonly dropped: number;
  readonly closed: boolean;
  onMessages(listener: ((batch: Batch) => void) | null): void;
  ref(): this;
  unref(): this;
  /** @internal */
  owner: object | null;
}

/** One place where a server listens: its socket, which outlives the listening while requests are pending. */
export class DatagramEndpoint<Socket extends EndpointSocket> {
  readonly socket: Socket;
  readonly address: Socket['local'];
  #requests = 0;
  #isStopped = false;

  constructor(socket: Socket) {
    this.socket = socket;
    this.address = socket.local;
  }

  /** Whether nothing is received here any more. */
  get isStopped(): boolean {
    return this.#isStopped;
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
    this.socket.onMessages(null);
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
