import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { acceptSocket, closeFd, connectSocket, EAGAIN, listenSocket, recv, send } from '../../src/raw.ts';
import type { TestContext } from './suite.ts';

/** Both ends of a connection. What is sent at one end makes the other readable. */
export type Pair = readonly [near: number, far: number];

const ONE_BYTE = Buffer.from('!');

/** Connected Unix stream sockets, closed when the test is over. */
export class Sockets {
  readonly #directory: string;
  readonly #path: string;
  readonly #listener: number;
  readonly #open = new Set<number>();

  constructor(defer: TestContext['defer']) {
    this.#directory = mkdtempSync(join(tmpdir(), 'ioloop-'));
    this.#path = join(this.#directory, 's');
    this.#listener = this.adopt(listenSocket({ path: this.#path }));
    defer(() => this.#closeAll());
  }

  /** A new connection. */
  pair(): Pair {
    const [near, far] = this.pairToKeep();
    return [this.adopt(near), this.adopt(far)];
  }

  /** A new connection, whose ends are the caller's to close. */
  pairToKeep(): Pair {
    const near = connectSocket({ path: this.#path });
    const far = acceptSocket(this.#listener);
    if (far < 0) throw new Error(`accept() answered ${far}`);
    return [near, far];
  }

  /** One whose near end has the number `fd`, which has just been closed. */
  pairAt(fd: number): Pair {
    const others: number[] = [];
    try {
      for (;;) {
        // The kernel gives the lowest number that is free, so it comes.
        const [near, far] = this.pair();
        if (near === fd) return [near, far];
        if (far === fd) return [far, near];
        if (near > fd && far > fd) throw new Error(`fd ${fd} is in use`);
        others.push(near, far);
      }
    } finally {
      for (const other of others) this.close(other);
    }
  }

  /** One whose near end is readable for good: the far end is closed. */
  ended(): number {
    const [near, far] = this.pair();
    this.close(far);
    return near;
  }

  /** Closes `fd` with the test, if it is still open. Returns it. */
  adopt(fd: number): number {
    if (fd < 0) throw new Error(`no descriptor but ${fd}`);
    this.#open.add(fd);
    return fd;
  }

  close(fd: number): void {
    this.#open.delete(fd);
    closeFd(fd);
  }

  #closeAll(): void {
    for (const fd of [...this.#open]) this.close(fd);
    rmSync(this.#directory, { recursive: true });
  }
}

/** Sends one byte. */
export function poke(fd: number): void {
  const sent = send(fd, ONE_BYTE);
  if (sent !== 1) throw new Error(`send(${fd}) answered ${sent}`);
}

/** Takes all there is; how many bytes that were. */
export function drain(fd: number): number {
  const buffer = Buffer.allocUnsafe(65536);
  let total = 0;
  for (;;) {
    const count = recv(fd, buffer);
    if (count === 0 || count === EAGAIN) return total;
    if (count < 0) throw new Error(`recv(${fd}) answered ${count}`);
    total += count;
  }
}
