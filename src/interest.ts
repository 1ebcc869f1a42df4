/**
 * What a descriptor is watched for: bits to be or-ed.
 *
 * READ, WRITE and PRIORITY say what; the others say how. EDGE, ONESHOT and EXCLUSIVE exist where the
 * backend has them (epoll_ctl(2), kqueue(2)) and are refused with ENOTSUP elsewhere. Without EDGE a
 * handler is called again as long as its descriptor is ready.
 */
export const Interest: {
  /** Bytes, a connection to accept, or the end. */
  readonly READ: number;
  /** Room to write, or a connect that is decided. */
  readonly WRITE: number;
  /** Urgent data (tcp(7)). */
  readonly PRIORITY: number;
  /** Told when it becomes ready, not while it is. */
  readonly EDGE: number;
  /** Told once, then silent until updateHandler(). */
  readonly ONESHOT: number;
  /** Of several loops that watch one listener, few are woken; cannot be changed by updateHandler(). */
  readonly EXCLUSIVE: number;
} = { READ: 1, WRITE: 2, PRIORITY: 4, EDGE: 32, ONESHOT: 64, EXCLUSIVE: 128 };

/** What a descriptor turned out to be ready for. ERROR and HANGUP come whether asked for or not. */
export const Ready: {
  readonly READ: number;
  readonly WRITE: number;
  readonly PRIORITY: number;
  /** An error waits on it: `socketError()` takes it. */
  readonly ERROR: number;
  /** Both directions are over; what was received before can still be read. */
  readonly HANGUP: number;
} = { READ: 1, WRITE: 2, PRIORITY: 4, ERROR: 8, HANGUP: 16 };

/** Every bit that may stand in an interest. */
export const ALL_INTERESTS: number = 1 | 2 | 4 | 32 | 64 | 128;
/** The bits that are reported whether asked for or not. */
export const ALWAYS_REPORTED: number = 8 | 16;
