import { Buffer } from 'node:buffer';
import * as assert from 'uvu/assert';

import {
  FixedLengthReceiver,
  type FramingState,
  Int8StringReceiver,
  Int16StringReceiver,
  Int32StringReceiver,
  IOLoopError,
  NetstringReceiver,
  type Protocol,
  StatefulProtocol,
} from '../../src/index.ts';
import { signal } from '../support/driven.ts';
import { receiveBy, suitePerBackend, text } from '../support/receivers.ts';
import { deliver } from '../support/streams.ts';
import { within } from '../support/within.ts';

/** What is noted of strings, of whatever kind. */
interface Strings extends Protocol {
  readonly told: string[];
  sendString(string: string | Uint8Array): void;
}

class Netstrings extends NetstringReceiver implements Strings {
  readonly told: string[] = [];
  override stringReceived(string: Buffer): void {
    this.told.push(`${string}`);
  }
  override connectionLost(): void {
    this.told.push('lost');
  }
}

class Int8Strings extends Int8StringReceiver implements Strings {
  readonly told: string[] = [];
  override stringReceived(string: Buffer): void {
    this.told.push(`${string}`);
  }
}

class Int16Strings extends Int16StringReceiver implements Strings {
  readonly told: string[] = [];
  override maxLength = 20;
  override stringReceived(string: Buffer): void {
    this.told.push(`${string}`);
  }
  override lengthLimitExceeded(length: number): void {
    this.told.push(`too long: ${length}`);
    super.lengthLimitExceeded(length);
  }
  override connectionLost(): void {
    this.told.push('lost');
  }
}

class Int32Strings extends Int32StringReceiver implements Strings {
  readonly told: string[] = [];
  override stringReceived(string: Buffer): void {
    this.told.push(`${string}`);
  }
}

suitePerBackend('string receivers', (test) => {
  for (const [Receiver, wire] of [
    [Netstrings, '5:hello,0:,3:\u20ac,'],
    [Int8Strings, '\x05hello\x00\x03\u20ac'],
    [Int16Strings, '\0\x05hello\0\0\0\x03\u20ac'],
    [Int32Strings, '\0\0\0\x05hello\0\0\0\0\0\0\0\x03\u20ac'],
  ] as const)
    test(`${Receiver.name} receives and sends strings`, async (context) => {
      const pair = await receiveBy<Strings>(new Receiver(), context);
      const { left, protocol } = pair;
      await deliver(pair, text(wire.slice(0, 3)));
      await deliver(pair, text(wire.slice(3)));
      assert.equal(protocol.told, ['hello', '', '€']);
      for (const string of ['hello', new Uint8Array(0), '€']) protocol.sendString(string);
      assert.is(String(await left.readBytes(Buffer.byteLength(wire))), wire);
    });

  test('lose the connection of a length over the maximum, and say which', async (context) => {
    const { protocol, left } = await receiveBy(new Int16Strings(), context);
    await left.write('\0\x03abc\0\x15abc');
    await left.readUntilClose();
    assert.equal(protocol.told, ['abc', 'too long: 21', 'lost']);
  });

  test('lose the connection of what is no netstring', async (context) => {
    const { protocol, left } = await receiveBy(new Netstrings(), context);
    assert.not(protocol.brokenPeer);
    await left.write('3:abc,3:abcd3:abc,');
    await left.readUntilClose();
    assert.ok(protocol.brokenPeer);
    assert.equal(protocol.told, ['abc', 'lost']);
  });

  test('send no string whose length does not fit into the prefix', async (context) => {
    const { protocol } = await receiveBy(new Int8Strings(), context);
    assert.throws(
      () => protocol.sendString(new Uint8Array(256)),
      (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'),
    );
  });
});

suitePerBackend('other receivers', (test) => {
  test('receive frames of one length', async (context) => {
    class Samples extends FixedLengthReceiver {
      readonly told: string[] = [];
      override length = 4;
      override frameReceived(frame: Buffer): void {
        this.told.push(`${frame}`);
        this.length = 2;
      }
    }
    const pair = await receiveBy(new Samples(), context);
    await deliver(pair, text('abcdef'));
    await deliver(pair, text('gh'));
    assert.equal(pair.protocol.told, ['abcd', 'ef', 'gh']);
  });

  test('receive what their states ask for, from the first that is known when the connection is made', async (context) => {
    class Bodies extends StatefulProtocol {
      readonly told: string[] = [];
      override maxLength = 10;
      #header: FramingState = [() => undefined, 1];
      readonly lost = signal();
      override connectionMade(): void {
        this.#header = [([length = 0]) => [(body) => this.#body(body), length], 1];
      }
      override getInitialState(): FramingState {
        return this.#header;
      }
      override connectionLost(): void {
        this.lost.fire();
      }
      #body(body: Buffer): FramingState {
        this.told.push(`${body}`);
        return this.#header;
      }
    }
    const pair = await receiveBy(new Bodies(), context);
    await deliver(pair, text('\x03abc\0\x02d'));
    await deliver(pair, text('e\x0a'));
    assert.equal(pair.protocol.told, ['abc', '', 'de']);
    await pair.left.write('0123456789\x0b');
    await within(5_000, pair.protocol.lost.promise, 'connectionLost');
    assert.equal(pair.protocol.told, ['abc', '', 'de', '0123456789']);
  });
});
