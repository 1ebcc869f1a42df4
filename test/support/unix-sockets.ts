import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

import {
  type SeqpacketOptions,
  SeqpacketSocket,
  type SystemError,
  type UnixDatagramOptions,
  UnixDatagramSocket,
} from '../../src/index.ts';
import { addon, closeStream } from '../../src/native.ts';
import { acceptSocket } from '../../src/raw.ts';
import type { TestContext } from './suite.ts';
import { within } from './within.ts';

/** A socket that keeps borders, of either kind. */
type Closable = { close(): Promise<void> };

/**
 * Sockets of the Unix domain on a test's loop, closed with the test: which fails when one tells of an error
 * that it does not expect.
 */
export class UnixSockets {
  readonly #context: TestContext;
  readonly #unexpected: Error[] = [];
  #directory: string | null = null;
  #paths = 0;

  constructor(context: TestContext) {
    this.#context = context;
    context.defer(() => assert.equal(this.#unexpected.map(String), [], 'errors that nobody expected'));
  }

  /** A path that names nothing, in a directory that goes with the test. */
  path(): string {
    if (this.#directory === null) {
      const directory = mkdtempSync(join(tmpdir(), 'ioloop-'));
      this.#context.defer(() => rmSync(directory, { recursive: true }));
      this.#directory = directory;
    }
    return join(this.#directory, `s${this.#paths++}`);
  }

  /** A datagram socket that is neither bound nor connected. */
  open(options: UnixDatagramOptions = {}): UnixDatagramSocket {
    return this.adopt(new UnixDatagramSocket(this.#complete(options)));
  }

  /** A datagram socket at {@link path}, or at `path`. */
  async bind(options: UnixDatagramOptions = {}, path = this.path()): Promise<UnixDatagramSocket> {
    const socket = this.open(options);
    await within(2_000, socket.bind(path), 'the name');
    return socket;
  }

  /** Two datagram sockets that are connected to each other. */
  pair(options: UnixDatagramOptions = {}): [UnixDatagramSocket, UnixDatagramSocket] {
    const [one, other] = UnixDatagramSocket.pair(this.#complete(options));
    return [this.adopt(one), this.adopt(other)];
  }

  /** Two seqpacket sockets that are connected to each other. */
  seqpacketPair(options: SeqpacketOptions = {}): [SeqpacketSocket, SeqpacketSocket] {
    const [one, other] = SeqpacketSocket.pair(this.#complete(options));
    return [this.adopt(one), this.adopt(other)];
  }

  /** Somebody who listens for seqpacket connections at {@link path}; `accept` takes the next one. */
  listen(backlog = 16): SeqpacketListener {
    const path = this.path();
    const fd = addon().listenSeqpacket(path, backlog, 0o600);
    this.#context.defer(() => closeStream(fd));
    const accept = (options: SeqpacketOptions = {}): SeqpacketSocket | null => {
      const accepted = acceptSocket(fd);
      return accepted < 0 ? null : this.adopt(SeqpacketSocket.fromFd(accepted, this.#complete(options)));
    };
    return { fd, path, accept };
  }

  /** Closes `socket` with the test. Returns it. */
  adopt<S extends Closable>(socket: S): S {
    this.#context.defer(() => socket.close());
    return socket;
  }

  #complete<O extends { onError?: ((error: SystemError) => void) | undefined }>(options: O): O {
    const onError = (error: Error): void => void this.#unexpected.push(error);
    return { loop: this.#context.loop, onError, ...options };
  }
}

export interface SeqpacketListener {
  readonly fd: number;
  readonly path: string;
  /** The connection that waits; null: none does. */
  readonly accept: (options?: SeqpacketOptions) => SeqpacketSocket | null;
}

/** The next `count` messages; fewer, when it ends before. */
export async function take<M>(messages: AsyncIterable<M>, count: number): Promise<readonly M[]> {
  const taken: M[] = [];
  const iterate = async (): Promise<void> => {
    for await (const message of messages) if (taken.push(message) === count) return;
  };
  await within(8_000, iterate(), `the last of ${count} messages`);
  return taken;
}

/** A message of `size` bytes, 4 at least, that says its number. */
export function numbered(number: number, size = 4): Buffer {
  const message = Buffer.alloc(size, number);
  message.writeUInt32BE(number);
  return message;
}

/** What {@link numbered} messages say, in the order they came; throws when one is not as it was made. */
export function numbersOf(messages: readonly { readonly data: Buffer }[]): number[] {
  return messages.map(({ data }) => {
    const number = data.readUInt32BE();
    assert.equal(data, numbered(number, data.length));
    return number;
  });
}

/** The numbers from 0 on. */
export function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, number) => number);
}

/** Sends {@link numbered} messages until one has to wait: how many were sent, that one among them. */
export function fill(
  socket: { readonly bytesQueued: number },
  send: (data: Buffer) => unknown,
  size = 8,
): number {
  let sent = 0;
  while (socket.bytesQueued === 0) {
    assert.ok(sent < 100_000, 'there is always room');
    send(numbered(sent++, size));
  }
  return sent;
}
