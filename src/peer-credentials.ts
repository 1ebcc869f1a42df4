/** Who is at the other end of a Unix socket: unix(7). */
export interface PeerCredentials {
  /** Process, as our namespace numbers it; 0: it is not in there. -1 where the system does not tell. */
  readonly pid: number;
  /** User. */
  readonly uid: number;
  /** Group. */
  readonly gid: number;
}
