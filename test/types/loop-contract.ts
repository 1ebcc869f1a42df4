/**
 * A program written against the published interface of the loop. It is compiled, never run: what it
 * says about types is the test. Our own declarations may be richer, never poorer.
 */
import {
  type BackendName,
  type InetAddress,
  Interest,
  IOLoop,
  IOLoopError,
  type IOLoopErrorCode,
  LimitError,
  type LoopMetrics,
  type LoopOptions,
  PeriodicCallback,
  Ready,
  SystemError,
  TimeoutError,
  type TimerHandle,
  type UnixAddress,
  type WaitOptions,
  Waker,
  type WakerHandle,
} from '../../src/index.ts';
import {
  acceptSocket,
  closeFd,
  connectSocket,
  EAGAIN,
  listenSocket,
  peerAddress,
  recv,
  type SocketTarget,
  send,
  shutdownFd,
  socketAddress,
  socketError,
  toSystemError,
} from '../../src/raw.ts';
import { exactly } from './exactly.ts';

export function errors(caught: unknown): void {
  const codes: readonly IOLoopErrorCode[] = [
    'ERR_IOLOOP_STREAM_CLOSED',
    'ERR_IOLOOP_READ_PENDING',
    'ERR_IOLOOP_TIMEOUT',
    'ERR_IOLOOP_IDLE',
    'ERR_IOLOOP_TOO_SLOW',
    'ERR_IOLOOP_READ_LIMIT',
    'ERR_IOLOOP_BUFFER_FULL',
    'ERR_IOLOOP_MEMORY_BUDGET',
    'ERR_IOLOOP_UNKNOWN_BACKEND',
    'ERR_IOLOOP_CLOSED',
    'ERR_IOLOOP_REENTRANT',
    'ERR_IOLOOP_INVALID_ARGUMENT',
    'ERR_IOLOOP_INVALID_STATE',
  ];
  exactly<boolean>()(IOLoopError.is(caught));
  if (IOLoopError.is(caught, codes[0])) exactly<IOLoopErrorCode>()(caught.code);
  if (caught instanceof SystemError) {
    const asError: Error = caught;
    exactly<string>()(caught.code);
    exactly<number>()(caught.errno);
    exactly<string>()(caught.syscall);
    const where: { address?: string; port?: number; path?: string } = caught;
    throw new AggregateError([asError], where.path);
  }
  if (caught instanceof LimitError) exactly<number>()(caught.limit);
  if (caught instanceof TimeoutError) {
    const asLoopError: IOLoopError = caught;
    throw asLoopError;
  }
}

export function words(): number {
  const interest: number =
    Interest.READ |
    Interest.WRITE |
    Interest.PRIORITY |
    Interest.EDGE |
    Interest.ONESHOT |
    Interest.EXCLUSIVE;
  const ready: number = Ready.READ | Ready.WRITE | Ready.PRIORITY | Ready.ERROR | Ready.HANGUP;
  return interest & ready;
}

export function options(): LoopOptions[] {
  return [
    {},
    { backend: 'auto', drive: 'node' },
    { backend: 'epoll' satisfies BackendName, drive: 'manual', current: false },
    { backend: 'of-another-system', maxEvents: 64, slowCallbackMs: 5, memoryBudget: 2 ** 28 },
    { onError: (error) => exactly<unknown>()(error) },
    {
      backend: undefined,
      drive: undefined,
      current: undefined,
      maxEvents: undefined,
      slowCallbackMs: undefined,
      onError: undefined,
      memoryBudget: undefined,
    },
  ];
}

export function handlers(loop: IOLoop, fd: number): void {
  exactly<void>()(
    loop.addHandler(
      fd,
      (ready, events) => {
        exactly<number>()(ready);
        exactly<number>()(events);
      },
      Interest.READ,
    ),
  );
  loop.addHandler(fd, async () => {}, Interest.READ | Interest.WRITE);
  loop.addHandler(fd, () => {}, Interest.READ);
  exactly<void>()(loop.updateHandler(fd, Interest.WRITE));
  exactly<boolean>()(loop.removeHandler(fd));
  exactly<void>()(loop.setHandlerRef(fd, false));
}

export function callbacks(loop: IOLoop): void {
  const greet = (name: string, times: number): void => void `${name} ${times}`;
  exactly<void>()(loop.addCallback(greet, 'world', 1));
  loop.addCallback(async () => {});
  exactly<TimerHandle>()(loop.callLater(1.5, greet, 'later', 2));
  exactly<TimerHandle>()(loop.callAt(loop.time() + 10, greet, 'at', 3));
  loop.callLater(0, async () => {});
  // @ts-expect-error the arguments are those of the callback
  loop.addCallback(greet, 1, 'world');
  // @ts-expect-error none may be missing
  loop.callLater(1, greet, 'world');
  // @ts-expect-error the time comes first
  loop.callAt(greet, 1);
}

export function timers(handle: TimerHandle): void {
  exactly<void>()(handle.cancel());
  exactly<void>()(handle.reschedule(10));
  exactly<boolean>()(handle.active);
  const same: TimerHandle = handle.ref().unref();
  exactly<void>()(same[Symbol.dispose]());
}

export function periodic(loop: IOLoop): void {
  const callback = new PeriodicCallback(() => {}, 100);
  const other = new PeriodicCallback(async () => {}, 100, { jitter: 0.1, loop });
  new PeriodicCallback(() => {}, 1, { jitter: undefined, loop: undefined }).stop();
  exactly<void>()(callback.start());
  exactly<void>()(callback.stop());
  exactly<boolean>()(other.isRunning());
}

export function wakers(loop: IOLoop): void {
  const waker: Waker = loop.createWaker(() => {});
  exactly<WakerHandle>()(waker.handle);
  exactly<number>()(waker.handle.wakerId);
  exactly<number>()(waker.fd);
  exactly<boolean>()(Waker.from({ wakerId: waker.handle.wakerId }).wake());
  const same: Waker = waker.ref().unref();
  exactly<void>()(same.close());
  exactly<void>()(waker[Symbol.dispose]());
}

export async function life(): Promise<void> {
  const loop: IOLoop = new IOLoop({ backend: 'poll' });
  const current: IOLoop = IOLoop.current();
  exactly<readonly BackendName[]>()(IOLoop.backends);
  exactly<BackendName>()(loop.backend);
  exactly<'node' | 'manual'>()(loop.drive);
  exactly<number>()(loop.fd);
  exactly<number>()(loop.time());
  exactly<Promise<void>>()(loop.start());
  exactly<void>()(loop.stop());
  exactly<void>()(loop.onStop(() => {}));
  exactly<void>()(loop.onStop(async () => {}));
  const wait: WaitOptions = { signal: AbortSignal.timeout(1), timeoutMs: undefined };
  exactly<Promise<string>>()(loop.run(() => 'plain', wait));
  exactly<Promise<number>>()(loop.run(async () => 1));
  exactly<number>()(loop.runOnce());
  exactly<number>()(loop.runOnce(0.5));
  exactly<number>()(loop.timeoutMs());
  const held: readonly { kind: string; fd: number; referenced: boolean }[] = loop.resources();
  void held.length;
  const same: IOLoop = loop.ref().unref();
  await same.close();
  exactly<Promise<void>>()(current.close({ graceMs: 1 }));
  exactly<Promise<void>>()(current.close({ graceMs: undefined }));
  await using disposed = new IOLoop();
  exactly<Promise<void>>()(disposed[Symbol.asyncDispose]());
}

export function metrics(loop: IOLoop): number {
  const all: LoopMetrics = loop.metrics();
  const figures: Readonly<Record<string, number>> = all;
  void figures;
  return (
    all.turns +
    all.polls +
    all.wakeUps +
    all.events +
    all.staleEvents +
    all.spuriousEvents +
    all.systemCalls +
    all.timersFired +
    all.busyMs +
    all.idleMs +
    all.handlers +
    all.timers +
    all.streams +
    all.bytesBuffered +
    all.bytesQueued +
    all.acceptsShed +
    all.datagramsDropped
  );
}

export function raw(): void {
  const targets: readonly SocketTarget[] = [
    { port: 0 },
    { host: '::1', port: 80 },
    { host: undefined, port: 80 },
    { path: '\0abstract' },
  ];
  for (const target of targets) exactly<number>()(connectSocket(target));
  const listener: number = listenSocket({ port: 0, backlog: 16, reusePort: true });
  exactly<number>()(listenSocket({ path: '/run/x', backlog: undefined, reusePort: undefined }));
  const fd: number = acceptSocket(listener);
  if (fd === EAGAIN) throw toSystemError(fd, 'accept');
  const bytes = new Uint8Array(8);
  exactly<number>()(recv(fd, bytes));
  exactly<number>()(recv(fd, Buffer.alloc(8), 2, 4));
  exactly<number>()(send(fd, bytes));
  exactly<number>()(send(fd, bytes, 2, 4));
  exactly<number>()(socketError(fd));
  exactly<void>()(shutdownFd(fd));
  exactly<void>()(closeFd(fd));
  exactly<number>()(EAGAIN);
  exactly<SystemError>()(toSystemError(-1, 'recv'));
  const address: InetAddress | UnixAddress = socketAddress(fd);
  if (address.family === 'Unix') {
    exactly<'Unix'>()(address.family);
    exactly<string>()(address.path);
    return;
  }
  exactly<'IPv4' | 'IPv6'>()(address.family);
  exactly<string>()(address.address);
  exactly<number>()(address.port);
  exactly<string>()(peerAddress(fd).toString());
}
