import { Buffer } from 'node:buffer';
import { Writable } from 'node:stream';
import type { Address } from '../../address.ts';
import { invalidArgument } from '../../arguments.ts';
import { isPromise } from '../../entry-runner.ts';
import type { Reason } from '../reasons.ts';

/** The connection that a log is of. */
export interface LoggedConnection {
  /** Counts the connections of the factory, from 1. */
  readonly id: number;
  /** The peer. */
  readonly address: Address;
}

/** What happens to a connection. `data` is a view that is valid during the call: copy what you keep. */
export type TrafficEvent =
  | { readonly event: 'made' }
  | { readonly event: 'received' | 'sent'; readonly data: Uint8Array }
  | { readonly event: 'lost'; readonly reason: Reason };

/** What happened to which connection, and when: in milliseconds since the epoch. */
export type TrafficRecord = LoggedConnection & { readonly timeMs: number } & TrafficEvent;

/**
 * Where the records of a connection go: to a function, or, as lines of text, to a stream of Node's or the web's,
 * which ends with the connection and is no other's.
 */
export type TrafficLog = ((record: TrafficRecord) => void) | Writable | WritableStream<string>;

/** Takes records; what it throws is a failure of the log. */
export interface TrafficWriter {
  write(record: TrafficRecord): void;
  /** There are no more. */
  end(): void;
}

/** Characters that wait for a stream at most: then records are left out. */
const MOST_WAITING = 1024 * 1024;

/**
 * A writer of `log`. Lines that a stream is too slow for are left out, and counted in the next that is not.
 *
 * @param onError What goes wrong later.
 * @throws `ERR_IOLOOP_INVALID_ARGUMENT`: it is none of these.
 */
export function writerOf(log: TrafficLog, onError: (error: unknown) => void): TrafficWriter {
  if (typeof log === 'function') return new CallingWriter(log, onError);
  if (log instanceof Writable) return new LineWriter(nodeSink(log, onError));
  if (log instanceof WritableStream) return new LineWriter(webSink(log, onError));
  throw invalidArgument('the log of a connection', 'a function or a writable stream', log);
}

/**
 * A record as a line of text: when, which connection, what, and the bytes as ASCII with escapes, so that nothing
 * a peer sends steers the terminal that shows it.
 *
 *     2026-01-31T12:00:00.000Z 7 192.0.2.1:4711 received 6 "hello\n"
 */
export function trafficLine(record: TrafficRecord): string {
  const when = new Date(record.timeMs).toISOString();
  // The peer's own choice, where it is a path.
  const address = escaped(Buffer.from(record.address.toString()));
  return `${when} ${record.id} ${address} ${record.event}${detailsOf(record)}\n`;
}

function detailsOf(record: TrafficRecord): string {
  switch (record.event) {
    case 'made':
      return '';
    case 'lost':
      return ` "${escaped(Buffer.from(`${record.reason.name}: ${record.reason.message}`))}"`;
    default:
      return ` ${record.data.length} "${escaped(record.data)}"`;
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '"': '\\"',
  '\\': '\\\\',
};

function escaped(data: Uint8Array): string {
  const text = Buffer.from(data.buffer, data.byteOffset, data.length).toString('latin1');
  return text.replace(
    /["\\]|[^ -~]/g,
    (char) => ESCAPES[char] ?? `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

class CallingWriter implements TrafficWriter {
  readonly #log: (record: TrafficRecord) => unknown;
  readonly #onError: (error: unknown) => void;

  constructor(log: (record: TrafficRecord) => unknown, onError: (error: unknown) => void) {
    this.#log = log;
    this.#onError = onError;
  }

  write(record: TrafficRecord): void {
    const result = this.#log(record);
    if (isPromise(result)) result.then(undefined, this.#onError);
  }

  end(): void {}
}

/** A stream of text. */
interface LineSink {
  /** Characters that it has not got rid of yet. */
  readonly waiting: number;
  write(line: string): void;
  end(): void;
}

class LineWriter implements TrafficWriter {
  readonly #sink: LineSink;
  #leftOut = 0;

  constructor(sink: LineSink) {
    this.#sink = sink;
  }

  write(record: TrafficRecord): void {
    if (this.#sink.waiting >= MOST_WAITING) {
      this.#leftOut++;
      return;
    }
    this.#note();
    this.#sink.write(trafficLine(record));
  }

  end(): void {
    this.#note();
    this.#sink.end();
  }

  #note(): void {
    if (this.#leftOut > 0) this.#sink.write(`${this.#leftOut} records left out\n`);
    this.#leftOut = 0;
  }
}

function nodeSink(stream: Writable, onError: (error: unknown) => void): LineSink {
  // Stays: an error may come after the last line.
  stream.on('error', onError);
  return {
    get waiting() {
      return stream.writableLength;
    },
    // A stream that was destroyed before says so here alone.
    write: (line) => stream.write(line, (error) => error && onError(error)),
    end: () => stream.end(),
  };
}

function webSink(stream: WritableStream<string>, onError: (error: unknown) => void): LineSink {
  const writer = stream.getWriter();
  let waiting = 0;
  // It tells what goes wrong with any of the others.
  writer.closed.catch(onError);
  writer.ready.catch(() => {});
  return {
    get waiting() {
      return waiting;
    },
    write: (line) => {
      waiting += line.length;
      const done = (): void => {
        waiting -= line.length;
      };
      writer.write(line).then(done, done);
    },
    end: () => void writer.close().catch(() => {}),
  };
}
