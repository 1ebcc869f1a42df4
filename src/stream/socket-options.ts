import { checkOptions, invalidArgument } from '../arguments.ts';
import { SystemError, type SystemErrorSubject } from '../errors.ts';
import { addon, type NativeOption, type NativePreset } from '../native.ts';
import { isNativeError } from '../native-error.ts';
import type { SocketOptions } from './socket-option-table.ts';

/** IFNAMSIZ of netdevice(7), and TCP_CA_NAME_MAX of Linux. */
const LONGEST_TEXT = 16;

/** What an option is set to: by name a number, a flag or a word; by level and number its bytes. */
export type OptionValue = number | boolean | string | Uint8Array;

/**
 * setsockopt(2): by name and value, or by level, number and bytes.
 *
 * @throws SystemError EINVAL, ENOPROTOOPT, EPERM ...; `ERR_IOLOOP_INVALID_ARGUMENT`: no such option here.
 */
export function setOption(
  fd: number,
  nameOrLevel: string | number,
  valueOrName: number | boolean | string,
  bytes?: Uint8Array,
): void {
  if (typeof nameOrLevel === 'number') {
    if (!Number.isInteger(nameOrLevel)) throw invalidArgument('level', 'an integer', nameOrLevel);
    if (typeof valueOrName !== 'number' || !Number.isInteger(valueOrName))
      throw invalidArgument('name', 'an integer', valueOrName);
    if (!(bytes instanceof Uint8Array)) throw invalidArgument('value', 'a Uint8Array', bytes);
    check(addon().setSocketOption(fd, nameOrLevel, valueOrName, bytes), 'setsockopt', fd, `${valueOrName}`);
    return;
  }
  const [level, number, kind] = optionOf(nameOrLevel);
  check(
    addon().setSocketOption(fd, level, number, toBytes(valueOrName, kind)),
    'setsockopt',
    fd,
    nameOrLevel,
  );
}

/** getsockopt(2) of an option that is a number. For SO_LINGER its seconds, -1 while it is off. */
export function getOption(fd: number, name: string): number {
  const [level, number, kind] = optionOf(name);
  if (kind === 'string') throw invalidArgument('name', 'an option that is a number', name);
  const words = new Int32Array(2);
  const bytes = new Uint8Array(words.buffer, 0, kind === 'linger' ? 8 : 4);
  check(addon().getSocketOption(fd, level, number, bytes), 'getsockopt', fd, name);
  const [first = 0, second = 0] = words;
  if (kind !== 'linger') return first;
  return first === 0 ? -1 : second;
}

/** getsockopt(2) of an option that is a text, '' where none is set. */
export function getOptionText(fd: number, name: string): string {
  const [level, number, kind] = optionOf(name);
  if (kind !== 'string') throw invalidArgument('name', 'an option that is a text', name);
  const bytes = Buffer.alloc(LONGEST_TEXT);
  const size = addon().getSocketOption(fd, level, number, bytes);
  check(size, 'getsockopt', fd, name);
  // It may end with a NUL, or more.
  return bytes.toString('latin1', 0, size).replace(/\0.*$/s, '');
}

/**
 * What to set on a socket that is yet to be made.
 *
 * @throws `ERR_IOLOOP_INVALID_ARGUMENT`: none of that name on this system, or another value.
 */
export function presetOptions(options: SocketOptions | undefined): readonly NativePreset[] {
  checkOptions(options, 'options.socketOptions');
  return Object.entries(options ?? {}).flatMap(([name, value]: [string, unknown]) => {
    if (value === undefined) return [];
    const [level, number, kind] = optionOf(name, 'a name in options.socketOptions');
    return [[name, level, number, toBytes(value, kind)] as const];
  });
}

/** Runs a native call that throws, and says in its error what that happened to, or which of `presets` was refused. */
export function explainPresets<T>(
  presets: readonly NativePreset[],
  subject: SystemErrorSubject,
  call: () => T,
): T {
  try {
    return call();
  } catch (error) {
    if (!isNativeError(error)) throw error;
    const refused = presets.find(([name]) => name === error.syscall);
    if (refused === undefined) throw new SystemError(error.errno, error.syscall, subject);
    throw new SystemError(error.errno, 'setsockopt', { ...subject, detail: refused[0] });
  }
}

/** SO_KEEPALIVE after `idleMs` of silence, rounded up to seconds; 0: off (tcp(7)). */
export function setKeepAlive(fd: number, idleMs: number): void {
  setOption(fd, 'SO_KEEPALIVE', idleMs > 0);
  if (idleMs > 0) setOption(fd, 'TCP_KEEPIDLE', Math.ceil(idleMs / 1000));
}

function optionOf(name: unknown, argument = 'name'): NativeOption {
  const option = typeof name === 'string' ? addon().socketOption(name) : null;
  if (option === null) throw invalidArgument(argument, 'an option of this system, as SO_RCVBUF', name);
  return option;
}

function toBytes(value: unknown, kind: NativeOption[2]): Uint8Array {
  if (kind === 'string') {
    if (typeof value !== 'string') throw invalidArgument('value', 'a string', value);
    return Buffer.from(value);
  }
  if (typeof value !== 'boolean' && (typeof value !== 'number' || !Number.isInteger(value)))
    throw invalidArgument('value', 'an integer or a boolean', value);
  const number = Number(value);
  // struct linger of socket(7): on or off, and seconds; a negative number is off.
  const words =
    kind === 'linger' ? Int32Array.of(number < 0 ? 0 : 1, Math.max(number, 0)) : Int32Array.of(number);
  return new Uint8Array(words.buffer);
}

function check(result: number, syscall: string, fd: number, name: string): void {
  if (result < 0) throw new SystemError(result, syscall, { detail: `${name} of fd ${fd}` });
}
