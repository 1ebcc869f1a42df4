import { connect, type NetConnectOpts, type Socket } from 'node:net';

import type { TestContext } from './suite.ts';
import { within } from './within.ts';

/** A client of another make than ours: Node's own socket, and what it has heard. */
export class Client {
  readonly socket: Socket;
  /** How the connection ended: 'end', or the code of the error. */
  readonly ended: Promise<string>;
  #text = '';
  /** Where what was heard ends. */
  #heard = 0;
  #onText: () => void = () => {};

  constructor(socket: Socket, defer: TestContext['defer']) {
    this.socket = socket;
    let how = 'end';
    socket.on('error', (error) => {
      how = 'code' in error ? String(error.code) : error.message;
    });
    socket.setEncoding('latin1').on('data', (text) => {
      this.#text += text;
      this.#onText();
    });
    this.ended = new Promise((resolve) => socket.once('close', () => resolve(how)));
    defer(() => {
      socket.destroy();
      return this.ended;
    });
  }

  /** What has come so far. */
  get text(): string {
    return this.#text;
  }

  send(data: string | Uint8Array): this {
    this.socket.write(data);
    return this;
  }

  /** Ends its half. */
  end(data = ''): this {
    this.socket.end(data);
    return this;
  }

  /** Leaves with a reset. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  /** Waits until `expected` has come, behind what was heard before. */
  async heard(expected: string): Promise<void> {
    const arrival = new Promise<void>((resolve) => {
      this.#onText = () => {
        const at = this.#text.indexOf(expected, this.#heard);
        if (at < 0) return;
        this.#heard = at + expected.length;
        this.#onText = () => {};
        resolve();
      };
      this.#onText();
    });
    const what = `${JSON.stringify(expected)} for a client that has heard`;
    await within(5_000, arrival, what).catch((error: Error) => {
      throw new Error(`${error.message}: ${JSON.stringify(this.#text.slice(-200))}`);
    });
  }

  /** All that came, when the connection has ended; and how, where that was no clean end. */
  async all(): Promise<string> {
    const how = await within(5_000, this.ended, 'the end of the connection');
    return how === 'end' ? this.#text : `${this.#text}[${how}]`;
  }
}

/** Connects to where `target` says. */
export function connectTo(target: NetConnectOpts, defer: TestContext['defer']): Client {
  return new Client(connect(target), defer);
}
