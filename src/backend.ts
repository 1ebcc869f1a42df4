import { inspect } from 'node:util';
import { IOLoopError } from './errors.ts';
import { addon, type NativeSimNetwork } from './native.ts';

/** The poller behind a loop. */
export type BackendName = 'epoll' | 'kqueue' | 'poll' | 'select' | (string & {});

const SYSTEM_CALLS: Readonly<Record<string, string>> = { epoll: 'epoll_ctl', kqueue: 'kevent' };

/** The system call by which `backend` refuses. */
export function systemCall(backend: BackendName): string {
  return SYSTEM_CALLS[backend] ?? backend;
}

/** False: a helper thread gives the turns. `IOLOOP_DRIVER=thread` is for this package's own tests of that. */
export function hasNodeDriver(): boolean {
  return addon().hasLibuv && process.env.IOLOOP_DRIVER !== 'thread';
}

const simulated = new Map<BackendName, NativeSimNetwork>();
let simulatedSoFar = 0;

/** Has `network` chosen by the name that this returns, which no other ever has and no list tells. */
export function nameSimNetwork(network: NativeSimNetwork): BackendName {
  const name = `sim:${++simulatedSoFar}`;
  simulated.set(name, network);
  return name;
}

/** No loop is made on it any more. */
export function forgetSimNetwork(name: BackendName): void {
  simulated.delete(name);
}

/** The simulated network of that name. */
export function findSimNetwork(name: BackendName): NativeSimNetwork | undefined {
  return simulated.get(name);
}

/**
 * The backend called `wanted`; for nothing or `'auto'` what `IOLOOP_BACKEND` says, else the best.
 *
 * @throws {@link IOLoopError} `ERR_IOLOOP_UNKNOWN_BACKEND`, with the names that exist.
 */
export function chooseBackend(wanted: unknown): BackendName {
  const names = addon().backends;
  const name = wanted === undefined || wanted === 'auto' ? process.env.IOLOOP_BACKEND || names[0] : wanted;
  if (typeof name === 'string' && (names.includes(name) || simulated.has(name))) return name;
  throw new IOLoopError(
    'ERR_IOLOOP_UNKNOWN_BACKEND',
    `no backend ${inspect(name, { depth: 0 })} in this build; there are: ${names.join(', ')}`,
  );
}
