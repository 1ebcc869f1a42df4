import * as assert from 'uvu/assert';

import {
  ConnectionAborted,
  ConnectionDone,
  ConnectionLost,
  IOLoopError,
  LimitError,
  SystemError,
  TimeoutError,
} from '../../src/index.ts';
import { HalfOpenRecorder, protocolKinds, Recorder, withProtocols } from '../support/protocols.ts';
import { suitePerStream, turnsUntil } from '../support/streams.ts';
import { nextTurn } from '../support/turns.ts';

const MiB = 1024 * 1024;

const pairOf = (): [Recorder, Recorder] => [new Recorder(), new Recorder()];

suitePerStream('protocols', protocolKinds, (test, kind) => {
  // The reset of a Unix socket is one only where bytes were unread: unix(7).
  const tellsResets = kind !== 'unix';

  test('are told of the connection first, of bytes in order, of the end last', (context) =>
    withProtocols(kind, context, pairOf(), async ({ left, right }) => {
      assert.equal(left.calls, ['connectionMade']);
      let expected = '';
      for (let i = 0; i < 1_000; i++) {
        left.transport.write(`${i},`);
        expected += `${i},`;
      }
      left.transport.writeSequence([Buffer.from('a'), Buffer.alloc(0), Buffer.from('b')]);
      left.transport.loseConnection();
      assert.instance(await left.whenLost(), ConnectionDone);
      assert.instance(await right.whenLost(), ConnectionDone);
      assert.is(right.text, `${expected}ab`);
      assert.is(right.story, 'connectionMade connectionLost');
    }));

  test('deliver all that was written before loseConnection(), and nothing after it', (context) =>
    withProtocols(kind, context, pairOf(), async ({ left, right }) => {
      const { transport } = left;
      assert.not.ok(transport.disconnecting);
      transport.write('<');
      transport.write(Buffer.alloc(4 * MiB, '.'));
      transport.write('>');
      transport.loseConnection();
      assert.ok(transport.disconnecting);
      transport.write('late');
      transport.writeSequence([Buffer.from('late')]);
      transport.loseWriteConnection();
      transport.loseConnection();
      await right.whenLost();
      await left.whenLost();
      assert.ok(transport.disconnecting);
      assert.ok(right.transport.disconnecting);
      assert.is(right.text.length, 4 * MiB + 2);
      assert.ok(right.text.endsWith('.>'));
      assert.is(left.story, 'connectionMade connectionLost');
    }));

  test('hear nothing after loseConnection()', (context) =>
    withProtocols(kind, context, pairOf(), async ({ loop, left, right }) => {
      right.react = (call) => call === 'dataReceived' && right.transport.loseConnection();
      left.transport.write('first');
      await turnsUntil(loop, () => right.text !== '');
      left.transport.write('second');
      assert.instance(await right.whenLost(), ConnectionDone);
      assert.is(right.text, 'first');
      await left.whenLost();
    }));

  test('that abort are told so, and the peer that the connection broke', (context) =>
    withProtocols(kind, context, pairOf(), async ({ left, right }) => {
      left.transport.write('never sent');
      left.transport.abortConnection();
      left.transport.abortConnection();
      assert.instance(await left.whenLost(), ConnectionAborted);
      const reason = await right.whenLost();
      if (!tellsResets) return;
      assert.instance(reason, ConnectionLost);
      const cause = reason.cause;
      if (!(cause instanceof SystemError)) throw new Error(`the cause is ${cause}`);
      assert.is(cause.code, 'ECONNRESET');
    }));

  test('may abort what they began to lose', (context) =>
    withProtocols(kind, context, pairOf(), async ({ left, right }) => {
      right.transport.pauseProducing();
      left.transport.write(Buffer.alloc(8 * MiB));
      left.transport.loseConnection();
      left.transport.abortConnection();
      assert.instance(await left.whenLost(), ConnectionAborted);
    }));

  test('that write more than may be queued are cut off, and told why', (context) =>
    withProtocols(
      kind,
      context,
      pairOf(),
      async ({ left, right }) => {
        right.transport.pauseProducing();
        for (let i = 0; i < 20; i++) left.transport.write(Buffer.alloc(MiB));
        const { cause } = await left.whenLost();
        assert.instance(cause, LimitError);
        assert.ok(IOLoopError.is(cause, 'ERR_IOLOOP_BUFFER_FULL'));
      },
      { left: { maxWriteBufferSize: MiB } },
    ));

  test('know their peer in connectionLost, and their own end if they have asked before', (context) =>
    withProtocols(kind, context, pairOf(), async ({ left, right }) => {
      const known: string[] = [];
      const host = `${left.transport.getHost()}`;
      left.react = (call) => {
        if (call === 'connectionLost')
          known.push(`${left.transport.getPeer()}`, `${left.transport.getHost()}`);
      };
      const peer = `${left.transport.getPeer()}`;
      left.transport.loseConnection();
      await left.whenLost();
      assert.equal(known, [peer, host]);
      await right.whenLost();
      assert.throws(
        () => right.transport.getHost(),
        (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_STREAM_CLOSED'),
      );
      assert.is(`${right.transport.getPeer()}`, `${right.transport.getPeer()}`);
    }));

  test('whose connection is over find that nothing on the transport has an effect', (context) =>
    withProtocols(kind, context, pairOf(), async ({ loop, left, right }) => {
      left.transport.loseConnection();
      await left.whenLost();
      await right.whenLost();
      let stopped = 0;
      const { transport } = left;
      transport.write('x');
      transport.writeSequence([Buffer.from('x')]);
      transport.loseWriteConnection();
      transport.pauseProducing();
      transport.resumeProducing();
      transport.stopProducing();
      transport.unregisterProducer();
      transport.setTcpNoDelay(true);
      transport.setTcpKeepAlive(true);
      transport.startTls({});
      transport.registerProducer(
        { pauseProducing() {}, resumeProducing() {}, stopProducing: () => stopped++ },
        true,
      );
      transport.abortConnection();
      await nextTurn(loop);
      assert.is(stopped, 1);
    }));
});

// By the simulated clock: their time is the streams', which have tests of their own.
suitePerStream('protocols with deadlines', ['sim'], (test, kind) => {
  test('whose peer takes nothing are cut off in time, and told why', (context) =>
    withProtocols(
      kind,
      context,
      pairOf(),
      async ({ left, right }) => {
        right.transport.pauseProducing();
        left.transport.write(Buffer.alloc(12 * MiB));
        const reason = await left.whenLost();
        assert.instance(reason, ConnectionLost);
        assert.instance(reason.cause, TimeoutError);
      },
      { left: { writeTimeoutMs: 250 } },
    ));

  test('whose peer is silent are told so', (context) =>
    withProtocols(
      kind,
      context,
      pairOf(),
      async ({ left, right }) => {
        const { cause } = await left.whenLost();
        assert.ok(IOLoopError.is(cause, 'ERR_IOLOOP_IDLE'));
        assert.instance(await right.whenLost(), ConnectionDone);
      },
      { left: { idleTimeoutMs: 100 } },
    ));
});

// A simulated loop is turned by its network, and not to its end.
suitePerStream('protocols whose loop ends', ['tcp', 'unix', 'tls'], (test, kind) => {
  test('are told that their connections were aborted', (context) =>
    withProtocols(kind, context, pairOf(), async ({ loop, left, right }) => {
      right.transport.pauseProducing();
      left.transport.write(Buffer.alloc(8 * MiB));
      await loop.close({ graceMs: 0 });
      assert.instance(await left.whenLost(), ConnectionAborted);
      assert.instance(await right.whenLost(), ConnectionAborted);
    }));
});

suitePerStream('protocols that are half open', protocolKinds, (test, kind) => {
  const halfOpen = (): [HalfOpenRecorder, HalfOpenRecorder] => [
    new HalfOpenRecorder(),
    new HalfOpenRecorder(),
  ];

  test('hear of each half, and of the end when both are over', (context) =>
    withProtocols(kind, context, halfOpen(), async ({ loop, left, right }) => {
      left.transport.write('question');
      left.transport.loseWriteConnection();
      left.transport.write('late');
      await turnsUntil(loop, () => right.calls.includes('readConnectionLost'));
      assert.is(right.text, 'question');
      assert.is(left.story, 'connectionMade writeConnectionLost');
      right.transport.write('answer');
      right.transport.loseConnection();
      assert.instance(await right.whenLost(), ConnectionDone);
      assert.instance(await left.whenLost(), ConnectionDone);
      assert.is(left.text, 'answer');
      assert.is(right.story, 'connectionMade readConnectionLost connectionLost');
      assert.ok(left.story.startsWith('connectionMade writeConnectionLost'), left.story);
    }));

  test('get 10 MB although they have ended their own half', (context) =>
    withProtocols(kind, context, halfOpen(), async ({ left, right }) => {
      right.react = (call) => {
        if (call !== 'readConnectionLost') return;
        for (let i = 0; i < 10; i++) right.transport.write(Buffer.alloc(MiB, String(i)));
        right.transport.loseConnection();
      };
      left.transport.write('GET');
      left.transport.loseWriteConnection();
      await left.whenLost();
      assert.ok(left.text === [...'0123456789'].map((digit) => digit.repeat(MiB)).join(''));
      assert.instance(await right.whenLost(), ConnectionDone);
    }));

  test('without readConnectionLost the peer\u2019s end closes, and what was written is delivered', (context) =>
    withProtocols(kind, context, pairOf(), async ({ left, right }) => {
      right.react = (call) => call === 'dataReceived' && right.transport.write(Buffer.alloc(MiB, '.'));
      left.transport.write('x');
      left.transport.loseWriteConnection();
      await right.whenLost();
      await left.whenLost();
      assert.is(left.text.length, MiB);
      assert.is(right.story, 'connectionMade connectionLost');
      assert.ok(left.calls.includes('writeConnectionLost'));
    }));
});
