import * as assert from 'uvu/assert';

import { IOLoop } from '../../../src/index.ts';
import {
  ClientFactory,
  ConnectionDone,
  ConnectionLost,
  type Connector,
  connectTcp,
  Factory,
  listenTcp,
  type Producer,
  type Reason,
  ReconnectingClientFactory,
  WrappingFactory,
} from '../../../src/protocol/index.ts';
import { connectTo } from '../../support/clients.ts';
import { signal } from '../../support/driven.ts';
import { portOf } from '../../support/servers.ts';
import { suite, type TestContext } from '../../support/suite.ts';
import { within } from '../../support/within.ts';
import { Echoing, ipAddress, Noting, Remembering } from '../../support/wrapped.ts';

/** Has `factory` listen; the errors are those of its connections. */
async function listen(factory: Factory, { loop, defer }: TestContext) {
  const errors: unknown[] = [];
  const onError = (error: unknown): unknown => errors.push(error);
  const port = await listenTcp(0, factory, { interface: '127.0.0.1', loop, onError });
  defer(() => port.close({ graceMs: 0 }));
  return { port, errors, number: portOf(port.getHost()) };
}

/** `factory` in three wrappers. */
function thrice(factory: Factory): WrappingFactory {
  return new WrappingFactory(new WrappingFactory(new WrappingFactory(factory)));
}

/** Wants its connection half-open: answers when the peer has ended its half. */
class Answering extends Noting {
  override readConnectionLost(): void {
    this.note('read lost');
    this.transport.write(`heard ${this.text}`);
    this.transport.loseWriteConnection();
  }

  override writeConnectionLost(): void {
    this.note('write lost');
    this.transport.loseConnection();
  }
}

/** Asks for pieces of what it sends, and closes after the last. */
class Producing extends Noting {
  left = 3;
  readonly producer: Producer = {
    resumeProducing: () => {
      this.note('resume');
      if (this.left-- > 0) this.transport.write('piece ');
      else this.transport.unregisterProducer();
    },
    pauseProducing: () => this.note('pause'),
    stopProducing: () => this.note('stop'),
  };

  override connectionMade(): void {
    super.connectionMade();
    this.transport.registerProducer(this.producer, false);
    this.transport.loseConnection();
  }
}

/** A client's factory that notes what it is told. */
class Client extends ClientFactory {
  readonly calls: string[] = [];
  #onCall = signal();

  override startedConnecting(): void {
    this.#note('started');
  }

  override clientConnectionFailed(_connector: Connector, reason: Error): void {
    this.#note(`failed ${'code' in reason ? reason.code : reason}`);
  }

  override clientConnectionLost(_connector: Connector, reason: Reason): void {
    this.#note(reason.name);
  }

  override buildProtocol(): Noting {
    const protocol = new Noting();
    protocol.connectionMade = () => protocol.transport.loseConnection();
    return protocol;
  }

  async told(count: number): Promise<readonly string[]> {
    while (this.calls.length < count) {
      this.#onCall = signal();
      await within(5_000, this.#onCall.promise, `a call after ${this.calls}`);
    }
    return this.calls;
  }

  #note(call: string): void {
    this.calls.push(call);
    this.#onCall.fire();
  }
}

for (const backend of IOLoop.backends)
  suite(`wrapped protocols on ${backend}`, { backend }, (test) => {
    test('are connected as if they were not', async (context) => {
      const factory = new Remembering(() => new Echoing());
      const wrapping = thrice(factory);
      const { number } = await listen(wrapping, context);
      const client = connectTo({ host: '127.0.0.1', port: number }, context.defer).send('hello');
      await client.heard('hello');
      assert.is(wrapping.protocols.size, 1);
      client.end();
      assert.instance(await factory.last.lost(), ConnectionDone);
      assert.equal(factory.last.calls, ['made', 'received', 'lost']);
      assert.is(factory.last.factory, factory);
      assert.is(wrapping.protocols.size, 0);
      assert.is(await client.all(), 'hello');
    });

    test('are half-open if they want to be', async (context) => {
      const factory = new Remembering(() => new Answering());
      const { number } = await listen(thrice(factory), context);
      const client = connectTo({ host: '127.0.0.1', port: number, allowHalfOpen: true }, context.defer);
      assert.is(await client.end('a question').all(), 'heard a question');
      await factory.last.lost();
      assert.equal(factory.last.calls, ['made', 'received', 'read lost', 'write lost', 'lost']);
    });

    test('are asked for each piece by the transport', async (context) => {
      const factory = new Remembering(() => new Producing());
      const { number } = await listen(thrice(factory), context);
      const client = connectTo({ host: '127.0.0.1', port: number }, context.defer);
      assert.is(await client.all(), 'piece piece piece ');
      await factory.last.lost();
      assert.equal(factory.last.calls, ['made', 'resume', 'resume', 'resume', 'resume', 'lost']);
    });

    test('end their own connection alone by what they throw', async (context) => {
      const thrown = new Error('thrown in dataReceived');
      const factory = new Remembering(() => new Echoing());
      const { number, errors } = await listen(thrice(factory), context);
      const target = { host: '127.0.0.1', port: number };
      const other = connectTo(target, context.defer).send('one ');
      await other.heard('one ');
      const client = connectTo(target, context.defer).send('two ');
      await client.heard('two ');
      factory.last.dataReceived = () => {
        throw thrown;
      };
      client.send('three');
      const reason = await factory.last.lost();
      assert.instance(reason, ConnectionLost);
      assert.is(reason?.cause, thrown);
      assert.equal(errors, [thrown]);
      await other.send('four').heard('four');
    });

    test('hear once that their factory starts, over several ports, and once that it stops', async (context) => {
      const factory = new Remembering(() => new Echoing());
      const wrapping = thrice(factory);
      const first = await listen(wrapping, context);
      const second = await listen(wrapping, context);
      assert.is(factory.numPorts, 2);
      await first.port.close();
      assert.equal(factory.calls, ['start']);
      await second.port.close();
      assert.equal(factory.calls, ['start', 'stop']);
      wrapping.doStop();
      assert.equal([factory.numPorts, wrapping.numPorts], [0, 0]);
    });

    test('have their connectors told to the factory inside', async (context) => {
      const { loop } = context;
      const { port, number } = await listen(new Remembering(() => new Noting()), context);
      const client = new Client();
      connectTcp('127.0.0.1', number, thrice(client), { loop });
      assert.equal(await client.told(2), ['started', 'ConnectionDone']);
      await port.close();
      connectTcp('127.0.0.1', number, thrice(client), { loop });
      assert.equal((await client.told(4)).slice(2), ['started', 'failed ECONNREFUSED']);
      assert.is(client.numPorts, 0);
    });

    test('connect anew when the factory inside does', async (context) => {
      const served = new Remembering(() => new Noting());
      const { number } = await listen(served, context);
      class Returning extends ReconnectingClientFactory {
        override initialDelayMs = 1;
        connections = 0;
        override buildProtocol(): Noting {
          const protocol = new Noting();
          if (++this.connections < 3) protocol.connectionMade = () => protocol.transport.loseConnection();
          else third.fire();
          return protocol;
        }
      }
      const third = signal();
      const client = new Returning();
      const connector = connectTcp('127.0.0.1', number, thrice(client), { loop: context.loop });
      context.defer(() => connector.disconnect());
      await within(5_000, third.promise, 'the third connection');
      client.stopTrying();
      assert.is(client.connections, 3);
    });
  });

suite('a wrapping factory', (test) => {
  test('refuses whom the factory inside refuses', () => {
    class Refusing extends Factory {
      override buildProtocol(): null {
        return null;
      }
    }
    assert.is(thrice(new Refusing()).buildProtocol(ipAddress('192.0.2.1')), null);
  });

  test('counts no port that did not start', () => {
    const factory = new Remembering(() => new Noting());
    const wrapping = new WrappingFactory(factory);
    wrapping.startFactory = () => {
      throw new Error('no start');
    };
    assert.throws(() => wrapping.doStart(), /no start/);
    assert.equal([factory.numPorts, wrapping.numPorts], [0, 0]);
    assert.equal(factory.calls, ['start', 'stop']);
  });

  test('that is stopped already takes no port from another of the same factory', () => {
    const factory = new Remembering(() => new Noting());
    const stopped = new WrappingFactory(factory);
    const listening = new WrappingFactory(factory);
    listening.doStart();
    stopped.doStop();
    assert.is(factory.numPorts, 1);
    listening.doStop();
    assert.equal(factory.calls, ['start', 'stop']);
  });

  test('says what is no factory', () => {
    // @ts-expect-error: a class is none
    assert.throws(() => new WrappingFactory(Noting), /wrappedFactory must be a Factory, not \[class Noting/);
  });
});
