import * as assert from 'uvu/assert';

import { ConnectionAborted, ConnectionDone, ConnectionLost, IOLoopError } from '../../src/index.ts';
import type { StartTlsOptions } from '../../src/stream/io-stream.ts';
import { authority, localhost } from '../support/certificates.ts';
import { type ProtocolPair, Recorder, withProtocols } from '../support/protocols.ts';
import { type StreamKind, suitePerStream, turnsUntil } from '../support/streams.ts';
import type { TestContext } from '../support/suite.ts';
import { nextTurn } from '../support/turns.ts';

const KINDS: readonly StreamKind[] = ['tcp', 'unix', 'sim'];
const AS_SERVER: StartTlsOptions = { server: true, ...localhost };
const AS_CLIENT: StartTlsOptions = { ca: authority, servername: 'localhost' };

/** Runs with a client, left, and a server, right, of which the one asks for TLS and the other agrees. */
function asking(
  kind: StreamKind,
  context: TestContext,
  body: (pair: ProtocolPair, begun: Promise<void>) => unknown,
  client: StartTlsOptions = AS_CLIENT,
): Promise<void> {
  const left = new Recorder();
  const right = new Recorder((call) => {
    if (call !== 'dataReceived' || right.text !== 'STARTTLS\n') return;
    right.transport.write('go ahead\n');
    right.transport.startTls(AS_SERVER);
  });
  return withProtocols(kind, context, [left, right], (pair) => {
    const begun = new Promise<void>((resolve) => {
      left.react = (call) => {
        if (call !== 'dataReceived' || left.text !== 'go ahead\n') return;
        left.transport.startTls(client);
        resolve();
      };
    });
    left.transport.write('STARTTLS\n');
    return body(pair, begun);
  });
}

suitePerStream('startTls() in the middle of a protocol', KINDS, (test, kind) => {
  test('encrypts what both write from then on, in order', (context) =>
    asking(kind, context, async ({ left, right }, begun) => {
      await begun;
      left.transport.write('one,');
      right.transport.write('eins,');
      left.transport.writeSequence([Buffer.from('two'), Buffer.from(',')]);
      left.react = (call) => call === 'handshakeCompleted' && left.transport.write('three');
      right.react = (call) => {
        if (call === 'dataReceived' && right.text.endsWith('three')) right.transport.loseConnection();
      };
      assert.instance(await right.whenLost(), ConnectionDone);
      assert.instance(await left.whenLost(), ConnectionDone);
      assert.is(right.text, 'STARTTLS\none,two,three');
      assert.is(left.text, 'go ahead\neins,');
      for (const { story } of [left, right])
        assert.is(story, 'connectionMade handshakeCompleted connectionLost');
    }));

  test('is refused a second time, in the call', (context) =>
    asking(kind, context, async ({ loop, left }, begun) => {
      await begun;
      const isRefused = (): void =>
        assert.throws(
          () => left.transport.startTls(AS_CLIENT),
          (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE'),
        );
      isRefused();
      assert.throws(
        () => Reflect.apply(left.transport.startTls, left.transport, [null]),
        (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'),
      );
      await turnsUntil(loop, () => left.calls.includes('handshakeCompleted'));
      isRefused();
    }));

  test('that fails ends the connection of both, and nothing that waited is sent', (context) =>
    asking(
      kind,
      context,
      async ({ left, right }, begun) => {
        await begun;
        left.transport.write('secret');
        right.transport.write('secret');
        const reason = await left.whenLost();
        assert.instance(reason, ConnectionLost);
        assert.instance(reason.cause, Error);
        await right.whenLost();
        assert.is(left.text, 'go ahead\n');
        assert.is(right.text, 'STARTTLS\n');
      },
      { servername: 'localhost' },
    ));

  test('refuses plaintext that was put behind it', (context) =>
    withProtocols(kind, context, [new Recorder(), new Recorder()], async ({ leftStream, left, right }) => {
      right.react = (call) => call === 'dataReceived' && right.transport.pauseProducing();
      left.transport.write('STARTTLS\n');
      await turnsUntil(leftStream.loop, () => right.text !== '');
      left.transport.write('RCPT TO:<evil>\n');
      await leftStream.flush();
      right.transport.startTls(AS_SERVER);
      right.transport.resumeProducing();
      assert.instance(await right.whenLost(), ConnectionLost);
      assert.is(right.text, 'STARTTLS\n');
      assert.is(right.story, 'connectionMade connectionLost');
    }));

  test('is finished, with what was written, when the connection is lost in order meanwhile', (context) =>
    asking(kind, context, async ({ left, right }, begun) => {
      await begun;
      left.transport.write('last');
      left.transport.loseConnection();
      left.transport.write('late');
      assert.instance(await right.whenLost(), ConnectionDone);
      assert.instance(await left.whenLost(), ConnectionDone);
      assert.is(right.text, 'STARTTLS\nlast');
    }));

  test('ends our half when it is done, where that was asked for meanwhile', (context) =>
    asking(kind, context, async ({ left, right }, begun) => {
      await begun;
      left.transport.write('last');
      left.transport.loseWriteConnection();
      left.transport.write('late');
      await right.whenLost();
      await left.whenLost();
      assert.is(right.text, 'STARTTLS\nlast');
      assert.ok(left.calls.includes('writeConnectionLost'));
    }));

  test('is over at once when it is aborted', (context) =>
    asking(kind, context, async ({ left, right }, begun) => {
      await begun;
      left.transport.write('dropped');
      left.transport.abortConnection();
      assert.instance(await left.whenLost(), ConnectionAborted);
      assert.instance(await right.whenLost(), ConnectionLost);
      assert.is(right.text, 'STARTTLS\n');
    }));

  test('keeps what is written bounded', (context) =>
    withProtocols(
      kind,
      context,
      [new Recorder(), new Recorder()],
      async ({ left }) => {
        // The peer says nothing to it.
        left.transport.startTls(AS_CLIENT);
        for (let i = 0; i < 4; i++) left.transport.write(Buffer.alloc(600));
        const { cause } = await left.whenLost();
        assert.ok(IOLoopError.is(cause, 'ERR_IOLOOP_BUFFER_FULL'), `${cause}`);
      },
      { left: { maxWriteBufferSize: 1_000 } },
    ));

  for (const streaming of [true, false])
    test(`has a producer that ${streaming ? 'pushes' : 'is pulled'} wait until it is done`, (context) =>
      asking(kind, context, async ({ loop, left, right }, begun) => {
        await begun;
        const told: string[] = [];
        left.transport.registerProducer(
          {
            pauseProducing: () => void told.push('pause'),
            resumeProducing: () => {
              told.push(left.calls.includes('handshakeCompleted') ? 'resume' : 'too early');
              left.transport.write('made');
              left.transport.unregisterProducer();
            },
            stopProducing: () => void told.push('stop'),
          },
          streaming,
        );
        await turnsUntil(loop, () => right.text === 'STARTTLS\nmade');
        assert.equal(told, streaming ? ['pause', 'resume'] : ['resume']);
      }));

  test('leaves a protocol that pauses paused', (context) =>
    asking(kind, context, async ({ loop, left, right }, begun) => {
      await begun;
      left.transport.pauseProducing();
      await turnsUntil(loop, () => right.calls.includes('handshakeCompleted'));
      right.transport.write('heard later');
      for (let turn = 0; turn < 20; turn++) await nextTurn(loop);
      assert.is(left.text, 'go ahead\n');
      left.transport.resumeProducing();
      await turnsUntil(loop, () => left.text === 'go ahead\nheard later');
    }));
});
