import * as assert from 'uvu/assert';

import { ConnectionDone, IOLoopError } from '../../src/index.ts';
import type { Producer, Transport } from '../../src/protocol/transport.ts';
import { type ProtocolPair, protocolKinds, Recorder, withProtocols } from '../support/protocols.ts';
import { suitePerStream, turnsUntil } from '../support/streams.ts';
import { neverCalled, nextTurn } from '../support/turns.ts';

const PIECE = 64 * 1024;

const pairOf = (): [Recorder, Recorder] => [new Recorder(), new Recorder()];

/** Makes pieces for `transport`, each of one digit, until it has none left. */
class Pieces implements Producer {
  paused = 0;
  resumed = 0;
  stopped = 0;
  made = 0;
  /** The most that was queued when it made one. */
  mostQueued = 0;
  readonly #pair: ProtocolPair;
  readonly #transport: Transport;
  readonly #streaming: boolean;
  readonly #count: number;
  #waits = false;

  constructor(pair: ProtocolPair, streaming: boolean, count: number) {
    this.#pair = pair;
    this.#transport = pair.left.transport;
    this.#streaming = streaming;
    this.#count = count;
  }

  pauseProducing(): void {
    this.paused++;
    this.#waits = true;
  }

  resumeProducing(): void {
    this.resumed++;
    this.#waits = false;
    this.produce();
  }

  stopProducing(): void {
    this.stopped++;
  }

  /** A push producer by itself, a pull producer when it is asked. */
  produce(): void {
    do {
      if (this.made === this.#count) {
        this.#transport.unregisterProducer();
        return;
      }
      this.mostQueued = Math.max(this.mostQueued, this.#pair.leftStream.bytesQueued);
      this.#transport.write(Buffer.alloc(PIECE, String(this.made++ % 10)));
    } while (this.#streaming && !this.#waits);
  }
}

suitePerStream('producers', protocolKinds, (test, kind) => {
  test('that push are paused above the high water mark, and resumed below it', (context) =>
    withProtocols(kind, context, pairOf(), async (pair) => {
      const { left, right } = pair;
      const producer = new Pieces(pair, true, 80);
      left.transport.registerProducer(producer, true);
      assert.is(producer.resumed, 0);
      producer.produce();
      assert.ok(producer.paused === 1 && producer.made < 80, `${producer.made} were made`);
      left.transport.loseConnection();
      await right.whenLost();
      assert.is(right.text.length, 80 * PIECE);
      assert.ok(producer.mostQueued <= 2 * PIECE, `${producer.mostQueued} were queued`);
      assert.is(producer.resumed, producer.paused);
      assert.is(producer.stopped, 0);
      assert.instance(await left.whenLost(), ConnectionDone);
    }));

  test('that are pulled are asked for one piece when the one before has left', (context) =>
    withProtocols(kind, context, pairOf(), async (pair) => {
      const { left, right } = pair;
      const producer = new Pieces(pair, false, 20);
      left.transport.registerProducer(producer, false);
      left.transport.loseConnection();
      await right.whenLost();
      assert.is(right.text.length, 20 * PIECE);
      assert.is(producer.mostQueued, 0);
      assert.equal([producer.resumed, producer.paused, producer.stopped], [21, 0, 0]);
    }));

  test('that are pulled make one piece a turn, however fast it leaves', (context) =>
    withProtocols(kind, context, pairOf(), async ({ loop, left, right }) => {
      const turns: number[] = [];
      const resumeProducing = (): void => {
        turns.push(loop.metrics().turns);
        left.transport.write('x');
        if (turns.length === 30) left.transport.unregisterProducer();
      };
      left.transport.registerProducer(
        { resumeProducing, pauseProducing: neverCalled, stopProducing: neverCalled },
        false,
      );
      left.transport.loseConnection();
      await right.whenLost();
      assert.is(right.text.length, 30);
      assert.is(new Set(turns).size, 30, `turns ${turns}`);
    }));

  test('keep a connection that is being lost until they are unregistered', (context) =>
    withProtocols(kind, context, pairOf(), async (pair) => {
      const { loop, left, right } = pair;
      const producer = new Pieces(pair, true, 1);
      left.transport.registerProducer(producer, true);
      left.transport.loseConnection();
      right.transport.write('not heard');
      for (let turn = 0; turn < 10; turn++) await nextTurn(loop);
      assert.is(right.reason, null);
      assert.is(left.text, '');
      left.transport.write('its own');
      left.transport.unregisterProducer();
      left.transport.write('late');
      assert.instance(await right.whenLost(), ConnectionDone);
      assert.is(right.text, 'its own');
    }));

  test('that are transports hold no connection that is to be lost when they are to be, too', (context) =>
    withProtocols(kind, context, pairOf(), async ({ left, right }) => {
      // An echo at its own pace, and what Twisted's port forwarder does to the other side.
      right.react = (call) => call === 'dataReceived' && right.transport.loseConnection();
      left.transport.registerProducer(left.transport, true);
      right.transport.registerProducer(left.transport, true);
      left.transport.write('bye');
      left.transport.loseConnection();
      assert.instance(await right.whenLost(), ConnectionDone);
      assert.instance(await left.whenLost(), ConnectionDone);
      assert.is(right.text, 'bye');
    }));

  for (const end of ['abortConnection', 'peer', 'throw'] as const)
    test(`are stopped once when the connection is over: ${end}`, (context) =>
      withProtocols(kind, context, pairOf(), async (pair) => {
        const { left, right, loop } = pair;
        const producer = new Pieces(pair, true, 1_000);
        const order: string[] = [];
        producer.stopProducing = () => void order.push('stopped');
        left.react = (call) => {
          if (call === 'connectionLost') order.push('lost');
          else if (call === 'dataReceived') throw new Error('enough');
        };
        right.transport.pauseProducing();
        left.transport.registerProducer(producer, true);
        producer.produce();
        if (end === 'abortConnection') left.transport.abortConnection();
        else if (end === 'peer') right.transport.loseConnection();
        else right.transport.write('x');
        // What was written before a throw is delivered.
        right.transport.resumeProducing();
        await turnsUntil(loop, () => order.includes('stopped'));
        right.transport.abortConnection();
        await left.whenLost();
        assert.equal(order, ['stopped', 'lost']);
      }));

  test('are told at once that nobody takes what they make, where that is so', (context) =>
    withProtocols(kind, context, pairOf(), async (pair) => {
      const { left } = pair;
      left.transport.loseConnection();
      const producer = new Pieces(pair, false, 1);
      left.transport.registerProducer(producer, false);
      assert.equal([producer.stopped, producer.resumed], [1, 0]);
      await left.whenLost();
      assert.is(producer.stopped, 1);
    }));

  test('come one at a time, and are checked', (context) =>
    withProtocols(kind, context, pairOf(), async ({ left }) => {
      const producer: Producer = {
        pauseProducing: neverCalled,
        resumeProducing: neverCalled,
        stopProducing: () => {},
      };
      left.transport.registerProducer(producer, true);
      assert.throws(
        () => left.transport.registerProducer(producer, true),
        (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE'),
      );
      left.transport.unregisterProducer();
      left.transport.unregisterProducer();
      for (const call of [
        () => Reflect.apply(left.transport.registerProducer, left.transport, [{}, true]),
        () => Reflect.apply(left.transport.registerProducer, left.transport, [null, true]),
        () => Reflect.apply(left.transport.registerProducer, left.transport, [producer, 1]),
      ])
        assert.throws(call, (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'));
    }));

  test('that throw end their connection, and onError hears of it', (context) =>
    withProtocols(kind, context, pairOf(), async ({ loop, left, errors }) => {
      const error = new Error('cannot make any');
      const producer: Producer = {
        pauseProducing: neverCalled,
        resumeProducing() {
          throw error;
        },
        stopProducing: () => {},
      };
      left.transport.registerProducer(producer, false);
      assert.is((await left.whenLost()).cause, error);
      await turnsUntil(loop, () => errors.length > 0);
      assert.equal(errors, [error]);
    }));
});
