import { type Address, toAddress } from '../address.ts';
import { invalidArgument } from '../arguments.ts';
import { isPromise } from '../entry-runner.ts';
import { AbortError, IOLoopError } from '../errors.ts';
import type { IOLoop } from '../ioloop.ts';
import { checkTarget } from '../stream/dial.ts';
import { type ConnectOptions, type ConnectTarget, IOStream } from '../stream/io-stream.ts';
import { streamSettings } from '../stream/stream-options.ts';
import { checkWait } from '../wait.ts';
import { ClientFactory, type Connector } from './client-factory.ts';
import { Protocol } from './protocol.ts';
import type { Reason } from './reasons.ts';
import { StreamTransport } from './stream-transport.ts';

/** A connector whose connections are streams. */
export class StreamConnector implements Connector {
  readonly #target: ConnectTarget;
  readonly #factory: ClientFactory;
  readonly #options: ConnectOptions;
  readonly loop: IOLoop;
  /** The attempt that is under way. */
  #attempt: AbortController | null = null;
  /** The connection that there is. */
  #stream: IOStream | null = null;
  /** The same to its protocol; null until connectionMade() has returned. */
  #transport: StreamTransport | null = null;
  /** Whether the factory counts it. */
  #counted = false;

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
  constructor(target: ConnectTarget, factory: ClientFactory, options: ConnectOptions = {}) {
    if (!(factory instanceof ClientFactory)) throw invalidArgument('factory', 'a ClientFactory', factory);
    checkTarget(target, options.lookup);
    checkWait(options);
    this.loop = streamSettings(options).loop;
    this.#target = target;
    this.#factory = factory;
    this.#options = options;
  }

  get state(): 'connecting' | 'connected' | 'disconnected' {
    if (this.#attempt !== null) return 'connecting';
    return this.#stream !== null ? 'connected' : 'disconnected';
  }

  connect(): void {
    if (this.state !== 'disconnected') throw wrongState('connects, or is connected, already');
    const attempt = new AbortController();
    if (!this.#counted) this.#factory.doStart();
    this.#counted = true;
    this.#attempt = attempt;
    try {
      this.#factory.startedConnecting(this);
    } catch (error) {
      this.#attempt = null;
      this.#done();
      throw error;
    }
    void this.#try(attempt);
  }

  stopConnecting(): void {
    if (this.#attempt === null) throw wrongState('does not connect');
    this.#attempt.abort();
  }

  disconnect(): void {
    if (this.#attempt !== null) this.#attempt.abort();
    else if (this.#transport !== null) this.#transport.loseConnection();
    else void this.#stream?.close();
  }

  getDestination(): Address {
    if ('path' in this.#target) return toAddress({ path: this.#target.path });
    const { host = 'localhost', port } = this.#target;
    return toAddress({ address: host, port });
  }

  async #try(attempt: AbortController): Promise<void> {
    const { signal } = this.#options;
    const either = signal === undefined ? attempt.signal : AbortSignal.any([signal, attempt.signal]);
    let stream: IOStream;
    try {
      stream = await IOStream.connect(this.#target, { ...this.#options, loop: this.loop, signal: either });
      if (either.aborted) {
        // Just when it was connected.
        stream.abort();
        throw new AbortError(either.reason);
      }
    } catch (error) {
      this.#attempt = null;
      this.#tell(() => this.#factory.clientConnectionFailed(this, toError(error)));
      return;
    }
    this.#attempt = null;
    this.#connected(stream);
  }

  #connected(stream: IOStream): void {
    const lost = (reason: Reason): void => {
      this.#stream = null;
      this.#transport = null;
      this.#tell(() => this.#factory.clientConnectionLost(this, reason));
    };
    this.#stream = stream;
    try {
      const protocol = this.#factory.buildProtocol(stream.remote);
      // Refused: it is lost as every connection is.
      this.#transport = StreamTransport.connect(stream, protocol ?? new Protocol(), lost);
      if (protocol === null) this.#transport.loseConnection();
    } catch (error) {
      this.#transport = StreamTransport.connect(stream, new Protocol(), lost);
      stream.listenerFailed(error);
    }
  }

  /** Tells the factory how it ended, which may connect anew; if it does not, that was all. */
  #tell(report: () => unknown): void {
    try {
      const told = report();
      if (isPromise(told)) told.then(undefined, (error: unknown) => this.loop.scheduler.caught(error));
    } catch (error) {
      this.loop.scheduler.caught(error);
    }
    if (this.state !== 'disconnected') return;
    try {
      this.#done();
    } catch (error) {
      this.loop.scheduler.caught(error);
    }
  }

  #done(): void {
    this.#counted = false;
    this.#factory.doStop();
  }
}

function wrongState(what: string): IOLoopError {
  return new IOLoopError('ERR_IOLOOP_INVALID_STATE', `the connector ${what}`);
}

function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error('connecting failed', { cause: thrown });
}
