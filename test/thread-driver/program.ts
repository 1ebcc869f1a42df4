/**
 * What a loop must do where a helper thread gives it its turns: on a runtime without libuv, and on Node
 * with IOLOOP_DRIVER=thread. Needs no test framework, so that any runtime can run it.
 *
 * Prints each check, and at the end "N passed, N failed". That it prints the last lines and exits 0
 * shows the rest: the process stays alive for what is referenced, and for nothing else.
 */
import { Interest, IOLoop, PeriodicCallback, Ready, Waker } from '../../src/index.ts';
import {
  acceptSocket,
  closeFd,
  connectSocket,
  EAGAIN,
  listenSocket,
  recv,
  send,
  socketAddress,
} from '../../src/raw.ts';

let passed = 0;
let failed = 0;

function check(what: string, holds: boolean): void {
  console.log(`${holds ? 'ok  ' : 'FAIL'} ${what}`);
  if (holds) passed++;
  else failed++;
}

/** A server that sends back what it gets, on a port of its own. Returns that, and how to end it. */
function echoServer(loop: IOLoop): { readonly port: number; readonly close: () => void } {
  const listener = listenSocket({ port: 0 });
  const address = socketAddress(listener);
  if (address.family === 'Unix') throw new Error('not an IP address');
  const buffer = new Uint8Array(65_536);
  const echo = (fd: number): void => {
    const size = recv(fd, buffer);
    if (size > 0) send(fd, buffer, 0, size);
    else if (size !== EAGAIN) close(fd);
  };
  const close = (fd: number): void => {
    loop.removeHandler(fd);
    closeFd(fd);
  };
  loop.addHandler(
    listener,
    () => {
      for (let fd = acceptSocket(listener); fd >= 0; fd = acceptSocket(listener))
        loop.addHandler(fd, echo, Interest.READ);
    },
    Interest.READ,
  );
  return { port: address.port, close: () => close(listener) };
}

/** Sends `rounds` messages, each when the last came back; how many bytes came back right. */
function client(loop: IOLoop, port: number, rounds: number): Promise<number> {
  const fd = connectSocket({ port });
  const message = new TextEncoder().encode('a message of thirty-two letters.');
  const buffer = new Uint8Array(1_024);
  let right = 0;
  return new Promise((resolve) => {
    loop.addHandler(
      fd,
      (_, events) => {
        if (events & Ready.WRITE) {
          loop.updateHandler(fd, Interest.READ);
          send(fd, message);
        }
        const size = events & Ready.READ ? recv(fd, buffer) : 0;
        for (let i = 0; i < size; i++) if (buffer[i] === message[right % message.length]) right++;
        if (right >= rounds * message.length) {
          loop.removeHandler(fd);
          closeFd(fd);
          resolve(right / message.length);
        } else if (size > 0 && right % message.length === 0) send(fd, message);
      },
      Interest.WRITE,
    );
  });
}

async function checkLoop(backend: string): Promise<void> {
  const errors: unknown[] = [];
  const loop = new IOLoop({ backend, current: false, onError: (error) => errors.push(error) });
  const server = echoServer(loop);
  const echoes = await Promise.all(Array.from({ length: 8 }, () => client(loop, server.port, 250)));
  check(`${backend}: eight clients get 250 echoes each`, echoes.join() === Array(8).fill(250).join());
  server.close();

  const whenMs = loop.time() + 3;
  const order: number[] = [];
  await new Promise<void>((resolve) => {
    for (let i = 0; i < 5; i++) loop.callAt(whenMs, () => void order.push(i));
    loop.callLater(1e9, () => void order.push(-1)).cancel();
    loop.callAt(whenMs, resolve);
  });
  check(
    `${backend}: timers fire in order, and not early`,
    order.join() === '0,1,2,3,4' && loop.time() >= whenMs,
  );

  const turns: number[] = [];
  await new Promise<void>((resolve) => {
    const next = (): void => {
      if (turns.push(loop.metrics().turns) < 50) loop.addCallback(next);
      else resolve();
    };
    loop.addCallback(next);
  });
  check(`${backend}: each callback of a chain has a turn of its own`, new Set(turns).size === 50);

  let calls = 0;
  await new Promise<void>((resolve) => {
    const waker = loop.createWaker(() => {
      if (++calls < 20) waker.wake();
      else resolve(waker.close());
    });
    for (let i = 0; i < 1_000; i++) Waker.from(waker.handle).wake();
  });
  check(`${backend}: a thousand wakes before a turn are one call`, calls === 20);

  let ticks = 0;
  await new Promise<void>((resolve) => {
    const periodic = new PeriodicCallback(
      () => {
        if (++ticks < 5) return;
        periodic.stop();
        resolve();
      },
      2,
      { loop },
    );
    periodic.start();
  });
  check(`${backend}: a periodic callback comes again`, ticks === 5);

  loop.addCallback(() => {
    throw new Error('thrown');
  });
  loop.addCallback(() => Promise.reject(new Error('rejected')));
  await new Promise<void>((resolve) => loop.callLater(5, resolve));
  check(
    `${backend}: errors are told, each once`,
    errors.map(String).join() === 'Error: thrown,Error: rejected',
  );

  await checkQuiet(loop, backend);
  loop.callLater(1e9, () => {});
  await new Promise<void>((resolve) => loop.addCallback(() => resolve(loop.close())));
  check(`${backend}: it closes inside a turn`, loop.fd === -1);
}

async function checkQuiet(loop: IOLoop, backend: string): Promise<void> {
  const listener = listenSocket({ port: 0 });
  loop.addHandler(listener, () => {}, Interest.READ);
  const far = loop.callLater(1e9, () => {});
  await new Promise((resolve) => setTimeout(resolve, 5));
  const before = loop.metrics().turns;
  await new Promise((resolve) => setTimeout(resolve, 200));
  const turns = loop.metrics().turns - before;
  check(`${backend}: an idle loop makes no turn (${turns})`, turns <= 1);
  far.cancel();
  loop.removeHandler(listener);
  closeFd(listener);
}

async function main(): Promise<void> {
  for (const backend of IOLoop.backends) await checkLoop(backend);
  const loop = new IOLoop();
  let fromNode = 0;
  setTimeout(() => fromNode++, 1);
  await new Promise<void>((resolve) => {
    const spin = (): void => (fromNode > 0 ? resolve() : loop.addCallback(spin));
    loop.addCallback(spin);
  });
  check("callbacks without end leave the runtime's timers running", fromNode === 1);
  loop.createWaker(() => {}).unref();
  loop.callLater(1e9, () => {}).unref();
  // Nothing but this timer keeps the process alive.
  loop.callLater(50, () => {
    check('a referenced timer keeps the process alive', true);
    console.log(`${passed} passed, ${failed} failed`);
    if (failed > 0) process.exitCode = 1;
  });
}

void main();
