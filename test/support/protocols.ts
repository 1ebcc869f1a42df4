import * as assert from 'uvu/assert';

import type { IOLoop, IOStream } from '../../src/index.ts';
import { Protocol } from '../../src/protocol/protocol.ts';
import type { Reason } from '../../src/protocol/reasons.ts';
import { StreamTransport } from '../../src/protocol/stream-transport.ts';
import { signal } from './driven.ts';
import { type PairOptions, type StreamKind, streamKinds, withPair } from './streams.ts';
import type { TestContext } from './suite.ts';
import { nextTurn } from './turns.ts';
import { within } from './within.ts';

/** What protocols go over: all streams that go both ways. */
export const protocolKinds: readonly StreamKind[] = streamKinds.filter((kind) => kind !== 'pipe');

/** What a protocol is told. */
export type Call =
  | 'connectionMade'
  | 'dataReceived'
  | 'readConnectionLost'
  | 'writeConnectionLost'
  | 'handshakeCompleted'
  | 'connectionLost';

/** What a recorder does when it was told something. */
export type Reaction = (call: Call, recorder: Recorder, data: Buffer) => unknown;

const NOTHING = Buffer.alloc(0);
const LIMIT_MS = 8_000;

/** A protocol that notes what it is told. */
export class Recorder extends Protocol {
  readonly calls: Call[] = [];
  /** All that came, as Latin-1. */
  text = '';
  reason: Reason | null = null;
  react: Reaction;
  readonly #lost = signal<Reason>();

  constructor(react: Reaction = () => {}) {
    super();
    this.react = react;
  }

  override connectionMade(): void | Promise<void> {
    return this.#told('connectionMade');
  }

  override dataReceived(data: Buffer): void | Promise<void> {
    this.text += data.toString('latin1');
    return this.#told('dataReceived', data);
  }

  override writeConnectionLost(): void | Promise<void> {
    return this.#told('writeConnectionLost');
  }

  override handshakeCompleted(): void | Promise<void> {
    return this.#told('handshakeCompleted');
  }

  override connectionLost(reason: Reason): void | Promise<void> {
    this.reason = reason;
    this.#lost.fire(reason);
    return this.#told('connectionLost');
  }

  /** Why the connection was lost, when it is. */
  whenLost(): Promise<Reason> {
    return within(LIMIT_MS, this.#lost.promise, 'connectionLost');
  }

  /** The calls but dataReceived, whose number the network decides. */
  get story(): string {
    return this.calls.filter((call) => call !== 'dataReceived').join(' ');
  }

  /** Notes it. Returns the promise of a reaction that is async, as an async override would. */
  protected told(call: Call): void | Promise<void> {
    return this.#told(call);
  }

  #told(call: Call, data: Buffer = NOTHING): void | Promise<void> {
    this.calls.push(call);
    const result = this.react(call, this, data);
    return result instanceof Promise ? result : undefined;
  }
}

/** One that is told of the peer's end, and goes on. */
export class HalfOpenRecorder extends Recorder {
  override readConnectionLost(): void | Promise<void> {
    return this.told('readConnectionLost');
  }
}

/** Two protocols that are connected to each other. */
export interface ProtocolPair<P extends Recorder = Recorder> {
  readonly loop: IOLoop;
  readonly left: P;
  readonly right: P;
  readonly leftStream: IOStream;
  readonly rightStream: IOStream;
  /** What was thrown, as `onError` of their owner hears it. */
  readonly errors: unknown[];
}

/** Runs `body` with two connected protocols over `kind`, and checks that each was told its end once, last of all. */
export async function withProtocols<P extends Recorder>(
  kind: StreamKind,
  context: TestContext,
  [left, right]: readonly [P, P],
  body: (pair: ProtocolPair<P>) => unknown,
  options: PairOptions = {},
): Promise<void> {
  await withPair(kind, context, options, async ({ loop, left: leftStream, right: rightStream }) => {
    const errors: unknown[] = [];
    const pair = { loop, left, right, leftStream, rightStream, errors };
    connectTo(leftStream, left, errors);
    connectTo(rightStream, right, errors);
    await body(pair);
    for (const protocol of [left, right]) await isToldItsEndOnce(loop, protocol);
  });
}

/** Ends what is left of its connection: connectionMade was its first call, connectionLost is its one last. */
export async function isToldItsEndOnce(loop: IOLoop, protocol: Recorder): Promise<void> {
  if (protocol.reason === null) protocol.transport.abortConnection();
  await protocol.whenLost();
  if (loop.fd >= 0) for (let turn = 0; turn < 3; turn++) await nextTurn(loop);
  const { calls } = protocol;
  assert.is(calls[0], 'connectionMade');
  assert.is(calls.indexOf('connectionLost'), calls.length - 1, calls.join(' '));
  assert.is(calls.lastIndexOf('connectionMade'), 0);
}

/** Gives `protocol` the connection of `stream`, whose owner notes in `errors` what it throws. */
export function connectTo(stream: IOStream, protocol: Protocol, errors: unknown[]): StreamTransport {
  stream.owner = {
    streamFailed: (_, error) => errors.push(error),
    streamEvicted: () => {},
    streamClosed: () => {},
  };
  return StreamTransport.connect(stream, protocol);
}
