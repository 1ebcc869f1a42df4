import type { Buffer } from 'node:buffer';
import * as assert from 'uvu/assert';

import {
  ConnectionAborted,
  ConnectionDone,
  ConnectionLost,
  Int32StringReceiver,
  IOLoopError,
  LineOnlyReceiver,
  LineReceiver,
  type Reason,
} from '../../src/index.ts';
import { authority, localhost } from '../support/certificates.ts';
import { signal } from '../support/driven.ts';
import { receiveBy, suitePerBackend, text } from '../support/receivers.ts';
import { deliver, turnsUntil } from '../support/streams.ts';
import { nextTurn } from '../support/turns.ts';
import { within } from '../support/within.ts';

/** Receives lines, notes all that it is told, and does what the test wants. */
class Lines extends LineReceiver {
  readonly told: string[] = [];
  reason: Reason | null = null;
  readonly lost = signal<Reason>();
  onLine: (line: string) => unknown = () => {};

  override lineReceived(line: Buffer): void | Promise<void> {
    this.told.push(`${line}`);
    const result = this.onLine(`${line}`);
    return result instanceof Promise ? result : undefined;
  }

  override rawDataReceived(data: Buffer): void {
    this.told.push(`raw:${data}`);
  }

  // Calls nobody's connectionLost but its own, as most programs do.
  override connectionLost(reason: Reason): void {
    this.told.push('lost');
    this.lost.fire(reason);
  }

  whenLost(): Promise<Reason> {
    return within(5_000, this.lost.promise, 'connectionLost');
  }
}

suitePerBackend('line receiver', (test) => {
  test('receives lines and sends them', async (context) => {
    const { left, protocol, ...pair } = await receiveBy(new Lines(), context);
    protocol.onLine = (line) => protocol.sendLine(line.toUpperCase());
    await deliver({ ...pair, left }, text('one\r\ntw'));
    await deliver({ ...pair, left }, text('o\r\n'));
    assert.equal(protocol.told, ['one', 'two']);
    assert.is(String(await left.readUntil('TWO\r\n')), 'ONE\r\nTWO\r\n');
  });

  test('takes delimiter and maximum from its class, and from the line before', async (context) => {
    class Short extends Lines {
      override delimiter: string | Uint8Array = ';';
      override maxLength = 5;
    }
    const { left, protocol, ...pair } = await receiveBy(new Short(), context);
    protocol.onLine = (line) => {
      if (line !== 'long') return;
      protocol.maxLength = 10;
      protocol.delimiter = Uint8Array.of(10);
      protocol.sendLine('yes');
      protocol.sendLine(text('bytes'));
    };
    await deliver({ ...pair, left }, text('one;long;1234567890\n'));
    assert.equal(protocol.told, ['one', 'long', '1234567890']);
    assert.is(String(await left.readUntil('bytes\n')), 'yes\nbytes\n');
  });

  test('stops in mid-buffer when it is paused, and receives no more', async (context) => {
    const pair = await receiveBy(new Lines(), context);
    const { left, right, loop, protocol } = pair;
    protocol.onLine = () => protocol.pauseProducing();
    await deliver(pair, text('one\r\ntwo\r\nthree\r\nfo'));
    assert.equal(protocol.told, ['one']);
    const { bytesRead } = right;
    await left.write('ur\r\n');
    for (let turn = 0; turn < 5; turn++) await nextTurn(loop);
    assert.is(right.bytesRead, bytesRead);
    void protocol.resumeProducing();
    assert.equal(protocol.told, ['one', 'two']);
    void protocol.resumeProducing();
    protocol.onLine = () => {};
    void protocol.resumeProducing();
    await turnsUntil(loop, () => protocol.told.length === 4);
    assert.equal(protocol.told, ['one', 'two', 'three', 'four']);
  });

  test('has the lines behind one wait for its promise', async (context) => {
    const pair = await receiveBy(new Lines(), context);
    const { loop, protocol } = pair;
    let running = 0;
    protocol.onLine = async (line) => {
      assert.is(++running, 1, 'one at a time');
      await nextTurn(loop);
      protocol.told.push(`done ${line}`);
      running--;
    };
    await pair.left.write('one\r\ntwo\r\nthr');
    await turnsUntil(loop, () => protocol.told.includes('done two'));
    await pair.left.end('ee\r\n');
    await protocol.whenLost();
    assert.equal(protocol.told, ['one', 'done one', 'two', 'done two', 'three', 'done three', 'lost']);
  });

  test('ends with what the promise of a line is rejected with', async (context) => {
    const { protocol, left, errors } = await receiveBy(new Lines(), context);
    const failure = new Error('no such line');
    protocol.onLine = (line) => (line === 'two' ? Promise.reject(failure) : Promise.resolve());
    await left.write('one\r\ntwo\r\nthree\r\n');
    const reason = await protocol.whenLost();
    assert.ok(reason instanceof ConnectionLost);
    assert.is(reason.cause, failure);
    assert.equal(errors, [failure]);
    assert.equal(protocol.told, ['one', 'two', 'lost']);
  });

  test('waits both for the promise of a line and for the end of a pause', async (context) => {
    const { protocol, left, loop } = await receiveBy(new Lines(), context);
    const release = signal();
    protocol.onLine = () => {
      protocol.pauseProducing();
      return release.promise;
    };
    await left.write('one\r\ntwo\r\n');
    await turnsUntil(loop, () => protocol.told.length > 0);
    void protocol.resumeProducing();
    await nextTurn(loop);
    assert.equal(protocol.told, ['one']);
    protocol.pauseProducing();
    release.fire();
    for (let turn = 0; turn < 3; turn++) await nextTurn(loop);
    assert.equal(protocol.told, ['one']);
    protocol.onLine = () => {};
    await protocol.resumeProducing();
    assert.equal(protocol.told, ['one', 'two']);
  });

  test('ends with what a line throws, and drops those behind it', async (context) => {
    const { protocol, left, errors } = await receiveBy(new Lines(), context);
    const failure = new Error('no such line');
    protocol.onLine = () => {
      throw failure;
    };
    await left.write('one\r\ntwo\r\n');
    const reason = await protocol.whenLost();
    assert.is(reason.cause, failure);
    assert.equal(errors, [failure]);
    assert.equal(protocol.told, ['one', 'lost']);
  });

  for (const kind of ['throws', 'rejects with'] as const)
    test(`ends with what a line ${kind} that came when somebody resumed it`, async (context) => {
      const { protocol, left, loop, errors } = await receiveBy(new Lines(), context);
      protocol.onLine = () => protocol.pauseProducing();
      await left.write('one\r\ntwo\r\nthree\r\n');
      await turnsUntil(loop, () => protocol.told.length > 0);
      const failure = new Error('no such line');
      protocol.onLine = () => {
        if (kind === 'throws') throw failure;
        return Promise.reject(failure);
      };
      loop.addCallback(() => void protocol.resumeProducing());
      const reason = await protocol.whenLost();
      assert.instance(reason, ConnectionLost);
      assert.is(reason.cause, failure);
      assert.equal(errors, [failure]);
      assert.equal(protocol.told, ['one', 'two', 'lost']);
    });

  for (const [how, Expected] of [
    ['transport.loseConnection', ConnectionDone],
    ['transport.abortConnection', ConnectionAborted],
    ['stopProducing', ConnectionDone],
  ] as const)
    test(`receives no line behind the one that calls ${how}()`, async (context) => {
      const { protocol, left } = await receiveBy(new Lines(), context);
      protocol.maxLength = 10;
      protocol.onLine = () => {
        if (how === 'stopProducing') protocol.stopProducing();
        else if (how === 'transport.loseConnection') protocol.transport.loseConnection();
        else protocol.transport.abortConnection();
      };
      await left.write(`one\r\ntwo\r\n${'x'.repeat(100)}`);
      assert.ok((await protocol.whenLost()) instanceof Expected);
      assert.equal(protocol.told, ['one', 'lost']);
    });

  for (const how of ['loseConnection', 'abortConnection'] as const)
    test(`receives nothing when it resumes after ${how}()`, async (context) => {
      const { protocol, left, loop } = await receiveBy(new Lines(), context);
      protocol.onLine = () => protocol.pauseProducing();
      await left.write('one\r\ntwo\r\nthree\r\n');
      await turnsUntil(loop, () => protocol.told.length > 0);
      protocol.transport[how]();
      void protocol.resumeProducing();
      await protocol.whenLost();
      void protocol.resumeProducing();
      assert.equal(protocol.told, ['one', 'lost']);
    });

  test('receives raw data between lines', async (context) => {
    const pair = await receiveBy(new Lines(), context);
    const { protocol } = pair;
    protocol.onLine = (line) => line === 'RAW' && protocol.setRawMode();
    await deliver(pair, text('one\r\nRAW\r\nraw\r\n'));
    protocol.setLineMode(text('two\r\n'));
    await deliver(pair, text('par'));
    assert.is(String(protocol.clearLineBuffer()), 'par');
    await deliver(pair, text('three\r\n'));
    assert.equal(protocol.told, ['one', 'RAW', 'raw:raw\r\n', 'two', 'three']);
  });

  test('needs rawDataReceived for that', async (context) => {
    class NoRawData extends LineReceiver {
      readonly lost = signal<Reason>();
      override lineReceived(): void {
        this.setRawMode();
      }
      override connectionLost(reason: Reason): void {
        this.lost.fire(reason);
      }
    }
    const { protocol, left } = await receiveBy(new NoRawData(), context);
    await left.write('one\r\nraw');
    const { cause } = await within(5_000, protocol.lost.promise, 'connectionLost');
    assert.ok(IOLoopError.is(cause, 'ERR_IOLOOP_INVALID_STATE'));
    assert.match(cause.message, 'rawDataReceived');
  });

  test('loses a connection whose line is too long, behind what an override writes', async (context) => {
    class Strict extends Lines {
      override maxLength = 10;
      override lineLengthExceeded(line: Buffer): void {
        this.told.push(`too long: ${line}`);
        this.sendLine('500 line too long');
        super.lineLengthExceeded(line);
      }
    }
    const { protocol, left } = await receiveBy(new Strict(), context);
    await left.write(`one\r\n${'x'.repeat(20)}\r\ntwo\r\n`);
    await left.write('three\r\n'.repeat(10_000));
    assert.is(String(await left.readUntilClose()), '500 line too long\r\n');
    assert.ok((await protocol.whenLost()) instanceof ConnectionDone);
    const [first, second = '', ...rest] = protocol.told;
    assert.equal([first, ...rest], ['one', 'lost']);
    // What has come with it is the network's choice.
    assert.ok(second.startsWith(`too long: ${'x'.repeat(20)}`));
  });

  test('receives lines alone, if that is all that is wanted', async (context) => {
    const lines: string[] = [];
    class LinesOnly extends LineOnlyReceiver {
      override lineReceived(line: Buffer): void {
        lines.push(`${line}`);
      }
    }
    await deliver(await receiveBy(new LinesOnly(), context), text('one\r\ntwo\r\n'));
    assert.equal(lines, ['one', 'two']);
  });
});

suitePerBackend('startTls of a receiver', (test) => {
  test('is refused while plaintext follows the line, and that ends the connection', async (context) => {
    for (const injected of ['EVIL\r\n', 'E', '\r']) {
      const { protocol, left } = await receiveBy(new Lines(), context);
      // By whichever name: programs that come from Twisted ask the transport.
      const asked = injected === 'E' ? protocol : protocol.transport;
      protocol.onLine = () => asked.startTls({ server: true, ...localhost });
      await left.write(`STARTTLS\r\n${injected}`);
      const { cause } = await protocol.whenLost();
      assert.ok(IOLoopError.is(cause, 'ERR_IOLOOP_INVALID_STATE'));
      assert.match(cause.message, `${injected.length} bytes of plaintext`);
      assert.equal(protocol.told, ['STARTTLS', 'lost']);
    }
  });

  test('is refused while part of a length has come', async (context) => {
    class Strings extends Int32StringReceiver {
      override stringReceived(): void {}
    }
    const pair = await receiveBy(new Strings(), context);
    await deliver(pair, Uint8Array.of(0, 0));
    assert.throws(
      () => pair.protocol.startTls({ server: true, ...localhost }),
      (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE'),
    );
  });

  test('secures the connection behind a line, and lines go on', async (context) => {
    const { protocol, left, loop } = await receiveBy(new Lines(), context);
    protocol.onLine = (line) => {
      if (line !== 'STARTTLS') return protocol.sendLine(`${line} came encrypted`);
      protocol.sendLine('220 go ahead');
      protocol.startTls({ server: true, ...localhost });
    };
    await left.write('STARTTLS\r\n');
    assert.is(String(await left.readUntil('\r\n')), '220 go ahead\r\n');
    const secured = await left.startTls({ ca: authority, servername: 'localhost' });
    context.defer(async () => {
      secured.abort();
      await secured.whenClosed;
      if (loop.fd >= 0) await nextTurn(loop);
    });
    await secured.write('one\r\n');
    assert.is(String(await secured.readUntil('\r\n')), 'one came encrypted\r\n');
    protocol.transport.loseConnection();
    await protocol.whenLost();
  });
});
