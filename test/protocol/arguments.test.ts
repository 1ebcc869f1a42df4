import * as assert from 'uvu/assert';

import {
  clientFromString,
  connectProtocol,
  connectStandardIO,
  encodeNetstring,
  encodeProxyHeader,
  Factory,
  FileSender,
  IOLoopError,
  LineFramer,
  listenTcp,
  NetstringFramer,
  Protocol,
} from '../../src/index.ts';
import { RecorderFactory } from '../support/factories.ts';
import { Recorder } from '../support/protocols.ts';
import { receiveBy } from '../support/receivers.ts';
import { portOf } from '../support/servers.ts';
import { turnsUntil } from '../support/streams.ts';
import { suite } from '../support/suite.ts';

/** What `call` throws, or rejects with, says that `named` is no such argument. */
async function refuses(call: () => unknown, named: string): Promise<void> {
  let error: unknown = null;
  try {
    await call();
  } catch (thrown) {
    error = thrown;
  }
  assert.ok(IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'), `${named}: ${error}`);
  assert.ok(error.message.startsWith(`${named} must be `), error.message);
}

suite('what is no argument', (test) => {
  test('is named with its value, before anything is done', async () => {
    const nothing = {} as never;
    const endpoint = clientFromString('tcp:127.0.0.1:1');
    const ipv4 = { family: 'IPv4', address: '192.0.2.1', port: 1 } as const;
    for (const [call, named] of [
      [() => connectProtocol(nothing, new Protocol()), 'endpoint.connect'],
      [() => connectProtocol(endpoint, nothing), 'protocol'],
      [() => connectStandardIO(nothing), 'protocol'],
      [() => new FileSender().beginFileTransfer('/dev/null', nothing), 'consumer.write'],
      [() => new LineFramer(80 as never), 'options'],
      [() => new NetstringFramer(null as never), 'options'],
      [() => encodeNetstring(7 as never), 'data'],
      [() => encodeProxyHeader({ source: 'x' as never, destination: ipv4 }), 'options.source'],
      [
        () => encodeProxyHeader({ source: { ...ipv4, port: 65_536 }, destination: ipv4 }),
        'options.source.port',
      ],
      [
        () =>
          encodeProxyHeader({ version: 1, source: { ...ipv4, port: '1\r\nX' as never }, destination: ipv4 }),
        'options.source.port',
      ],
      [
        () => encodeProxyHeader({ source: ipv4, destination: { ...ipv4, address: '::1' } }),
        'options.destination',
      ],
      [() => encodeProxyHeader({ alpn: 7 as never }), 'options.alpn'],
      [() => encodeProxyHeader({ uniqueId: 'id' as never }), 'options.uniqueId'],
      [() => encodeProxyHeader({ tlvs: nothing }), 'options.tlvs'],
    ] as const)
      await refuses(call, named);
  });

  test('is refused as a producer where one of its methods is missing', async (context) => {
    const { protocol } = await receiveBy(new Recorder(), context);
    const { transport } = protocol;
    const producer = { resumeProducing() {}, pauseProducing() {}, stopProducing() {} };
    for (const missing of ['resumeProducing', 'pauseProducing', 'stopProducing'] as const)
      await refuses(
        () => transport.registerProducer({ ...producer, [missing]: undefined } as never, true),
        `producer.${missing}`,
      );
  });

  test('is told to who connects when a factory returns no protocol, and the connection is closed', async ({
    loop,
    defer,
  }) => {
    const served = new RecorderFactory();
    const port = await listenTcp(0, served, { loop, interface: '127.0.0.1' });
    defer(() => port.close({ graceMs: 0 }));
    class Forgetful extends Factory {
      override buildProtocol(): never {
        return undefined as never;
      }
    }
    const factory = new Forgetful();
    const endpoint = clientFromString(`tcp:127.0.0.1:${portOf(port.getHost())}`, { loop });
    await refuses(() => endpoint.connect(factory), 'protocol');
    assert.is(factory.numPorts, 0);
    await turnsUntil(loop, () => served.made[0]?.reason != null);
  });

  test('and what is one has no effect once the connection is over', async (context) => {
    const { protocol } = await receiveBy(new Recorder(), context);
    const { transport } = protocol;
    transport.abortConnection();
    transport.setTcpNoDelay(true);
    transport.setTcpKeepAlive(true);
    await protocol.whenLost();
    transport.setTcpNoDelay(false);
    await refuses(() => transport.setTcpNoDelay(1 as never), 'on');
  });
});
