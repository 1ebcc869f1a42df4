import { constants } from 'node:os';
import { SystemError } from '../errors.ts';
import { addon, closeStream } from '../native.ts';
import type { NativeDatagramKind } from '../native-datagrams.ts';
import { explain } from '../native-error.ts';
import { setOption } from '../stream/socket-options.ts';
import type { MessageSettings } from './message-options.ts';

/** A socket of that kind, after `setUp`; closed, when that throws. */
export function openSocket(kind: NativeDatagramKind, setUp: (fd: number) => void): number {
  const fd = explain({ detail: kind }, () => addon().openDatagram(kind));
  try {
    setUp(fd);
    return fd;
  } catch (error) {
    closeStream(fd);
    throw error;
  }
}

/** The two ends of a new connection, each after `setUp`; closed, when that throws. */
export function openPair(
  kind: 'unix' | 'seqpacket',
  setUp: (fd: number) => void,
): [one: number, other: number] {
  const ends = explain({ detail: kind }, () => addon().openDatagramPair(kind));
  try {
    for (const fd of ends) setUp(fd);
    return ends;
  } catch (error) {
    for (const fd of ends) closeStream(fd);
    throw error;
  }
}

/**
 * What `make` makes of a descriptor that is taken over; when it throws, that is the caller's as before.
 *
 * @throws SystemError ENOTSOCK, EBADF; EINVAL: it is of no kind in `kinds`.
 */
export function adoptSocket<K extends NativeDatagramKind, T>(
  fd: number,
  kinds: readonly K[],
  make: (kind: K) => T,
): T {
  const found = explain({ detail: `fd ${fd}` }, () => addon().adoptDatagram(fd));
  try {
    const kind = kinds.find((wanted) => wanted === found);
    if (kind !== undefined) return make(kind);
    throw new SystemError(-constants.errno.EINVAL, 'getsockopt', { detail: `fd ${fd} is of kind ${found}` });
  } catch (error) {
    addon().releaseStream(fd);
    throw error;
  }
}

/** Sets the sizes of the kernel's buffers, where they are given. */
export function setBufferSizes(fd: number, settings: MessageSettings): void {
  const { receiveBufferSize, sendBufferSize } = settings;
  if (receiveBufferSize !== undefined) setOption(fd, 'SO_RCVBUF', receiveBufferSize);
  if (sendBufferSize !== undefined) setOption(fd, 'SO_SNDBUF', sendBufferSize);
}

/** Whether connect(2) was called on `fd`. */
export function isConnected(fd: number): boolean {
  try {
    addon().peerAddress(fd);
    return true;
  } catch {
    return false;
  }
}
