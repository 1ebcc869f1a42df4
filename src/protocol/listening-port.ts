import type { Address } from '../address.ts';

/** Where a factory listens. */
export interface ListeningPort {
  /** Where that is: the first place, if a name had several. */
  getHost(): Address;
  /** Listens no more; connections go on. Settles when the port is free, and the factory was told. */
  stopListening(): Promise<void>;
  /** Stops, and ends the connections: those at work within `graceMs` (30,000), then with a reset. */
  close(options?: { graceMs?: number | undefined }): Promise<void>;
  /** Connections that are open. */
  readonly connections: number;
  /** Keeps the process alive while it listens: the default. */
  ref(): this;
  /** Does not keep the process alive by listening; its connections do. */
  unref(): this;
  /** {@link close} */
  [Symbol.asyncDispose](): Promise<void>;
}
