import * as assert from 'uvu/assert';

import { IOLoopError, type IOLoopErrorCode, type IOStream, LimitError } from '../../src/index.ts';
import { connectPair } from '../support/streams.ts';
import { suite } from '../support/suite.ts';

const KiB = 1024;

type Method = Exclude<keyof IOStream, symbol>;

/** A call with arguments that its types would refuse, too. */
interface BadCall {
  readonly method: Method;
  readonly args: readonly unknown[];
  /** What the message begins with, and what it ends with: the name and the value. */
  readonly name: string;
  readonly shown: string;
}

function bad(method: Method, args: readonly unknown[], name: string, shown: string): BadCall {
  return { method, args, name, shown };
}

/** What each method with options refuses of them, after its other arguments. */
function badWaits(method: Method, ...args: readonly unknown[]): BadCall[] {
  return [
    bad(method, [...args, null], 'options', 'null'),
    bad(method, [...args, 5], 'options', '5'),
    bad(method, [...args, { signal: {} }], 'options.signal', '{}'),
    bad(method, [...args, { timeoutMs: '1' }], 'options.timeoutMs', "'1'"),
    bad(method, [...args, { timeoutMs: Number.NaN }], 'options.timeoutMs', 'NaN'),
    bad(method, [...args, { timeoutMs: -1 }], 'options.timeoutMs', '-1'),
  ];
}

function badLimits(method: Method, ...args: readonly unknown[]): BadCall[] {
  return ['1', 0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, null].map((maxBytes) =>
    bad(
      method,
      [...args, { maxBytes }],
      'options.maxBytes',
      typeof maxBytes === 'string' ? "'1'" : `${maxBytes}`,
    ),
  );
}

const badCalls: readonly BadCall[] = [
  ...(['readUntil', 'tryReadUntil'] as const).flatMap((method) => [
    bad(method, [], 'delimiter', 'undefined'),
    bad(method, [10], 'delimiter', '10'),
    bad(method, [''], 'delimiter', "''"),
    bad(method, [new Uint8Array(0)], 'delimiter', 'Uint8Array(0) []'),
    bad(method, ['\r\n', { maxBytes: 1 }], 'options.maxBytes', '1'),
    bad(method, ['\n', null], 'options', 'null'),
    ...badLimits(method, '\n'),
  ]),
  ...badWaits('readUntil', '\n'),
  bad('readUntilRegex', [], 'pattern', 'undefined'),
  bad('readUntilRegex', ['\n'], 'pattern', "'\\n'"),
  ...badLimits('readUntilRegex', /\n/),
  ...badWaits('readUntilRegex', /\n/),
  ...(['readBytes', 'tryReadBytes'] as const).flatMap((method) => [
    bad(method, [], 'count', 'undefined'),
    bad(method, ['1'], 'count', "'1'"),
    bad(method, [-1], 'count', '-1'),
    bad(method, [1.5], 'count', '1.5'),
    bad(method, [Number.NaN], 'count', 'NaN'),
    bad(method, [2 ** 53], 'count', `${2 ** 53}`),
    bad(method, [1, null], 'options', 'null'),
    bad(method, [1, { partial: 'yes' }], 'options.partial', "'yes'"),
  ]),
  ...badWaits('readBytes', 1),
  bad('readInto', [], 'target', 'undefined'),
  bad('readInto', [new ArrayBuffer(1)], 'target', ''),
  bad('readInto', [[1]], 'target', '[ 1 ]'),
  bad('readInto', [Buffer.alloc(1), { partial: 1 }], 'options.partial', '1'),
  ...badWaits('readInto', Buffer.alloc(1)),
  ...badWaits('readInto', Buffer.alloc(0)),
  ...badLimits('readUntilClose'),
  ...badWaits('readUntilClose'),
  bad('onData', [], 'listener', 'undefined'),
  bad('onData', ['data'], 'listener', "'data'"),
  bad('onEnd', [{}], 'listener', '{}'),
  bad('onClose', [1], 'listener', '1'),
  bad('unshift', [], 'data', 'undefined'),
  bad('unshift', ['abc'], 'data', "'abc'"),
];

function call(stream: IOStream, method: Method, args: readonly unknown[]): unknown {
  const called: unknown = Reflect.get(stream, method);
  if (typeof called !== 'function') throw new Error(`${method} is no method`);
  return Reflect.apply(called, stream, args);
}

/** What `method` throws or rejects with. */
async function refusal(stream: IOStream, method: Method, args: readonly unknown[]): Promise<unknown> {
  try {
    await call(stream, method, args);
  } catch (error) {
    return error;
  }
  throw new Error(`${method}() took what it was given`);
}

function assertCode(error: unknown, code: IOLoopErrorCode): asserts error is IOLoopError {
  assert.ok(IOLoopError.is(error, code), `${error} is no ${code}`);
}

suite('arguments of reading', (test) => {
  test('that are none are refused by name and value, and change nothing', async (context) => {
    const { left, right } = await connectPair('unix', context);
    for (const { method, args, name, shown } of badCalls) {
      const error = await refusal(right, method, args);
      assertCode(error, 'ERR_IOLOOP_INVALID_ARGUMENT');
      assert.ok(error.message.startsWith(`${name} must be `), `${method}: ${error.message}`);
      assert.ok(error.message.endsWith(shown), `${method}: ${error.message}`);
    }
    void left.write('still\n');
    assert.is((await right.readUntil('\n')).toString(), 'still\n');
  });

  test('are refused by promises where a promise is returned, never by a throw', async (context) => {
    const { right } = await connectPair('unix', context);
    for (const { method, args } of badCalls) {
      if (/^(try|on|unshift)/.test(method)) continue;
      const promise = call(right, method, args);
      assert.instance(promise, Promise);
      await Promise.allSettled([promise]);
    }
  });

  test('that ask for more than maxBufferSize are refused early, and the stream stays', async (context) => {
    const { left, right } = await connectPair('unix', context, { right: { maxBufferSize: 100 * KiB } });
    for (const [method, args] of [
      ['readBytes', [100 * KiB + 1]],
      ['tryReadBytes', [100 * KiB + 1]],
      ['readUntil', ['\n', { maxBytes: 100 * KiB + 1 }]],
      ['tryReadUntil', ['\n', { maxBytes: 100 * KiB + 1 }]],
      ['readUntilRegex', [/\n/, { maxBytes: 100 * KiB + 1 }]],
      ['readUntilClose', [{ maxBytes: 100 * KiB + 1 }]],
    ] as const) {
      const error = await refusal(right, method, args);
      assertCode(error, 'ERR_IOLOOP_READ_LIMIT');
      assert.instance(error, LimitError);
      assert.is((error as LimitError).limit, 100 * KiB);
      assert.ok(error.message.includes(`${100 * KiB + 1}`), error.message);
    }
    const whole = right.readBytes(100 * KiB);
    void left.write(Buffer.alloc(100 * KiB));
    assert.is((await whole).length, 100 * KiB);
    assert.not.ok(right.closed);
  });

  test('may ask for nothing, which is there at once', async (context) => {
    const { right } = await connectPair('unix', context);
    for (const partial of [false, true]) {
      assert.is((await right.readBytes(0, { partial })).length, 0);
      assert.is(right.tryReadBytes(0, { partial })?.length, 0);
      assert.is(await right.readInto(Buffer.alloc(0), { partial }), 0);
    }
  });

  test('of a closed stream are answered by StreamClosedError, whose cause says why', async (context) => {
    const { right } = await connectPair('unix', context);
    const cause = new Error('on purpose');
    right.abort(cause);
    for (const [method, args] of [
      ['readUntil', ['\n']],
      ['tryReadUntil', ['\n']],
      ['readUntilRegex', [/\n/]],
      ['readBytes', [1]],
      ['tryReadBytes', [1]],
      ['readInto', [Buffer.alloc(1)]],
      ['readUntilClose', []],
    ] as const) {
      const error = await refusal(right, method, args);
      assertCode(error, 'ERR_IOLOOP_STREAM_CLOSED');
      assert.is(error.cause, cause, method);
    }
    await right.whenClosed;
  });
});
