import { SystemError, type SystemErrorSubject } from './errors.ts';

/** Runs a native call that throws, and says in its error what that happened to. */
export function explain<T>(subject: SystemErrorSubject, call: () => T): T {
  try {
    return call();
  } catch (error) {
    if (!isNativeError(error)) throw error;
    throw new SystemError(error.errno, error.syscall, subject);
  }
}

/** What the addon throws. */
export interface NativeError {
  readonly errno: number;
  readonly syscall: string;
}

/** Whether `error` is one that the addon has thrown. */
export function isNativeError(error: unknown): error is NativeError {
  return error instanceof Error && 'errno' in error && 'syscall' in error;
}
