import { invalidArgument } from '../../arguments.ts';
import type { IOLoopError } from '../../errors.ts';

/** The parameters of a type of endpoints. */
export interface EndpointParameters {
  /** Those that may stand without their names, in this order. */
  readonly positional?: readonly string[];
  /** Those that always have their names. */
  readonly keywords?: readonly string[];
}

/** What stands between two colons. */
interface Part {
  /** null: it is positional. */
  readonly keyword: string | null;
  readonly value: string;
}

/**
 * A description of an endpoint, `type:argument:keyword=argument`, taken apart.
 *
 * A backslash takes the meaning from the ':', '=' or '\\' behind it; an '=' behind the first one of an
 * argument has none.
 */
export class EndpointDescription {
  /** As it was given. */
  readonly text: string;
  /** In lower case. */
  readonly type: string;
  /** What stands behind the type and its colon, as it was given: for types that go around another one. */
  readonly rest: string;
  readonly #parts: readonly Part[];

  /** @throws `ERR_IOLOOP_INVALID_ARGUMENT`. */
  constructor(text: string) {
    if (typeof text !== 'string') throw invalidArgument('description', 'a string', text);
    this.text = text;
    const [type = { keyword: null, value: '' }, ...parts] = partsOf(text);
    if (type.keyword !== null || type.value === '')
      throw invalidArgument('description', 'a type, a colon and arguments', text);
    this.type = type.value.toLowerCase();
    this.rest = text.slice(text.indexOf(':') + 1 || text.length);
    // 'stdio:' has no arguments.
    this.#parts = this.rest === '' ? [] : parts;
  }

  /**
   * The arguments by the names of their parameters. One without a name is that of the first positional
   * parameter that has none yet: 'tcp:host=example.org:80' has a port.
   *
   * @throws `ERR_IOLOOP_INVALID_ARGUMENT`: there is no such parameter, or it is given twice.
   */
  arguments({ positional = [], keywords = [] }: EndpointParameters): EndpointArguments {
    const known = [...positional, ...keywords];
    const values = new Map<string, string>();
    for (const { keyword, value } of this.#parts) {
      if (keyword === null) continue;
      if (!known.includes(keyword)) throw this.invalid('keyword', oneOf(known), keyword);
      if (values.has(keyword)) throw this.invalid(keyword, 'given once', value);
      values.set(keyword, value);
    }
    const left = positional.filter((name) => !values.has(name));
    for (const { keyword, value } of this.#parts) {
      if (keyword !== null) continue;
      const name = left.shift();
      if (name === undefined) throw this.invalid('argument', `one with a keyword, ${oneOf(known)}`, value);
      values.set(name, value);
    }
    return new EndpointArguments(this, values);
  }

  /** The error of a part of this description: its name, what it must be and what it is. */
  invalid(part: string, expected: string, value: unknown): IOLoopError {
    return invalidArgument(`${part} of the endpoint '${this.text}'`, expected, value);
  }
}

/** The arguments of a description, by name; undefined: not given, or empty. Its methods throw `ERR_IOLOOP_INVALID_ARGUMENT`. */
export class EndpointArguments {
  readonly #description: EndpointDescription;
  readonly #values: ReadonlyMap<string, string>;

  constructor(description: EndpointDescription, values: ReadonlyMap<string, string>) {
    this.#description = description;
    this.#values = values;
  }

  /** A text of one character or more. */
  text(name: string): string | undefined {
    return this.#values.get(name) || undefined;
  }

  /** The error of an argument that has to be there. */
  missing(name: string): never {
    throw this.invalid(name, 'given');
  }

  /** An integer from `least` to `most`, in digits of `radix`. */
  integer(name: string, least: number, most: number, radix: 8 | 10 = 10): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const number = (radix === 8 ? /^[0-7]+$/ : /^\d+$/).test(value) ? Number.parseInt(value, radix) : -1;
    if (number >= least && number <= most) return number;
    const [from, to] = [least.toString(radix), most.toString(radix)];
    throw this.invalid(name, `${radix === 8 ? 'an octal number' : 'an integer'} from ${from} to ${to}`);
  }

  /** Seconds, with a fraction or without, in milliseconds. */
  seconds(name: string): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    if (!/^\d+(\.\d+)?$/.test(value)) throw this.invalid(name, 'a number of seconds');
    return Number(value) * 1000;
  }

  /** Whether: 1, yes and true, or 0, no and false. */
  flag(name: string): boolean | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    if (!FLAGS.has(value)) throw this.invalid(name, oneOf([...FLAGS.keys()]));
    return FLAGS.get(value);
  }

  /** The error of an argument: what it must be, and what it is. */
  invalid(name: string, expected: string, value: unknown = this.text(name)): IOLoopError {
    return this.#description.invalid(name, expected, value);
  }
}

const FLAGS: ReadonlyMap<string, boolean> = new Map([
  ['1', true],
  ['0', false],
  ['yes', true],
  ['no', false],
  ['true', true],
  ['false', false],
]);

/** `argument` such that it stands for itself in a description: with backslashes, where they are needed. */
export function quoteStringArgument(argument: string): string {
  if (typeof argument !== 'string') throw invalidArgument('argument', 'a string', argument);
  return argument.replace(/[\\:=]/g, '\\$&');
}

/** What stands between the colons of `text`. */
function partsOf(text: string): Part[] {
  const parts: Part[] = [];
  let keyword: string | null = null;
  let value = '';
  // A backslash and what is behind it, or one character.
  for (const [token] of text.matchAll(/\\?./gs)) {
    if (token === ':') {
      parts.push({ keyword, value });
      [keyword, value] = [null, ''];
    } else if (token === '=' && keyword === null) {
      [keyword, value] = [value, ''];
    } else if (token === '\\') {
      throw invalidArgument('description', 'without a backslash at its end', text);
    } else {
      value += token.startsWith('\\') ? token.slice(1) : token;
    }
  }
  parts.push({ keyword, value });
  return parts;
}

function oneOf(words: readonly string[]): string {
  if (words.length === 0) return 'left out: there are none';
  return `one of ${words.map((word) => `'${word}'`).join(', ')}`;
}
