import { inspect } from 'node:util';
import { IOLoopError } from './errors.ts';

/**
 * The checks of public functions: each throws `ERR_IOLOOP_INVALID_ARGUMENT` with the argument's
 * name, what it must be and what it was.
 */
export function invalidArgument(name: string, expected: string, value: unknown): IOLoopError {
  const shown = inspect(value, { depth: 0, breakLength: Number.POSITIVE_INFINITY, maxStringLength: 80 });
  return new IOLoopError('ERR_IOLOOP_INVALID_ARGUMENT', `${name} must be ${expected}, not ${shown}`);
}

/** A descriptor number: an integer from 0 to 2^31 - 1. */
export function checkFd(value: unknown, name = 'fd'): asserts value is number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > 0x7fffffff)
    throw invalidArgument(name, 'a descriptor number', value);
}

/** A function. */
export function checkFunction(value: unknown, name: string): void {
  if (typeof value !== 'function') throw invalidArgument(name, 'a function', value);
}

/** Milliseconds: any number but NaN. Negative and infinite ones have their meaning where they are taken. */
export function checkMilliseconds(value: unknown, name: string): asserts value is number {
  if (typeof value !== 'number' || Number.isNaN(value))
    throw invalidArgument(name, 'a number of milliseconds', value);
}

/** Milliseconds that something lasts: any number from 0 on, Infinity included. */
export function checkDuration(value: unknown, name: string): asserts value is number {
  checkMilliseconds(value, name);
  if (value < 0) throw invalidArgument(name, 'no negative number of milliseconds', value);
}

/** An integer from `least` to `most`. */
export function checkInteger(
  value: unknown,
  name: string,
  least: number,
  most: number,
): asserts value is number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most)
    throw invalidArgument(name, `an integer from ${least} to ${most}`, value);
}

/** An object of options, or nothing. */
export function checkOptions(value: unknown, name = 'options'): void {
  if (value !== undefined && (typeof value !== 'object' || value === null))
    throw invalidArgument(name, 'an object', value);
}

/** One of `words`, or nothing. */
export function checkOneOf(value: unknown, name: string, words: readonly string[]): void {
  if (value !== undefined && !(typeof value === 'string' && words.includes(value)))
    throw invalidArgument(name, `one of ${words.map((word) => `'${word}'`).join(', ')}`, value);
}

/** An AbortSignal, or nothing. */
export function checkSignal(value: unknown, name = 'signal'): void {
  if (value !== undefined && !(value instanceof AbortSignal))
    throw invalidArgument(name, 'an AbortSignal', value);
}

/** A boolean, or nothing. */
export function checkBoolean(value: unknown, name: string): void {
  if (value !== undefined && typeof value !== 'boolean') throw invalidArgument(name, 'a boolean', value);
}

/** A boolean. */
export function checkFlag(value: unknown, name: string): asserts value is boolean {
  if (typeof value !== 'boolean') throw invalidArgument(name, 'a boolean', value);
}
