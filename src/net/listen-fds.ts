import { invalidArgument } from '../arguments.ts';

/** A socket that a service manager opened for this process. */
export interface InheritedFd {
  readonly fd: number;
  /** `FileDescriptorName=` of the unit; 'unknown' where the manager names none. */
  readonly name: string;
}

/** The first one: after the standard streams. */
const SD_LISTEN_FDS_START = 3;
// More than any process may have open (fs.nr_open).
const MAX_FDS = 1 << 20;

/**
 * The descriptors that systemd, or whoever speaks its protocol, hands to this process
 * (sd_listen_fds(3), systemd.socket(5)): LISTEN_FDS of them from 3 on, named by LISTEN_FDNAMES. None
 * unless LISTEN_PID is this process: a parent's are not ours.
 *
 * They are not checked here and stay as they are; a server's listenFd() takes one over, and makes it
 * non-blocking and close-on-exec.
 *
 * @param options `unset`: takes the variables away, so that children do not take them for theirs (a
 *   worker thread has a copy of its own); by default they stay, and a second call answers the same.
 * @throws {@link IOLoopError} `ERR_IOLOOP_INVALID_ARGUMENT`: LISTEN_FDS is no number, or LISTEN_FDNAMES
 *   has more or fewer names.
 */
export function listenFds(options: { unset?: boolean | undefined } = {}): InheritedFd[] {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES } = process.env;
  if (options.unset === true)
    for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete process.env[name];
  if (LISTEN_FDS === undefined || LISTEN_PID !== String(process.pid)) return [];
  const count = /^\d{1,9}$/.test(LISTEN_FDS) ? Number(LISTEN_FDS) : Number.NaN;
  if (!(count <= MAX_FDS)) throw invalidArgument('LISTEN_FDS', 'a number of descriptors', LISTEN_FDS);
  const names = LISTEN_FDNAMES?.split(':');
  if (names !== undefined && names.length !== count)
    throw invalidArgument('LISTEN_FDNAMES', `${count} names with colons between them`, LISTEN_FDNAMES);
  return Array.from({ length: count }, (_, place) => ({
    fd: SD_LISTEN_FDS_START + place,
    name: names?.[place] ?? 'unknown',
  }));
}
