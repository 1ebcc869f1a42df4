import { setMaxListeners } from 'node:events';
import type { TlsOptions } from 'node:tls';
import type { IOLoop } from '../ioloop.ts';
import type { IOStream } from '../stream/io-stream.ts';
import { createServerContext, type TlsServerContext } from '../stream/tls-session.ts';

/** Handshakes that one turn begins: each is a millisecond of computing that everybody else waits for. */
const PER_TURN = 8;

/** The TLS handshakes of a server: a few a turn, each within its time. */
export class Handshakes {
  readonly #loop: IOLoop;
  readonly #timeoutMs: number;
  #context: TlsServerContext | null = null;
  #abort = abortForMany();
  #waiting: (() => void)[] = [];
  #begun = 0;

  constructor(loop: IOLoop, timeoutMs: number) {
    this.#loop = loop;
    this.#timeoutMs = timeoutMs;
  }

  /** Whether there is a certificate. */
  get isOn(): boolean {
    return this.#context !== null;
  }

  /** @throws What node:tls says of bad keys and certificates. */
  setContext(options: TlsOptions): void {
    this.#context = createServerContext(options);
  }

  /** Shakes hands, when it is this stream's turn. The time counts from now on. */
  async secure(stream: IOStream): Promise<IOStream> {
    const context = this.#context;
    if (context === null) return stream;
    const { signal } = this.#abort;
    const deadline = this.#loop.time() + this.#timeoutMs;
    if (this.#begun >= PER_TURN) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else if (this.#begun++ === 0) this.#loop.addCallback(this.#nextTurn);
    return stream.secure(context, { timeoutMs: Math.max(0, deadline - this.#loop.time()), signal });
  }

  /** Ends those under way. */
  abort(): void {
    this.#abort.abort();
    this.#abort = abortForMany();
  }

  readonly #nextTurn = (): void => {
    const resumed = this.#waiting.splice(0, PER_TURN);
    this.#begun = resumed.length;
    if (resumed.length > 0) this.#loop.addCallback(this.#nextTurn);
    for (const resume of resumed) resume();
  };
}

/** One whose signal any number may listen to, without Node's warning of a leak. */
function abortForMany(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}
