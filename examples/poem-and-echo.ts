/**
 * The classic reactor exercise: one process, one loop, two services on loopback.
 *
 *   npm start                      serves until Ctrl-C
 *   npm start -- --once            serves one real client of each, then exits
 *   npm start -- --poem-port 0 --echo-port 0 --backend poll
 */
import { createConnection } from 'node:net';
import { parseArgs } from 'node:util';
import { Interest, IOLoop, IOLoopError, PeriodicCallback, SystemError } from 'ioloop';
import { acceptSocket, closeFd, EAGAIN, listenSocket, recv, send, socketAddress } from 'ioloop/raw';

// Emily Dickinson, 1861.
const POEM = `"Hope" is the thing with feathers -
That perches in the soul -
And sings the tune without the words -
And never stops - at all -
`;

/** Called with each accepted descriptor, which it owns. */
type OnConnection = (fd: number) => void;

class Service {
  readonly loop: IOLoop;
  readonly connections = new Set<number>();
  served = 0;

  constructor(loop: IOLoop) {
    this.loop = loop;
  }

  /** Listens on loopback; returns the port. */
  listen(port: number, onConnection: OnConnection): number {
    const listener = listenSocket({ host: '127.0.0.1', port });
    const accept = (): void => {
      // A bounded batch: other handlers wait for their turn.
      for (let i = 0; i < 64; i++) {
        const fd = acceptSocket(listener);
        if (fd < 0) return;
        this.connections.add(fd);
        onConnection(fd);
      }
    };
    this.connections.add(listener);
    this.loop.addHandler(listener, accept, Interest.READ);
    const address = socketAddress(listener);
    return 'port' in address ? address.port : 0;
  }

  /** Ends one connection. */
  drop(fd: number): void {
    this.loop.removeHandler(fd);
    this.connections.delete(fd);
    closeFd(fd);
    this.served++;
  }

  close(): void {
    for (const fd of [...this.connections]) this.drop(fd);
  }
}

/** Connect, get the poem, the server closes. */
function servePoem(service: Service, port: number): number {
  const poem = Buffer.from(POEM);
  return service.listen(port, (fd) => {
    let sent = 0;
    const write = (): void => {
      const count = send(fd, poem, sent);
      if (count === EAGAIN) return;
      if (count > 0) sent += count;
      if (count < 0 || sent === poem.length) service.drop(fd);
    };
    service.loop.addHandler(fd, write, Interest.WRITE);
  });
}

/** What you send comes back. */
function serveEcho(service: Service, port: number): number {
  const buffer = Buffer.alloc(16 * 1024);
  return service.listen(port, (fd) => {
    let pending: Buffer | null = null;
    const echo = (): void => {
      const received = pending === null ? recv(fd, buffer) : pending.length;
      if (received === EAGAIN) return;
      const chunk: Buffer = pending ?? buffer.subarray(0, Math.max(received, 0));
      const sent = received > 0 ? send(fd, chunk) : received;
      if (received <= 0 || (sent < 0 && sent !== EAGAIN)) {
        service.drop(fd);
        return;
      }
      // A slow client: keep what it did not take, and read no more until that is sent.
      const rest = chunk.subarray(Math.max(sent, 0));
      const wasPending = pending !== null;
      pending = rest.length > 0 ? Buffer.from(rest) : null;
      if (wasPending !== (pending !== null))
        service.loop.updateHandler(fd, pending === null ? Interest.READ : Interest.WRITE);
    };
    service.loop.addHandler(fd, echo, Interest.READ);
  });
}

/** Everything a client on `port` gets after sending `text`. */
async function fetchAll(port: number, text: string): Promise<string> {
  const socket = createConnection({ host: '127.0.0.1', port }).setEncoding('utf8');
  if (text !== '') socket.end(text);
  let received = '';
  for await (const chunk of socket) received += chunk;
  return received;
}

async function serveOneClientOfEach(poemPort: number, echoPort: number): Promise<void> {
  const poem = await fetchAll(poemPort, '');
  if (poem !== POEM) throw new Error(`the poem came as ${JSON.stringify(poem)}`);
  console.log(`\n${poem}`);
  const answer = await fetchAll(echoPort, 'hello, loop\n');
  if (answer !== 'hello, loop\n') throw new Error(`the echo came as ${JSON.stringify(answer)}`);
  console.log(`echo: ${answer}`);
}

function readPort(text: string, name: string): number {
  const port = Number(text);
  if (text.trim() !== '' && Number.isInteger(port) && port >= 0 && port <= 65535) return port;
  throw new RangeError(`--${name} must be a port from 0 to 65535, not ${JSON.stringify(text)}`);
}

/** The loop's own metrics, once a second. */
function printStatus(service: Service): void {
  const { loop } = service;
  const status = new PeriodicCallback(
    () => {
      const { turns, events, busyMs, handlers } = loop.metrics();
      const busy = busyMs.toFixed(1);
      console.log(
        `turns ${turns}  events ${events}  busy ${busy} ms  descriptors ${handlers}  served ${service.served}`,
      );
    },
    1000,
    { loop },
  );
  status.start();
  loop.onStop(() => status.stop());
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      once: { type: 'boolean', default: false },
      backend: { type: 'string', default: 'auto' },
      'poem-port': { type: 'string', default: '7001' },
      'echo-port': { type: 'string', default: '7002' },
    },
  });
  // With --once nobody needs to know the ports, so that two runs side by side do not collide.
  const wanted = (name: 'poem-port' | 'echo-port'): number =>
    values.once ? 0 : readPort(values[name], name);
  const wantedPoemPort = wanted('poem-port');
  const wantedEchoPort = wanted('echo-port');
  const loop = new IOLoop({ backend: values.backend });
  try {
    const service = new Service(loop);
    loop.onStop(() => service.close());
    const poemPort = servePoem(service, wantedPoemPort);
    const echoPort = serveEcho(service, wantedEchoPort);
    console.log(`ioloop on ${loop.backend}, process ${process.pid}`);
    console.log(`  a poem:  nc 127.0.0.1 ${poemPort}`);
    console.log(`  an echo: nc 127.0.0.1 ${echoPort}`);
    if (values.once) {
      await serveOneClientOfEach(poemPort, echoPort);
      loop.stop();
    } else {
      console.log('Ctrl-C ends it.');
      printStatus(service);
      process.once('SIGINT', () => loop.stop()).once('SIGTERM', () => loop.stop());
    }
    await loop.start();
  } finally {
    await loop.close();
  }
}

main().catch((error: unknown) => {
  const busy = error instanceof SystemError && error.code === 'EADDRINUSE';
  const known = error instanceof SystemError || IOLoopError.is(error) || error instanceof RangeError;
  console.error(known || error instanceof TypeError ? error.message : error);
  if (busy) console.error('Something listens there already: choose others with --poem-port and --echo-port.');
  process.exitCode = 1;
});
