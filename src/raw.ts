/**
 * Sockets as descriptors, for servers written at the level of {@link IOLoop.addHandler}.
 *
 * Every descriptor made here is non-blocking and close-on-exec, belongs to this thread's environment
 * and is closed with it. Setting up throws a {@link SystemError}; hot calls return a count, a
 * descriptor, or a negative errno, and throw only for arguments that are no arguments.
 *
 * @module
 */
import { type Address, toAddress } from './address.ts';
import { checkBoolean, checkFd, checkInteger, checkOptions, invalidArgument } from './arguments.ts';
import { SystemError, type SystemErrorSubject } from './errors.ts';
import { isIpLiteral } from './ip-literal.ts';
import { addon, type NativeTarget, recv as nativeRecv, send as nativeSend } from './native.ts';
import { explain } from './native-error.ts';

/** Where to listen or to connect: an IP literal (no name: nothing is resolved here) and a port, or a path. */
export type SocketTarget = { host?: string | undefined; port: number } | { path: string };

/** What an operation that would block returns: -EAGAIN of this system. */
export const EAGAIN: number = process.platform === 'linux' ? -11 : -35;

const LOOPBACK = '127.0.0.1';

/**
 * A listening stream socket. Host by default: 127.0.0.1. Port 0: any free one, see socketAddress().
 *
 * @param options `backlog`: 4096 by default, clipped by the kernel (listen(2)); `reusePort`:
 *   SO_REUSEPORT (socket(7)).
 * @throws {@link SystemError} EADDRINUSE, EACCES, EADDRNOTAVAIL ...
 */
export function listenSocket(
  options: SocketTarget & { backlog?: number | undefined; reusePort?: boolean | undefined },
): number {
  const target = checkTarget(options);
  const { backlog = 4096, reusePort = false } = options;
  checkInteger(backlog, 'options.backlog', 0, 0x7fffffff);
  checkBoolean(reusePort, 'options.reusePort');
  return explain(subjectOf(target), () =>
    addon().listenSocket(target.path, target.host, target.port, backlog, reusePort),
  );
}

/** The next connection that waits, or -errno; EAGAIN: none. */
export function acceptSocket(listener: number): number {
  checkFd(listener, 'listener');
  return addon().acceptSocket(listener);
}

/** Where the socket is bound. */
export function socketAddress(fd: number): Address {
  checkFd(fd);
  return toAddress(explain({ detail: `fd ${fd}` }, () => addon().socketAddress(fd)));
}

/** Whom the socket is connected to. */
export function peerAddress(fd: number): Address {
  checkFd(fd);
  return toAddress(explain({ detail: `fd ${fd}` }, () => addon().peerAddress(fd)));
}

/**
 * A stream socket that begins to connect. Watch it for WRITE: then it is decided, and
 * {@link socketError} tells how.
 *
 * @throws {@link SystemError} what is refused at once: ENOENT or ECONNREFUSED of a path, ENETUNREACH ...
 */
export function connectSocket(options: SocketTarget): number {
  const target = checkTarget(options);
  return explain(subjectOf(target), () => addon().connectSocket(target.path, target.host, target.port));
}

/** Takes the error that waits on the socket (SO_ERROR, socket(7)): 0, or -errno. */
export function socketError(fd: number): number {
  checkFd(fd);
  return addon().socketError(fd);
}

/** Bytes received into `target`, 0 at the end of the stream, or -errno; recv(2). */
export function recv(fd: number, target: Uint8Array, offset?: number, length?: number): number {
  checkFd(fd);
  checkBuffer(target, 'target');
  if (offset === undefined && length === undefined) return nativeRecv(fd, target);
  const from = offset ?? 0;
  const size = length ?? target.length - from;
  checkRange(target, from, size);
  return nativeRecv(fd, target, from, size);
}

/** Bytes of `source` that the kernel took, or -errno; send(2) with MSG_NOSIGNAL. */
export function send(fd: number, source: Uint8Array, offset?: number, length?: number): number {
  checkFd(fd);
  checkBuffer(source, 'source');
  if (offset === undefined && length === undefined) return nativeSend(fd, source);
  const from = offset ?? 0;
  const size = length ?? source.length - from;
  checkRange(source, from, size);
  return nativeSend(fd, source, from, size);
}

/** Ends our half of the connection: the peer reads the end, and we go on reading; shutdown(2). */
export function shutdownFd(fd: number): void {
  checkFd(fd);
  explain({ detail: `fd ${fd}` }, () => addon().shutdownFd(fd));
}

/**
 * An inotify(7) descriptor, which Node's own loop cannot watch: it tells what happens in watched
 * directories in the kernel's own words. Read its events with `fs.readSync`. Linux only.
 *
 * @throws {@link SystemError} EMFILE: `fs.inotify.max_user_instances`; ENOSYS elsewhere.
 */
export function inotifyInit(): number {
  return explain({ detail: 'inotify' }, () => addon().inotifyInit());
}

/**
 * Watches `path` for the events of `mask` (IN_CLOSE_WRITE is 0x8 ..., inotify(7)).
 *
 * @returns The number that the events of this watch carry.
 * @throws {@link SystemError} ENOENT, EACCES, ENOSPC: `fs.inotify.max_user_watches` ...
 */
export function inotifyAddWatch(fd: number, path: string, mask: number): number {
  checkFd(fd);
  if (typeof path !== 'string' || path.includes('\0')) throw invalidArgument('path', 'a path', path);
  checkInteger(mask, 'mask', 1, 0xffffffff);
  const watch = addon().inotifyAddWatch(fd, path, mask);
  if (watch < 0) throw new SystemError(watch, 'inotify_add_watch', { path });
  return watch;
}

/** Closes; remove its handler first. */
export function closeFd(fd: number): void {
  checkFd(fd);
  explain({ detail: `fd ${fd}` }, () => addon().closeFd(fd));
}

/** The error that a hot call's negative `result` stands for. */
export function toSystemError(result: number, syscall: string): SystemError {
  checkInteger(result, 'result', -0x7fffffff, -1);
  if (typeof syscall !== 'string') throw invalidArgument('syscall', 'a string', syscall);
  return new SystemError(result, syscall);
}

function checkBuffer(value: unknown, name: string): void {
  if (!(value instanceof Uint8Array)) throw invalidArgument(name, 'a Uint8Array', value);
}

function checkRange(buffer: Uint8Array, offset: number, length: number): void {
  checkInteger(offset, 'offset', 0, buffer.length);
  checkInteger(length, 'length', 0, buffer.length - offset);
}

function checkTarget(options: SocketTarget): NativeTarget {
  checkOptions(options ?? null);
  if ('path' in options) {
    if (typeof options.path !== 'string') throw invalidArgument('options.path', 'a string', options.path);
    return { path: options.path, host: '', port: 0 };
  }
  const { host = LOOPBACK, port } = options;
  if (typeof host !== 'string' || !isIpLiteral(host))
    throw invalidArgument('options.host', 'an IP literal', host);
  checkInteger(port, 'options.port', 0, 65535);
  return { path: undefined, host, port };
}

/** What an error of `target` names. */
function subjectOf({ path, host, port }: NativeTarget): SystemErrorSubject {
  return path === undefined ? { address: host, port } : { path };
}
