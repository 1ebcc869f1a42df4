import * as assert from 'uvu/assert';

import { ConnectionAborted, ConnectionLost, type Reason } from '../../src/index.ts';
import {
  type Call,
  HalfOpenRecorder,
  type ProtocolPair,
  protocolKinds,
  type Recorder,
  withProtocols,
} from '../support/protocols.ts';
import { suitePerStream, turnsUntil } from '../support/streams.ts';

const MiB = 1024 * 1024;

const pairOf = (): [HalfOpenRecorder, HalfOpenRecorder] => [new HalfOpenRecorder(), new HalfOpenRecorder()];

/** Has `protocol` called back: the calls that every kind of stream has. */
const CAUSES = new Map<Call, (pair: ProtocolPair) => void>([
  ['connectionMade', () => {}],
  ['dataReceived', ({ left }) => left.transport.write('x')],
  ['readConnectionLost', ({ left }) => left.transport.loseWriteConnection()],
  ['writeConnectionLost', ({ right }) => right.transport.loseWriteConnection()],
  ['connectionLost', ({ right }) => right.transport.loseConnection()],
]);

/** The right one reacts to its first `call` by `react`; the left one leaves when it has heard all. */
function reacting(
  protocols: readonly [Recorder, Recorder],
  call: Call,
  react: (protocol: Recorder) => unknown,
): typeof protocols {
  const [left, right] = protocols;
  left.react = (told) => told === 'readConnectionLost' && left.transport.loseConnection();
  let done = false;
  right.react = (told) => {
    if (done || told !== call) return;
    done = true;
    return react(right);
  };
  return protocols;
}

/** Why `protocol` was lost after what it threw in `call`. */
function isCausedBy(reason: Reason, call: Call, error: Error): void {
  // It was over before it threw.
  if (call === 'connectionLost') return;
  assert.instance(reason, ConnectionLost);
  assert.is(reason.cause, error);
}

suitePerStream('what a protocol throws', protocolKinds, (test, kind) => {
  for (const [call, cause] of CAUSES) {
    test(`in ${call}() ends its connection alone, and goes to onError once`, (context) => {
      const error = new Error(`thrown in ${call}`);
      const protocols = reacting(pairOf(), call, () => {
        throw error;
      });
      return withProtocols(kind, context, protocols, async (pair) => {
        cause(pair);
        if (call === 'readConnectionLost') await turnsUntil(pair.loop, () => pair.errors.length > 0);
        const reason = await pair.right.whenLost();
        isCausedBy(reason, call, error);
        await turnsUntil(pair.loop, () => pair.errors.length > 0);
        assert.equal(pair.errors, [error]);
      });
    });

    test(`or rejects with, where ${call}() is async, does the same`, (context) => {
      const error = new Error(`rejected by ${call}`);
      const protocols = reacting(pairOf(), call, async () => {
        await null;
        throw error;
      });
      return withProtocols(kind, context, protocols, async (pair) => {
        cause(pair);
        isCausedBy(await pair.right.whenLost(), call, error);
        await turnsUntil(pair.loop, () => pair.errors.length > 0);
        assert.equal(pair.errors, [error]);
      });
    });
  }
});

suitePerStream('what a protocol throws that is no Error', protocolKinds, (test, kind) => {
  test('is the cause of a failure, and goes to onError as it is', (context) => {
    const protocols = reacting(pairOf(), 'dataReceived', () => {
      throw 'no Error';
    });
    return withProtocols(kind, context, protocols, async ({ left, right, errors }) => {
      left.transport.write('x');
      const reason = await right.whenLost();
      assert.instance(reason, ConnectionLost);
      assert.is(reason.cause instanceof Error && reason.cause.cause, 'no Error');
      assert.equal(errors, ['no Error']);
    });
  });
});

suitePerStream('a protocol', protocolKinds, (test, kind) => {
  for (const [call, cause] of CAUSES)
    for (const end of ['loseConnection', 'abortConnection'] as const)
      test(`may call ${end}() in ${call}()`, (context) => {
        const protocols = reacting(pairOf(), call, ({ transport }) => {
          transport.write('last');
          transport[end]();
          transport.write('late');
          transport[end]();
        });
        return withProtocols(kind, context, protocols, async (pair) => {
          cause(pair);
          const reason = await pair.right.whenLost();
          if (end === 'abortConnection' && call !== 'connectionLost')
            assert.instance(reason, ConnectionAborted);
          assert.equal(pair.errors, []);
          pair.left.transport.abortConnection();
          await pair.left.whenLost();
          assert.not.match(pair.left.text, 'late');
        });
      });

  for (const call of ['connectionMade', 'dataReceived', 'readConnectionLost'] as const)
    test(`may write more than can leave in ${call}()`, (context) => {
      const digits = ['0', '1', '2', '3'];
      const protocols = reacting(pairOf(), call, ({ transport }) => {
        for (const digit of digits) transport.write(Buffer.alloc(MiB, digit));
        transport.loseConnection();
      });
      return withProtocols(kind, context, protocols, async (pair) => {
        CAUSES.get(call)?.(pair);
        await turnsUntil(pair.loop, () => pair.left.text.length === 4 * MiB);
        assert.ok(pair.left.text === digits.map((digit) => digit.repeat(MiB)).join(''));
      });
    });
});
