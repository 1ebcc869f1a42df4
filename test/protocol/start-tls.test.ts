import type { Buffer } from 'node:buffer';
import * as assert from 'uvu/assert';
import { toAddress } from '../../src/address.ts';
import {
  ConnectionAborted,
  ConnectionLost,
  IOLoopError,
  LineReceiver,
  type Reason,
  TimeoutError,
} from '../../src/index.ts';
import { WrappingFactory } from '../../src/protocol/policies/wrapping-factory.ts';
import { authority, localhost } from '../support/certificates.ts';
import { signal } from '../support/driven.ts';
import { Recorder } from '../support/protocols.ts';
import { receiveBy } from '../support/receivers.ts';
import { suite } from '../support/suite.ts';
import { within } from '../support/within.ts';
import { Remembering, SimHost } from '../support/wrapped.ts';

const SERVER = { server: true, ...localhost } as const;

suite('startTls of a transport', (test) => {
  test('is refused while a receiver below policies keeps plaintext', async (context) => {
    const lost = signal<Reason>();
    const lines: string[] = [];
    class Lines extends LineReceiver {
      override lineReceived(line: Buffer): void {
        lines.push(`${line}`);
        this.transport.startTls(SERVER);
      }
      override connectionLost(reason: Reason): void {
        lost.fire(reason);
      }
    }
    const twice = new WrappingFactory(new WrappingFactory(new Remembering(() => new Lines())));
    const wrapper = twice.buildProtocol(toAddress({ address: '127.0.0.1', port: 4711 }));
    if (wrapper === null) throw new Error('the connection was refused');
    const { left } = await receiveBy(wrapper, context);
    await left.write('STARTTLS\r\nEVIL\r\n');
    const { cause } = await within(5_000, lost.promise, 'connectionLost');
    assert.ok(IOLoopError.is(cause, 'ERR_IOLOOP_INVALID_STATE'));
    assert.match(cause.message, '6 bytes of plaintext');
    assert.equal(lines, ['STARTTLS']);
  });

  test('waits for no peer longer than ten seconds, also where the connection is to be lost', async (context) => {
    for (const loses of [false, true]) {
      const host = new SimHost(context);
      const protocol = new Recorder((call, { transport }) => {
        if (call !== 'connectionMade') return;
        transport.startTls(SERVER);
        if (loses) transport.loseConnection();
      });
      await host.run(async () => {
        host.open(new Remembering(() => protocol));
        const tookMs = await host.timeOf(() => protocol.whenLost());
        assert.ok(tookMs >= 10_000 && tookMs < 10_100, `${tookMs} ms`);
      });
      const { reason } = protocol;
      assert.ok(reason instanceof ConnectionLost && reason.cause instanceof TimeoutError);
      assert.is(protocol.story, 'connectionMade connectionLost');
    }
  });

  test('tells of no handshake that was done when the connection was aborted already', async (context) => {
    const protocol = new Recorder((call, { transport }) => {
      if (call !== 'connectionMade') return;
      const abort = (): undefined => transport.abortConnection() as undefined;
      transport.startTls({ ca: authority, servername: 'localhost', checkServerIdentity: abort });
    });
    const { left } = await receiveBy(protocol, context);
    await left.startTls(SERVER).catch(() => {});
    assert.instance(await protocol.whenLost(), ConnectionAborted);
    assert.is(protocol.story, 'connectionMade connectionLost');
  });
});
