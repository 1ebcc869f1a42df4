import type { Address } from '../../address.ts';
import { checkFunction, checkOptions } from '../../arguments.ts';
import type { Bytes } from '../../stream/base-stream.ts';
import type { Factory, Protocol } from '../protocol.ts';
import type { Reason } from '../reasons.ts';
import { bytesOf } from './held-bytes.ts';
import { ProtocolWrapper, type WrapperRegistry } from './protocol-wrapper.ts';
import {
  type LoggedConnection,
  type TrafficEvent,
  type TrafficLog,
  type TrafficWriter,
  writerOf,
} from './traffic-log.ts';
import { WrappingFactory } from './wrapping-factory.ts';

/** Whom a {@link TrafficLoggingFactory} tells that a log has failed. */
export interface TrafficLoggingOptions {
  /** Called once for each connection whose log has failed; by default the first is one line on stderr. */
  onLogError?: ((error: unknown, connection: LoggedConnection) => void) | undefined;
}

/** Where the records of one connection go, until that fails. */
interface Logging {
  readonly connection: LoggedConnection;
  readonly open: (connection: LoggedConnection) => TrafficLog;
  readonly onError: (error: unknown, connection: LoggedConnection) => void;
}

/** Logs what its connection receives and writes. A log that fails is given up, and the connection goes on. */
export class TrafficLoggingProtocol extends ProtocolWrapper {
  readonly #logging: Logging;
  /** null: not yet, not any more, or given up. */
  #writer: TrafficWriter | null = null;
  #failed = false;

  constructor(factory: WrapperRegistry, wrappedProtocol: Protocol, logging: Logging) {
    super(factory, wrappedProtocol);
    this.#logging = logging;
  }

  override connectionMade(): void | Promise<void> {
    const { connection, open } = this.#logging;
    this.#try(() => {
      this.#writer = writerOf(open(connection), this.#fail);
    });
    this.#log({ event: 'made' });
    return super.connectionMade();
  }

  override dataReceived(data: Buffer): unknown {
    this.#log({ event: 'received', data });
    return super.dataReceived(data);
  }

  override write(data: Bytes): void {
    if (this.#writer !== null) this.#log({ event: 'sent', data: bytesOf(data) });
    super.write(data);
  }

  override connectionLost(reason: Reason): unknown {
    this.#log({ event: 'lost', reason });
    const writer = this.#writer;
    this.#writer = null;
    this.#try(() => writer?.end());
    return super.connectionLost(reason);
  }

  #log(event: TrafficEvent): void {
    const writer = this.#writer;
    if (writer === null) return;
    this.#try(() => writer.write({ ...this.#logging.connection, timeMs: Date.now(), ...event }));
  }

  #try(use: () => void): void {
    try {
      use();
    } catch (error) {
      this.#fail(error);
    }
  }

  readonly #fail = (error: unknown): void => {
    this.#writer = null;
    if (this.#failed) return;
    this.#failed = true;
    try {
      this.#logging.onError(error, this.#logging.connection);
    } catch {
      // Who is told of a failure fails as well: there is nobody left to tell.
    }
  };
}

/**
 * Logs the traffic of its connections: what is received, and what is written, when that is done, whether it is
 * sent or not. No failure of a log is one of a connection.
 */
export class TrafficLoggingFactory extends WrappingFactory {
  readonly #open: (connection: LoggedConnection) => TrafficLog;
  readonly #onError: (error: unknown, connection: LoggedConnection) => void;
  #connections = 0;

  /**
   * @param openLog Called for each connection when it is made: where its records go.
   * @throws `ERR_IOLOOP_INVALID_ARGUMENT`.
   */
  constructor(
    wrappedFactory: Factory,
    openLog: (connection: LoggedConnection) => TrafficLog,
    options?: TrafficLoggingOptions,
  ) {
    super(wrappedFactory);
    checkFunction(openLog, 'openLog');
    checkOptions(options);
    const { onLogError = printOnce() } = options ?? {};
    checkFunction(onLogError, 'options.onLogError');
    this.#open = openLog;
    this.#onError = onLogError;
  }

  override wrapProtocol(protocol: Protocol, address: Address): TrafficLoggingProtocol {
    const connection = { id: ++this.#connections, address };
    return new TrafficLoggingProtocol(this, protocol, {
      connection,
      open: this.#open,
      onError: this.#onError,
    });
  }
}

function printOnce(): (error: unknown) => void {
  let printed = false;
  return (error) => {
    if (!printed) console.error(`ioloop: a traffic log failed: ${String(error).replaceAll('\n', ' ')}`);
    printed = true;
  };
}
