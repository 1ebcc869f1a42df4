import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { IOLoop, IOStream, PipeIOStream, type StreamOptions } from '../../src/index.ts';
import { acceptSocket, closeFd, connectSocket, listenSocket, socketAddress } from '../../src/raw.ts';
import type { SimOptions } from '../../src/testing/sim.ts';
import { authority, localhost } from './certificates.ts';
import { simNetwork } from './sim.ts';
import { type DeclareTest, suite, type TestContext } from './suite.ts';
import { nextTurn } from './turns.ts';

/** What a stream can be of. A pipe goes one way: from `left` to `right`. */
export const streamKinds = ['tcp', 'unix', 'pipe', 'tls', 'sim'] as const;
export type StreamKind = (typeof streamKinds)[number];

/** Two streams: what is written to one is read from the other. */
export interface StreamPair {
  readonly loop: IOLoop;
  readonly left: IOStream;
  readonly right: IOStream;
}

export interface PairOptions {
  readonly left?: StreamOptions;
  readonly right?: StreamOptions;
  /** Of the network, where the kind is 'sim'. */
  readonly network?: SimOptions;
}

type Fds = readonly [left: number, right: number];

/** Two ends of a TCP connection: on the loopback it waits before connect(2) returns. */
export function tcpFds(): Fds {
  const listener = listenSocket({ port: 0 });
  const address = socketAddress(listener);
  if (!('port' in address)) throw new Error('listenSocket() made no TCP socket');
  const left = connectSocket({ port: address.port });
  const right = acceptSocket(listener);
  closeFd(listener);
  if (right < 0) throw new Error(`accept() answered ${right}`);
  return [left, right];
}

/** Two ends of a Unix connection. */
export function unixFds(): Fds {
  return inDirectory((directory) => {
    const path = join(directory, 's');
    const listener = listenSocket({ path });
    const left = connectSocket({ path });
    const right = acceptSocket(listener);
    closeFd(listener);
    if (right < 0) throw new Error(`accept() answered ${right}`);
    return [left, right];
  });
}

/** The end of a pipe to write to, and the one to read from. */
export function pipeFds(): Fds {
  return inDirectory((directory) => {
    const path = join(directory, 'p');
    execFileSync('mkfifo', [path]);
    // With a reader there open(2) waits for nobody: fifo(7).
    const right = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const left = openSync(path, constants.O_WRONLY);
    return [left, right];
  });
}

/** A connected pair of `kind` on the test's loop; both are closed with the test. */
export async function connectPair(
  kind: Exclude<StreamKind, 'sim'>,
  { loop, defer }: TestContext,
  { left, right }: PairOptions = {},
): Promise<StreamPair> {
  const pair = kind === 'pipe' ? openPipe(loop, left, right) : openSockets(kind, loop, left, right);
  defer(() => closePair(pair));
  if (kind !== 'tls') return pair;
  const [client, server] = await Promise.all([
    pair.left.startTls({ ca: authority, servername: 'localhost' }),
    pair.right.startTls({ server: true, ...localhost }),
  ]);
  const secured = { loop, left: client, right: server };
  defer(async () => {
    await closePair(secured);
    // Nobody watches them: what they were to be told is a callback, which comes for nothing.
    if (loop.fd >= 0) await nextTurn(loop);
  });
  return secured;
}

/**
 * Runs `body` with a connected pair of `kind`: on the test's loop, or, for 'sim', on a loop of a simulated
 * network of its own, whose clock only moves when nothing else can happen.
 */
export async function withPair(
  kind: StreamKind,
  context: TestContext,
  options: PairOptions,
  body: (pair: StreamPair) => unknown,
): Promise<void> {
  if (kind !== 'sim') {
    await body(await connectPair(kind, context, options));
    return;
  }
  const network = simNetwork(context, options.network);
  const loop = network.createLoop();
  await network.run(async () => {
    const [left, right] = network.connectPair();
    const pair = {
      loop,
      left: IOStream.fromFd(left, { ...options.left, loop }),
      right: IOStream.fromFd(right, { ...options.right, loop }),
    };
    try {
      await body(pair);
    } finally {
      await closePair(pair);
    }
  });
}

/**
 * Declares one suite for each kind of stream and each backend; simulated ones once, since they have a backend
 * of their own.
 */
export function suitePerStream(
  name: string,
  kinds: readonly StreamKind[],
  define: (test: DeclareTest, kind: StreamKind) => void,
): void {
  for (const kind of kinds) {
    if (kind === 'sim') suite(`${name}: sim`, (test) => define(test, kind));
    else
      for (const backend of IOLoop.backends)
        suite(`${name}: ${kind} on ${backend}`, { backend }, (test) => define(test, kind));
  }
}

/** Sends `bytes` and waits until the other end has received them: what comes next is a receive of its own. */
export async function deliver({ loop, left, right }: StreamPair, bytes: Uint8Array): Promise<void> {
  const expected = right.bytesRead + bytes.length;
  void left.write(bytes);
  await left.flush();
  while (right.bytesRead < expected && !right.closed) await nextTurn(loop);
}

/** Lets `loop` turn until `condition` holds. */
export async function turnsUntil(loop: IOLoop, condition: () => boolean): Promise<void> {
  while (!condition()) await nextTurn(loop);
}

function openSockets(
  kind: 'tcp' | 'unix' | 'tls',
  loop: IOLoop,
  leftOptions: StreamOptions | undefined,
  rightOptions: StreamOptions | undefined,
): StreamPair {
  const [left, right] = kind === 'unix' ? unixFds() : tcpFds();
  return {
    loop,
    left: IOStream.fromFd(left, { ...leftOptions, loop }),
    right: IOStream.fromFd(right, { ...rightOptions, loop }),
  };
}

function openPipe(
  loop: IOLoop,
  leftOptions: StreamOptions | undefined,
  rightOptions: StreamOptions | undefined,
): StreamPair {
  const [left, right] = pipeFds();
  try {
    return {
      loop,
      left: new PipeIOStream(left, { ...leftOptions, loop }),
      right: new PipeIOStream(right, { ...rightOptions, loop }),
    };
  } catch (error) {
    closeSync(left);
    closeSync(right);
    throw error;
  }
}

async function closePair({ left, right }: StreamPair): Promise<void> {
  left.abort();
  right.abort();
  await Promise.all([left.whenClosed, right.whenClosed]);
}

function inDirectory<T>(body: (directory: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), 'ioloop-'));
  try {
    return body(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}
