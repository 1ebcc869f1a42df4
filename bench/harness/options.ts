import { parseArgs } from 'node:util';

/** What `npm run bench -- <question> [options]` takes, the same for every question. */
export interface BenchOptions {
  /** Counted rounds, each contender once in each. */
  readonly rounds: number;
  /** Rounds before them that are thrown away. */
  readonly warmUpRounds: number;
  /** Counted seconds of one measurement. */
  readonly seconds: number;
  /** Seconds of load before them, in every measurement. */
  readonly warmUpSeconds: number;
  /** Undefined: as many as the question asks with. */
  readonly connections: number | undefined;
  /** Bytes of a message. Undefined: as many as the question asks with. */
  readonly size: number | undefined;
  /** Requests in flight on a connection. Undefined: as many as the question asks with. */
  readonly pipeline: number | undefined;
  /** Datagrams in flight, or of one send, up to 64. Undefined: 64. */
  readonly batch: number | undefined;
  /** Further connections that stay idle; 0: the question without them. */
  readonly idle: number;
  /** Backends of ioloop; empty: those of this system that the question is about. */
  readonly backends: readonly string[];
  /** Contenders to measure; empty: all that run here. The first of them is the reference. */
  readonly only: readonly string[];
  /** A smoke run: proves that everything works, its figures mean nothing. */
  readonly quick: boolean;
  /** Where the JSON goes. */
  readonly json: string | undefined;
}

export const usage = `options:
  --rounds N        counted rounds, contenders in turn within each (5)
  --seconds S       counted seconds of one measurement (3)
  --connections N   connections (50; burst: 10,000; memory: 19,000)
  --size BYTES      of a message (64; udp-echo, udp-receive: 64, then 1,200)
  --pipeline K      requests in flight on a connection (1; lines: 16)
  --batch N         udp-echo: datagrams in flight; udp-receive: datagrams of one send (64, the most)
  --idle M          further idle connections, beside a measurement without them (0)
  --backend A,B     backends of ioloop (all; lines, memory, drip, context and those of messages: the best one)
  --only A,B        contenders; the first one that is left is the reference (all)
  --quick           a smoke run of seconds, for CI: its figures mean nothing
  --json FILE       write every sample there`;

/**
 * Reads the options of a bench.
 *
 * @throws TypeError that names the option when a value makes no sense.
 */
export function parseBenchOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      connections: { type: 'string' },
      size: { type: 'string' },
      pipeline: { type: 'string' },
      batch: { type: 'string' },
      idle: { type: 'string', default: '0' },
      backend: { type: 'string', default: '' },
      only: { type: 'string', default: '' },
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
    },
  });
  const quick = values.quick;
  return {
    rounds: whole('rounds', values.rounds ?? (quick ? '2' : '5'), 1),
    warmUpRounds: quick ? 0 : 1,
    seconds: positive('seconds', values.seconds ?? (quick ? '0.2' : '3')),
    warmUpSeconds: quick ? 0.1 : 0.5,
    connections: values.connections === undefined ? undefined : whole('connections', values.connections, 1),
    size: values.size === undefined ? undefined : whole('size', values.size, 1),
    pipeline: values.pipeline === undefined ? undefined : whole('pipeline', values.pipeline, 1),
    batch: values.batch === undefined ? undefined : whole('batch', values.batch, 1, 64),
    idle: whole('idle', values.idle, 0),
    backends: names(values.backend),
    only: names(values.only),
    quick,
    json: values.json,
  };
}

function names(list: string): readonly string[] {
  return list.split(',').filter((name) => name !== '');
}

function whole(option: string, text: string, least: number, most = Infinity): number {
  const value = Number(text);
  if (text !== '' && Number.isSafeInteger(value) && value >= least && value <= most) return value;
  const range = most === Infinity ? `${least} up` : `${least} to ${most}`;
  throw new TypeError(`--${option} is a whole number from ${range}, not '${text}'`);
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new TypeError(`--${option} is a number above 0, not '${text}'`);
}
