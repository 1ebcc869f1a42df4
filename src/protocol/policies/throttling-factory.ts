import { checkBoolean, checkDuration, checkInteger, checkOptions, invalidArgument } from '../../arguments.ts';
import { IOLoop } from '../../ioloop.ts';
import type { Factory, Protocol } from '../protocol.ts';
import { ReadThrottle } from './read-throttle.ts';
import { type Throttles, ThrottlingProtocol } from './throttling-protocol.ts';
import { WrappingFactory } from './wrapping-factory.ts';
import { WriteThrottle } from './write-throttle.ts';

/** How fast connections read and write. */
export interface ThrottlingOptions {
  /** Bytes received a second; by default no limit. */
  readLimit?: number | undefined;
  /** Bytes written a second; by default no limit. */
  writeLimit?: number | undefined;
  /** Whether these are of each connection by itself, and not of all together; false. */
  perConnection?: boolean | undefined;
  /** How many milliseconds of a limit are saved up, and may pass at once; 1,000, 40 at least. */
  burstMs?: number | undefined;
  /** Bytes held back above which a further write resets the connection; 16 MiB. */
  maxHeldBytes?: number | undefined;
  /** The loop of the connections; IOLoop.current(). */
  loop?: IOLoop | undefined;
}

/** {@link ThrottlingOptions} checked and completed; Infinity: no limit. */
type Settings = Required<{ [Name in keyof ThrottlingOptions]: NonNullable<ThrottlingOptions[Name]> }>;

/**
 * Keeps the bytes of its connections at a rate, by a token bucket for each way.
 *
 * Who reads more than there is makes all wait until that is paid: it is a receive, of up to 64 KiB, at most.
 * What a protocol has paused stays paused. What is written is sent in pieces, those who wait in turn; it is
 * copied and held back meanwhile, and a registered producer is told to wait. Where all connections together and
 * each by itself are to be limited, wrap it in another.
 */
export class ThrottlingFactory extends WrappingFactory {
  readonly #settings: Settings;
  /** Of all connections; null: each has its own. */
  readonly #shared: Throttles | null;

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
  constructor(wrappedFactory: Factory, options?: ThrottlingOptions) {
    super(wrappedFactory);
    this.#settings = settingsOf(options);
    this.#shared = this.#settings.perConnection ? null : throttlesOf(this.#settings);
  }

  override wrapProtocol(protocol: Protocol): ThrottlingProtocol {
    return new ThrottlingProtocol(this, protocol, this.#shared ?? throttlesOf(this.#settings));
  }
}

function throttlesOf({ loop, readLimit, writeLimit, burstMs, maxHeldBytes }: Settings): Throttles {
  return {
    loop,
    reads: readLimit === Number.POSITIVE_INFINITY ? null : new ReadThrottle(loop, readLimit, burstMs),
    writes: writeLimit === Number.POSITIVE_INFINITY ? null : new WriteThrottle(loop, writeLimit, burstMs),
    maxHeldBytes,
  };
}

function settingsOf(options?: ThrottlingOptions): Settings {
  checkOptions(options);
  const {
    readLimit = Number.POSITIVE_INFINITY,
    writeLimit = Number.POSITIVE_INFINITY,
    perConnection = false,
    burstMs = 1_000,
    maxHeldBytes = 16 * 1024 * 1024,
    loop = IOLoop.current(),
  } = options ?? {};
  checkRate(readLimit, 'options.readLimit');
  checkRate(writeLimit, 'options.writeLimit');
  checkBoolean(perConnection, 'options.perConnection');
  checkDuration(burstMs, 'options.burstMs');
  checkInteger(maxHeldBytes, 'options.maxHeldBytes', 0, Number.MAX_SAFE_INTEGER);
  if (!(loop instanceof IOLoop)) throw invalidArgument('options.loop', 'an IOLoop', loop);
  return { readLimit, writeLimit, perConnection, burstMs, maxHeldBytes, loop };
}

/** Bytes a second; Infinity: no limit. */
function checkRate(value: unknown, name: string): void {
  if (typeof value !== 'number' || !(value > 0))
    throw invalidArgument(name, 'a number of bytes a second, more than 0', value);
}
