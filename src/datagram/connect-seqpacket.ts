import { deferred } from '../deferred.ts';
import { AbortError, SystemError } from '../errors.ts';
import type { IOLoop, WaitOptions } from '../ioloop.ts';
import { addon, closeStream } from '../native.ts';
import { explain } from '../native-error.ts';
import type { TimerHandle } from '../timer.ts';
import { waitFor } from '../wait.ts';
import { openSocket } from './open-socket.ts';

const TIMEOUT_MS = 30_000;
/** How long to wait for room in a full backlog, at first and at most. */
const FIRST_RETRY_MS = 1;
const LAST_RETRY_MS = 100;

/**
 * A seqpacket socket that is connected to `path`: at once, or as soon as the backlog there has room, for
 * which the process is kept alive. However it fails, no descriptor stays open.
 *
 * @param options `timeoutMs`: 30,000.
 * @throws SystemError of connect(2); AbortError, {@link TimeoutError}.
 */
export async function connectSeqpacket(loop: IOLoop, path: string, options: WaitOptions): Promise<number> {
  const { signal, timeoutMs = TIMEOUT_MS } = options;
  if (signal?.aborted) throw new AbortError(signal.reason);
  const fd = openSocket('seqpacket', () => {});
  const connected = deferred<number>();
  let retry: TimerHandle | undefined;
  const attempt = (retryMs: number): void => {
    try {
      if (connects(fd, path)) connected.resolve(fd);
      else retry = loop.callLater(retryMs, attempt, Math.min(retryMs * 2, LAST_RETRY_MS));
    } catch (error) {
      connected.reject(error);
    }
  };
  try {
    attempt(FIRST_RETRY_MS);
    const what = `connecting to ${path.replace('\0', '@')}`;
    return await waitFor(loop, connected.promise, { signal, timeoutMs }, what);
  } catch (error) {
    closeStream(fd);
    throw error;
  } finally {
    retry?.cancel();
  }
}

/** connect(2); false: the backlog is full, which readiness does not tell the end of. */
function connects(fd: number, path: string): boolean {
  try {
    explain({ path }, () => addon().connectDatagram(fd, path, '', 0));
    return true;
  } catch (error) {
    if (error instanceof SystemError && error.code === 'EAGAIN') return false;
    throw error;
  }
}
