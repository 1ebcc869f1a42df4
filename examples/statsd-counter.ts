/**
 * Counts what programs report over UDP in the protocol of statsd: counters, gauges and timers.
 *
 *   node --import tsx examples/statsd-counter.ts [--port 8125] [--host 127.0.0.1] [--every SECONDS]
 *   printf 'visits:1|c\nqueue:17|g\nanswer:12.5|ms\n' | nc -u -w 1 127.0.0.1 8125
 *
 * https://github.com/statsd/statsd/blob/master/docs/metric_types.md. A datagram holds as many lines as
 * fit. Nobody is told when one is lost; so the report says how many were: UDP drops what comes faster
 * than it is read.
 */
import { isIPv6 } from 'node:net';
import { parseArgs } from 'node:util';
import { DatagramSocket, IOLoop, IOLoopError, PeriodicCallback, SystemError } from 'ioloop';

/** `name:value|type` and, behind it, how many of the events are reported: `|@0.1` is one in ten. */
const METRIC = /^([\w.\-/]{1,200}):([+-]?\d{1,15}(?:\.\d{1,9})?)\|(c|g|ms)(?:\|@([01](?:\.\d{1,9})?))?$/;
/** Of one kind: whoever makes names up does not fill the memory. */
const MAX_NAMES = 10_000;

interface Timings {
  readonly count: number;
  readonly sum: number;
  readonly least: number;
  readonly most: number;
}

const NO_TIMINGS: Timings = {
  count: 0,
  sum: 0,
  least: Number.POSITIVE_INFINITY,
  most: Number.NEGATIVE_INFINITY,
};

/** Sets what `name` stands for, as far as there is room for one more. */
function update<T>(metrics: Map<string, T>, name: string, initial: T, change: (value: T) => T): boolean {
  const value = metrics.get(name);
  if (value === undefined && metrics.size >= MAX_NAMES) return false;
  metrics.set(name, change(value ?? initial));
  return true;
}

/** What was reported since the last report; a gauge stays as it was set. */
class Statistics {
  readonly #counters = new Map<string, number>();
  readonly #gauges = new Map<string, number>();
  readonly #timers = new Map<string, Timings>();
  #datagrams = 0;
  #metrics = 0;
  #refused = 0;

  /** Takes what one datagram says. */
  take(text: string): void {
    this.#datagrams++;
    for (const line of text.split('\n')) {
      if (line === '') continue;
      if (this.#takeMetric(line)) this.#metrics++;
      else this.#refused++;
    }
  }

  #takeMetric(line: string): boolean {
    const [, name = '', value = '', type, rate = '1'] = METRIC.exec(line) ?? [];
    const [amount, events] = [Number(value), 1 / Number(rate)];
    if (type === undefined || !(events >= 1 && events < Number.POSITIVE_INFINITY)) return false;
    if (type === 'c') return update(this.#counters, name, 0, (count) => count + amount * events);
    if (type === 'g') {
      const isChange = /^[+-]/.test(value);
      return update(this.#gauges, name, 0, (level) => (isChange ? level + amount : amount));
    }
    return update(this.#timers, name, NO_TIMINGS, ({ count, sum, least, most }) => ({
      count: count + events,
      sum: sum + amount * events,
      least: Math.min(least, amount),
      most: Math.max(most, amount),
    }));
  }

  /** The report in lines; counters and timers begin anew. */
  *report(seconds: number, dropped: number): Iterable<string> {
    for (const [name, count] of this.#counters)
      yield `${name}: ${toText(count)}, ${toText(count / seconds)} a second`;
    for (const [name, level] of this.#gauges) yield `${name}: ${toText(level)} now`;
    for (const [name, { count, sum, least, most }] of this.#timers) {
      const range = `${toText(least)} to ${toText(most)} ms`;
      yield `${name}: ${toText(count)} times ${range}, mean ${toText(sum / count)}`;
    }
    const loss = `${this.#refused} refused, ${dropped} datagrams dropped`;
    yield `-- ${this.#metrics} metrics in ${this.#datagrams} datagrams, ${loss}`;
    this.#counters.clear();
    this.#timers.clear();
    this.#datagrams = this.#metrics = this.#refused = 0;
  }
}

const toText = (value: number): string => String(Number(value.toFixed(3)));

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '8125' },
      host: { type: 'string', default: '127.0.0.1' },
      every: { type: 'string', default: '10' },
    },
  });
  const seconds = Number(values.every);
  await using loop = new IOLoop();
  const statistics = new Statistics();
  const socket = new DatagramSocket({ type: isIPv6(values.host) ? 'udp6' : 'udp4' });
  socket.onMessages((batch) => {
    for (let i = 0; i < batch.length; i++) statistics.take(batch.data(i).toString());
  });
  let reported = 0;
  const report = (): void => {
    const { dropped } = socket;
    for (const line of statistics.report(seconds, dropped - reported)) console.log(line);
    reported = dropped;
  };
  new PeriodicCallback(report, seconds * 1000).start();
  console.log(`counting what comes to ${await socket.bind(Number(values.port), values.host)}`);
  loop.onStop(report);
  process.once('SIGINT', () => loop.stop()).once('SIGTERM', () => loop.stop());
  await loop.start();
}

main().catch((error: unknown) => {
  const known = error instanceof SystemError || error instanceof TypeError || IOLoopError.is(error);
  console.error(known ? error.message : error);
  process.exitCode = 1;
});
