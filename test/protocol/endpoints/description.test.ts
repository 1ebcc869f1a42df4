import * as assert from 'uvu/assert';

import { EndpointDescription, IOLoopError, quoteStringArgument } from '../../../src/index.ts';
import { suite } from '../../support/suite.ts';

const PARAMETERS = { positional: ['one', 'two'], keywords: ['key', 'other'] };
const NAMES = ['one', 'two', 'key', 'other'];

/** The arguments of `text` that are given, by name. */
function argumentsOf(text: string): Record<string, string> {
  const args = new EndpointDescription(text).arguments(PARAMETERS);
  const given: Record<string, string> = {};
  for (const name of NAMES) {
    const value = args.text(name);
    if (value !== undefined) given[name] = value;
  }
  return given;
}

/** Whether an error names all of `parts`. */
function names(...parts: string[]): (error: Error) => boolean {
  return (error) =>
    IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT') &&
    parts.every((part) => error.message.includes(part));
}

suite('a description of an endpoint', (test) => {
  for (const [text, expected] of [
    ['t:a:b', { one: 'a', two: 'b' }],
    ['t:a:key=b', { one: 'a', key: 'b' }],
    ['t:key=b:a', { one: 'a', key: 'b' }],
    ['t:one=a:b', { one: 'a', two: 'b' }],
    ['t:b:one=a', { one: 'a', two: 'b' }],
    ['t:a:two=b', { one: 'a', two: 'b' }],
    ['t::b', { two: 'b' }],
    ['t:key=a=b', { key: 'a=b' }],
    ['t:a\\=b', { one: 'a=b' }],
    ['t:key=\\:\\:1', { key: '::1' }],
    ['t:C\\:\\\\x', { one: 'C:\\x' }],
    ['t:key=line\nbreak', { key: 'line\nbreak' }],
    ['t:', {}],
    ['t', {}],
  ] as const)
    test(`${JSON.stringify(text)} is taken apart`, () => assert.equal(argumentsOf(text), expected));

  test('has its type in lower case, and the rest as it was given', () => {
    const { text, type, rest } = new EndpointDescription('HAProxy:tcp:80:interface=\\:\\:1');
    assert.equal(
      [text, type, rest],
      ['HAProxy:tcp:80:interface=\\:\\:1', 'haproxy', 'tcp:80:interface=\\:\\:1'],
    );
    assert.is(new EndpointDescription('stdio').rest, '');
  });

  test('takes what was quoted for what it was', () => {
    for (const text of ['/run/x', 'C:\\key=1:2', '=', '\\', ':'])
      assert.equal(argumentsOf(`t:${quoteStringArgument(text)}`), { one: text });
  });

  for (const [text, ...parts] of [
    ['t:a:b:c', 'argument', "'t:a:b:c'", "'key', 'other'", "not 'c'"],
    ['t:a:b:one=c', 'argument', "not 'b'"],
    ['t:kee=a', 'keyword', "'key'", "not 'kee'"],
    ['t:=a', 'keyword', "not ''"],
    ['t:key=a:key=b', 'key of', 'given once', "not 'b'"],
    ['t:a\\', 'backslash', "'t:a\\\\'"],
    ['', 'a type', "''"],
    [':80', 'a type', "':80'"],
    ['type=tcp:80', 'a type'],
  ] as const)
    test(`${JSON.stringify(text)} is refused by a name`, () =>
      assert.throws(() => argumentsOf(text), names(...parts)));
});

suite('an argument of an endpoint', (test) => {
  const args = new EndpointDescription('t:12:7.5:key=660:other=yes').arguments(PARAMETERS);

  test('may be a number, seconds, a flag', () => {
    assert.equal([args.integer('one', 0, 12), args.integer('key', 0, 0o777, 8)], [12, 0o660]);
    assert.equal([args.seconds('one'), args.seconds('two'), args.flag('other')], [12_000, 7_500, true]);
    const none = new EndpointDescription('t').arguments(PARAMETERS);
    assert.equal(
      [none.text('one'), none.integer('one', 0, 9), none.seconds('one'), none.flag('one')],
      [undefined, undefined, undefined, undefined],
    );
  });

  for (const [what, read, ...parts] of [
    ['a number above the most', () => args.integer('one', 0, 11), 'one of', 'from 0 to 11', "'12'"],
    ['a number below the least', () => args.integer('one', 13, 20), 'from 13 to 20'],
    ['no number', () => args.integer('two', 0, 100), 'two of', 'an integer', "'7.5'"],
    [
      'no octal number',
      () => new EndpointDescription('t:8').arguments(PARAMETERS).integer('one', 0, 0o777, 8),
      'octal',
      'from 0 to 777',
      "'8'",
    ],
    ['no seconds', () => args.seconds('other'), 'other of', 'seconds', "'yes'"],
    ['no flag', () => args.flag('key'), 'key of', "'yes'", "'660'"],
    ['what has to be there', () => args.missing('host'), 'host of', 'given'],
  ] as const)
    test(`is refused by its name: ${what}`, () => assert.throws(() => void read(), names(...parts)));
});
