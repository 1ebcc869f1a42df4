/**
 * New code without a closed door: a supervisor keeps a listening socket and hands it to a worker, a
 * process of its own, by SCM_RIGHTS. On SIGHUP another worker gets it, and the one before finishes what
 * it is at.
 *
 *   node --import tsx examples/listener-handover.ts [--port 7008] [--host 127.0.0.1]
 *   echo hello | nc -q 1 127.0.0.1 7008
 *   kill -HUP ...   # the process that it names
 *
 * No connection is lost: the socket listens all the time, and who comes between two workers waits in
 * its backlog. So it is when a worker dies.
 */
import { spawn } from 'node:child_process';
import { parseArgs } from 'node:util';
import { IOLoop, IOLoopError, type IOStream, SeqpacketSocket, SystemError, TCPServer } from 'ioloop';
import { closeFd, listenSocket, socketAddress } from 'ioloop/raw';

/** The worker's end of the channel to its supervisor: behind its standard streams. */
const CHANNEL = 3;
const RETRY_MS = 1000;

async function answer(stream: IOStream): Promise<void> {
  await stream.write(`process ${process.pid} heard ${await stream.readUntil('\n')}`);
}

/** The worker: takes the listener, says that it serves, and accepts until its supervisor hangs up. */
async function work(): Promise<void> {
  // Ctrl-C reaches all processes of a terminal; when this one ends is its supervisor's to say.
  process.on('SIGINT', () => {});
  const supervisor = SeqpacketSocket.fromFd(CHANNEL, { receiveFds: true });
  const [listener] = (await supervisor.receive())?.fds ?? [];
  if (listener === undefined) throw new TypeError('--worker is for the supervisor to say');
  const server = new TCPServer(answer, { idleTimeoutMs: 10_000 });
  await server.listenFd(listener.take());
  await supervisor.send('serving');
  await supervisor.receive();
  // close() would end clients that have not spoken yet. The process ends when the last one has left.
  server.stop();
}

/** Starts a worker. Returns the channel to it once it serves; closing that retires it. */
async function startWorker(listener: number): Promise<SeqpacketSocket> {
  const [channel, theirs] = SeqpacketSocket.pair();
  const [, script = ''] = process.argv;
  const child = spawn(process.execPath, [...process.execArgv, script, '--worker'], {
    stdio: ['ignore', 'inherit', 'inherit', theirs.fd],
  });
  await theirs.close();
  try {
    await channel.sendFds([listener], 'listener');
    const word = await channel.receive({ timeoutMs: 30_000 });
    if (word === null) throw new Error(`worker ${child.pid} ended before it served`);
  } catch (error) {
    child.kill();
    await channel.close();
    throw error;
  }
  console.log(`worker ${child.pid} serves`);
  return channel;
}

/** Sees to it that one worker serves. */
class Supervisor {
  readonly #loop: IOLoop;
  readonly #listener: number;
  #worker: SeqpacketSocket | null = null;
  #isReplacing = false;
  #isStopped = false;

  /** Borrows `listener`. */
  constructor(loop: IOLoop, listener: number) {
    this.#loop = loop;
    this.#listener = listener;
  }

  /** Has another worker serve; the one there was goes on if that one cannot. */
  async replace(): Promise<void> {
    if (this.#isReplacing || this.#isStopped) return;
    this.#isReplacing = true;
    const previous = this.#worker;
    try {
      this.#worker = await startWorker(this.#listener);
      void this.#watch(this.#worker);
      await previous?.close();
    } catch (error) {
      console.error(`no other worker: ${error}`);
      if (previous?.closed !== false) this.#loop.callLater(RETRY_MS, () => this.replace());
    }
    this.#isReplacing = false;
    if (this.#isStopped) await this.#worker?.close();
  }

  /** Retires the worker, for good. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#worker?.close();
  }

  /** Replaces a worker that dies. */
  async #watch(worker: SeqpacketSocket): Promise<void> {
    // It says nothing more: this is its end, in order or by a reset.
    await worker.receive().catch(() => null);
    if (worker === this.#worker) await this.replace();
  }
}

async function supervise(port: number, host: string): Promise<void> {
  await using loop = new IOLoop();
  const listener = listenSocket({ host, port });
  const supervisor = new Supervisor(loop, listener);
  process.on('SIGHUP', () => void supervisor.replace());
  process.once('SIGINT', () => loop.stop()).once('SIGTERM', () => loop.stop());
  loop.onStop(() => supervisor.stop());
  console.log(`process ${process.pid} listens on ${socketAddress(listener)}`);
  await supervisor.replace();
  await loop.start();
  closeFd(listener);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '7008' },
      host: { type: 'string', default: '127.0.0.1' },
      worker: { type: 'boolean', default: false },
    },
  });
  if (values.worker) await work();
  else await supervise(Number(values.port), values.host);
}

main().catch((error: unknown) => {
  const known = error instanceof SystemError || error instanceof TypeError || IOLoopError.is(error);
  console.error(known ? error.message : error);
  process.exitCode = 1;
});
