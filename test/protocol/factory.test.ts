import * as assert from 'uvu/assert';
import { toAddress } from '../../src/address.ts';
import { Factory, IOLoop, IOLoopError, listenTcp, Protocol } from '../../src/index.ts';
import { RecorderFactory } from '../support/factories.ts';
import { suite } from '../support/suite.ts';

const isInvalidState = (error: unknown): boolean => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE');

suite('a factory', (test) => {
  const address = toAddress({ address: '127.0.0.1', port: 80 });

  test('makes protocols of its class, which know it', () => {
    class Poem extends Protocol {}
    const factory = Factory.forProtocol(Poem);
    const protocol = factory.buildProtocol(address);
    assert.instance(protocol, Poem);
    assert.is(protocol?.factory, factory);
    assert.is.not(factory.buildProtocol(address), protocol);
  });

  test('is made as the subclass that forProtocol() was asked of', () => {
    class PoemFactory extends Factory {}
    assert.instance(PoemFactory.forProtocol(Protocol), PoemFactory);
  });

  test('without a class says that there is nothing to make', () => {
    assert.throws(() => new Factory().buildProtocol(address), isInvalidState);
  });

  test('is started by the first of its ports, and stopped after the last', async ({ loop, defer }) => {
    const factory = new RecorderFactory();
    const ports = [];
    for (let i = 0; i < 3; i++) {
      const port = await listenTcp(0, factory, { loop, interface: '127.0.0.1' });
      defer(() => port.close());
      ports.push(port);
    }
    assert.is(factory.numPorts, 3);
    for (const port of ports) {
      assert.equal(factory.told, ['start']);
      await port.stopListening();
      await port.stopListening();
    }
    assert.is(factory.numPorts, 0);
    assert.equal(factory.told, ['start', 'stop']);
    const again = await listenTcp(0, factory, { loop, interface: '127.0.0.1' });
    await again.close();
    assert.equal(factory.told, ['start', 'stop', 'start', 'stop']);
  });

  test('is stopped when the loop of its port ends', async () => {
    const loop = new IOLoop({ current: false });
    const factory = new RecorderFactory();
    await listenTcp(0, factory, { loop, interface: '127.0.0.1' });
    await loop.close();
    assert.equal(factory.told, ['start', 'stop']);
  });

  test('that throws when it is stopped stops its port all the same', async () => {
    const errors: unknown[] = [];
    const loop = new IOLoop({ current: false, onError: (error) => errors.push(error) });
    const factory = new Factory();
    const failure = new Error('the stop failed');
    factory.stopFactory = () => {
      throw failure;
    };
    const port = await listenTcp(0, factory, { loop, interface: '127.0.0.1' });
    await port.stopListening();
    await loop.close();
    assert.equal(errors, [failure]);
    assert.is(factory.numPorts, 0);
  });

  test('is not stopped by more stops than there were starts', () => {
    const factory = new RecorderFactory();
    factory.doStop();
    assert.equal(factory.told, []);
    assert.is(factory.numPorts, 0);
  });
});

suite('a protocol', (test) => {
  test('has no transport before it has a connection', () => {
    assert.throws(() => new Protocol().transport, isInvalidState);
  });
});
