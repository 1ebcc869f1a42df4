import { checkOptions, invalidArgument } from '../arguments.ts';

const NOWHERE = new Uint8Array(0);

/**
 * What is to be sent.
 *
 * @throws `ERR_IOLOOP_INVALID_ARGUMENT`; of bytes that were transferred away, too.
 */
export function checkData(data: unknown): asserts data is string | Uint8Array {
  if (typeof data !== 'string') checkBytes(data, 'data', 'a string or a Uint8Array');
}

/** {@link checkData} where a string will not do. */
export function checkBytes(
  data: unknown,
  name: string,
  expected = 'a Uint8Array',
): asserts data is Uint8Array {
  if (!(data instanceof Uint8Array)) throw invalidArgument(name, expected, data);
  // An empty message, or one whose memory is gone: that says it is empty, and cannot be copied.
  if (data.length > 0) return;
  try {
    NOWHERE.set(data);
  } catch {
    throw invalidArgument(name, `${expected} whose memory was not transferred`, data);
  }
}

/**
 * What `read` makes of each of the messages of one call, before the first of them is sent. Each is read
 * once: a getter may run anything, and say something else the next time.
 *
 * @throws `ERR_IOLOOP_INVALID_ARGUMENT`: one is no object; what `read` throws.
 */
export function readMessages<Message, Result>(
  messages: readonly Message[],
  read: (message: Message, name: string) => Result,
): readonly Result[] {
  // A hole is read as well.
  return Array.from(messages, (message, place) => {
    const name = `messages[${place}]`;
    checkOptions(message ?? null, name);
    return read(message, name);
  });
}
