import { runGenerator } from './generator.ts';
import { readInterval, readLatencies } from './load.ts';
import type { NativePrograms } from './native-programs.ts';
import type { BenchOptions } from './options.ts';
import type { Sample } from './question.ts';
import { numberAt } from './run-program.ts';
import type { Server } from './server.ts';

/** What `ioloop-messages` does to a server that sends back each message. */
export interface MessageLoad extends Pick<BenchOptions, 'seconds' | 'warmUpSeconds'> {
  readonly type: 'datagram' | 'seqpacket';
  readonly connections: number;
  readonly size: number;
  /** Messages that each socket has in flight, up to 64. */
  readonly inFlight: number;
}

/** Puts load on `server`. Rejects when an answer is wrong, doubled, or late by seconds. */
export async function runMessageLoad(
  programs: NativePrograms,
  server: Server,
  load: MessageLoad,
): Promise<Sample> {
  const args = [
    `--type=${load.type}`,
    `--connections=${load.connections}`,
    `--size=${load.size}`,
    `--pipeline=${load.inFlight}`,
    `--warmup=${load.warmUpSeconds}`,
    `--seconds=${load.seconds}`,
  ];
  const figures = await runGenerator(programs.messages, server, args);
  return { ...readInterval(figures), ...readLatencies(figures), lost: numberAt(figures, 'lost') };
}
