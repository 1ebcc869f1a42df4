import * as assert from 'uvu/assert';

import { ConnectionAborted, ConnectionDone, ConnectionLost, SystemError } from '../../src/index.ts';
import {
  HalfOpenRecorder,
  type ProtocolPair,
  protocolKinds,
  Recorder,
  withProtocols,
} from '../support/protocols.ts';
import { type StreamKind, suitePerStream, turnsUntil } from '../support/streams.ts';
import type { TestContext } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';

const pairOf = (): [Recorder, Recorder] => [new Recorder(), new Recorder()];

suitePerStream('what protocols receive', protocolKinds, (test, kind) => {
  test('waits while they pause, and comes when they resume', (context) =>
    withProtocols(kind, context, pairOf(), async ({ loop, left, right }) => {
      right.react = (call) => {
        if (call !== 'dataReceived') return;
        right.transport.pauseProducing();
        const calls = right.calls.length;
        loop.addCallback(() => {
          assert.is(right.calls.length, calls, 'called while it pauses');
          right.transport.resumeProducing();
        });
      };
      let expected = '';
      for (let i = 0; i < 30; i++) {
        const piece = String.fromCharCode(65 + (i % 26)).repeat(1 + 1_000 * i);
        left.transport.write(piece);
        expected += piece;
      }
      left.transport.loseConnection();
      await right.whenLost();
      assert.ok(right.text === expected);
    }));

  test('stays away after pauseProducing() in connectionMade, until they resume', async (context) => {
    const [left, right] = pairOf();
    right.react = (call) => call === 'connectionMade' && right.transport.pauseProducing();
    await withProtocols(kind, context, [left, right], async ({ loop }) => {
      left.transport.write('early');
      for (let turn = 0; turn < 10; turn++) await nextTurn(loop);
      assert.is(right.text, '');
      right.transport.resumeProducing();
      await turnsUntil(loop, () => right.text === 'early');
    });
  });

  test('is a view of memory that the next receive uses again: a copy lasts', (context) =>
    withProtocols(kind, context, pairOf(), async ({ loop, left, right }) => {
      for (const length of [3, 5_000]) {
        const kept: Buffer[] = [];
        const copied: Buffer[] = [];
        right.react = (_call, _recorder, data) => {
          kept.push(data);
          copied.push(Buffer.from(data));
        };
        for (const byte of ['a', 'b']) {
          const before = right.text.length;
          left.transport.write(byte.repeat(length));
          await turnsUntil(loop, () => right.text.length === before + length);
        }
        assert.is(Buffer.concat(copied).toString(), 'a'.repeat(length) + 'b'.repeat(length));
        const [first] = kept;
        assert.is(first?.toString('latin1', 0, 1), 'b');
      }
    }));

  test('waits for the promise of an async dataReceived', (context) =>
    withProtocols(kind, context, pairOf(), async ({ loop, left, right }) => {
      let atWork = 0;
      right.react = async (call) => {
        if (call !== 'dataReceived') return;
        atWork++;
        assert.is(atWork, 1);
        await nextTurn(loop);
        atWork--;
      };
      for (let i = 0; i < 5; i++) {
        left.transport.write(`${i}`);
        await nextTurn(loop);
      }
      left.transport.loseConnection();
      await right.whenLost();
      assert.is(right.text, '01234');
    }));
});

/** Runs `end` when `right`, which pauses, has failed to write to a peer that has left, with bytes of it unread. */
function whenCutOff(
  kind: StreamKind,
  context: TestContext,
  end: (pair: ProtocolPair) => unknown,
): Promise<void> {
  const right = new HalfOpenRecorder((call) => call === 'connectionMade' && right.transport.pauseProducing());
  const left = new HalfOpenRecorder();
  return withProtocols(kind, context, [left, right], async (pair) => {
    const { loop, leftStream, rightStream } = pair;
    left.transport.write('last words');
    await leftStream.flush();
    left.transport.abortConnection();
    await left.whenLost();
    while (!rightStream.closed) {
      right.transport.write('x');
      await nextTurn(loop);
    }
    await nextTurn(loop);
    assert.ok(rightStream.bytesBuffered > 0);
    assert.is(right.story, 'connectionMade');
    await end(pair);
  });
}

// What is unread under TLS is not there any more when the connection is gone.
const CUT_OFF: readonly StreamKind[] = ['tcp', 'unix', 'sim'];

suitePerStream('a protocol that pauses when its connection breaks', CUT_OFF, (test, kind) => {
  test('is given what had come, and then told, when it resumes', (context) =>
    whenCutOff(kind, context, async ({ right }) => {
      right.transport.resumeProducing();
      const reason = await right.whenLost();
      assert.instance(reason, ConnectionLost);
      assert.instance(reason.cause, SystemError);
      assert.is(right.text, 'last words');
    }));

  for (const end of ['loseConnection', 'abortConnection', 'stopProducing'] as const)
    test(`is told when it calls ${end}()`, (context) =>
      whenCutOff(kind, context, async ({ loop, right }) => {
        right.transport[end]();
        assert.instance(await right.whenLost(), ConnectionLost);
        assert.is(right.text, '');
        assert.is(loop.metrics().bytesBuffered, 0);
      }));
});

// A simulated loop is turned by its network, and not to its end.
suitePerStream(
  'a protocol that pauses when its connection breaks and its loop ends',
  ['tcp', 'unix'],
  (test, kind) => {
    test('is told', (context) =>
      whenCutOff(kind, context, async ({ loop, right }) => {
        void loop.close();
        assert.instance(await right.whenLost(), ConnectionLost);
      }));
  },
);

suitePerStream('a protocol that pauses', protocolKinds, (test, kind) => {
  test('and loses its connection is told, whatever the peer has sent', (context) =>
    withProtocols(kind, context, pairOf(), async ({ loop, left, right }) => {
      right.transport.pauseProducing();
      left.transport.write(Buffer.alloc(200_000));
      for (let turn = 0; turn < 5; turn++) await nextTurn(loop);
      right.transport.loseConnection();
      left.transport.loseConnection();
      assert.instance(await right.whenLost(), ConnectionDone);
      assert.is(right.text, '');
    }));

  test('and aborts is told, whatever the peer has sent', (context) =>
    withProtocols(kind, context, pairOf(), async ({ left, right }) => {
      right.transport.pauseProducing();
      left.transport.write(Buffer.alloc(200_000));
      right.transport.abortConnection();
      assert.instance(await right.whenLost(), ConnectionAborted);
    }));
});
