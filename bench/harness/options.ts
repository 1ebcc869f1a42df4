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
  /** Bytes of a message. */
  readonly size: number;
  /** Requests in flight on a connection. Undefined: as many as the question asks with. */
  readonly pipeline: number | undefined;
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
  --size BYTES      of a message (64)
  --pipeline K      requests in flight on a connection (1; lines: 16)
  --idle M          further idle connections, beside a measurement without them (0)
  --backend A,B     backends of ioloop (all; lines, memory, drip, context: the best one)
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
      size: { type: 'string', default: '64' },
      pipeline: { type: 'string' },
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
    size: whole('size', values.size, 1),
    pipeline: values.pipeline === undefined ? undefined : whole('pipeline', values.pipeline, 1),
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

function whole(option: string, text: string, least: number): number {
  const value = Number(text);
  if (text !== '' && Number.isSafeInteger(value) && value >= least) return value;
  throw new TypeError(`--${option} is a whole number from ${least} up, not '${text}'`);
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new TypeError(`--${option} is a number above 0, not '${text}'`);
}
