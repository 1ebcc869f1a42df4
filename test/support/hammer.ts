import * as assert from 'uvu/assert';

import { Protocol } from '../../src/protocol/protocol.ts';
import { ConnectionDone, type Reason } from '../../src/protocol/reasons.ts';
import type { StartTlsOptions } from '../../src/stream/io-stream.ts';
import type { TimerHandle } from '../../src/timer.ts';
import { HammerProducer } from './hammer-producer.ts';
import type { HammerRun } from './hammer-run.ts';
import type { Random } from './random.ts';

/** The bytes of every direction begin with its connection's number, and go on with this, again and again. */
const PERIOD = 1_000_003;
const MOST_AT_ONCE = 5 * 1024 * 1024;
const PATTERN = (() => {
  const bytes = Buffer.allocUnsafe(PERIOD + MOST_AT_ONCE);
  let state = 1;
  for (let at = 0; at < PERIOD; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    bytes[at] = state >>> 24;
  }
  for (let at = PERIOD; at < bytes.length; at += PERIOD) bytes.copy(bytes, at, 0, PERIOD);
  return bytes;
})();
const NUMBER_LENGTH = 4;

/** How a side ends its connection, or does what ends it. */
export type End = 'lose' | 'abort' | 'end' | 'throw';

/** One end of a connection that does as `random` says, and checks all that it is told. */
export class HammerSide extends Protocol {
  /** Whose it is: the client's is known from the start, the server's is read. */
  number: number;
  /** How it has ended the connection, in order. */
  readonly ends: End[] = [];
  written = 0;
  received = 0;
  made = 0;
  lost = 0;
  reason: Reason | null = null;
  /** Whether its server was stopped under it. */
  isDisturbed = false;
  readonly producers: HammerProducer[] = [];
  readonly #run: HammerRun;
  readonly #random: Random;
  readonly #tls: StartTlsOptions | null;
  readonly #number: Buffer = Buffer.alloc(NUMBER_LENGTH);
  readonly #timers: TimerHandle[] = [];

  /** @param tls How it shakes hands as soon as it is connected. */
  constructor(run: HammerRun, random: Random, number: number, tls: StartTlsOptions | null) {
    super();
    this.#tls = tls;
    this.#run = run;
    this.#random = random;
    this.number = number;
  }

  override connectionMade(): void | Promise<void> {
    this.#isAlive('connectionMade');
    this.made++;
    this.#run.open++;
    this.#run.connected++;
    const number = Buffer.alloc(NUMBER_LENGTH);
    number.writeUInt32LE(Math.max(this.number, 0));
    if (this.#tls !== null) this.transport.startTls(this.#tls);
    this.transport.write(number);
    const { loop, lifetimeMs } = this.#run;
    for (const part of [1, 2, 3])
      this.#timers.push(loop.callLater(this.#random.below(lifetimeMs * part), () => this.#act(30)));
    this.#timers.push(loop.callLater(lifetimeMs * 4, () => this.#finish()));
    return this.#react();
  }

  override dataReceived(data: Buffer): void | Promise<void> {
    this.#isAlive('dataReceived');
    let start = 0;
    while (start < data.length && this.received < NUMBER_LENGTH)
      this.#number[this.received++] = data[start++] ?? 0;
    if (this.received >= NUMBER_LENGTH && this.number < 0) this.number = this.#number.readUInt32LE();
    this.#check(data.subarray(start));
    return this.#react();
  }

  override writeConnectionLost(): void | Promise<void> {
    this.#isAlive('writeConnectionLost');
    return this.#react();
  }

  override handshakeCompleted(): void | Promise<void> {
    this.#isAlive('handshakeCompleted');
    return this.#react();
  }

  override connectionLost(reason: Reason): void | Promise<void> {
    this.#isAlive('connectionLost');
    assert.is(this.made, 1, 'lost before it was made');
    this.lost++;
    this.reason = reason;
    this.#run.closed();
    assert.type(`${this.transport.getPeer()}`, 'string');
    for (const timer of this.#timers) timer.cancel();
    for (const producer of this.producers) producer.isOver();
    return this.#react();
  }

  /** Writes `length` bytes of the pattern, where that is still possible. */
  send(length: number): void {
    const start = this.written % PERIOD;
    this.transport.write(PATTERN.subarray(start, start + length));
    this.written += length;
  }

  /** Whether this side has done nothing that would keep it from receiving all. */
  get isPassive(): boolean {
    return !this.isDisturbed && this.ends.length === 0 && this.reason instanceof ConnectionDone;
  }

  /** Whether this side has lost the connection in order, and all that it has written should arrive. */
  get hasDelivered(): boolean {
    return (
      !this.isDisturbed &&
      this.ends.length === 1 &&
      this.ends[0] === 'lose' &&
      this.reason instanceof ConnectionDone
    );
  }

  /** Bytes of the pattern that came. */
  get heard(): number {
    return Math.max(this.received - NUMBER_LENGTH, 0);
  }

  /** Throws, or rejects with, an error that is its own. */
  fail(): never {
    if (this.lost === 0) this.ends.push('throw');
    throw this.anError();
  }

  /** An error that onError has to hear of, once. */
  anError(): Error {
    const error = new Error(`thrown by a side of ${this.number}`);
    this.#run.thrown.add(error);
    return error;
  }

  protected react(): void | Promise<void> {
    return this.#react();
  }

  #check(data: Buffer): void {
    for (let at = 0; at < data.length; ) {
      const start = this.heard % PERIOD;
      const length = Math.min(data.length - at, MOST_AT_ONCE);
      const isEqual = PATTERN.compare(data, at, at + length, start, start + length) === 0;
      assert.ok(isEqual, `other bytes than were sent, behind ${this.heard}`);
      this.received += length;
      at += length;
    }
  }

  #isAlive(call: string): void {
    assert.is(this.lost, 0, `${call} after connectionLost`);
    if (call !== 'connectionMade') assert.is(this.made, 1, `${call} before connectionMade`);
  }

  /** What a callback does: something, perhaps; it may throw or reject as well. */
  #react(): void | Promise<void> {
    this.#act(8);
    const chance = this.#random.below(60);
    if (chance === 0) this.fail();
    if (chance === 1) return this.#failLater();
    return undefined;
  }

  async #failLater(): Promise<void> {
    await null;
    this.fail();
  }

  /** Does something with a chance of `percent`. */
  #act(percent: number): void {
    if (this.#random.below(100) >= percent || this.lost > 0) return;
    const { transport } = this;
    const ended = this.ends.length > 0;
    switch (this.#random.below(14)) {
      case 0:
        this.#end('lose');
        return;
      case 1:
        this.#end('abort');
        return;
      case 2:
        this.#end('end');
        return;
      case 3:
        if (!ended) this.send(this.#random.below(20) === 0 ? MOST_AT_ONCE : 200_000);
        return;
      case 4:
      case 5:
        transport.pauseProducing();
        this.#later(() => this.transport.resumeProducing());
        return;
      case 6:
      case 7:
        if (!ended) this.#produce();
        return;
      default:
        if (!ended) this.send(1 + this.#random.below(3_000));
    }
  }

  #later(callback: () => void): void {
    this.#timers.push(this.#run.loop.callLater(this.#random.below(this.#run.lifetimeMs), callback));
  }

  #end(how: 'lose' | 'abort' | 'end'): void {
    this.ends.push(how);
    if (how === 'lose') this.transport.loseConnection();
    else if (how === 'abort') this.transport.abortConnection();
    else this.transport.loseWriteConnection();
  }

  /** Its time is over. */
  #finish(): void {
    if (this.ends.length === 0) this.#end('lose');
    this.#timers.push(this.#run.loop.callLater(this.#run.lifetimeMs * 4, () => this.#end('abort')));
  }

  #produce(): void {
    if (this.producers.some((producer) => !producer.done)) return;
    const streaming = this.#random.below(2) === 0;
    const producer = new HammerProducer(
      this,
      streaming,
      this.#random.below(12),
      this.#random.below(40) === 0,
    );
    this.producers.push(producer);
    this.transport.registerProducer(producer, streaming);
    if (streaming && producer.isReady) producer.resumeProducing();
  }
}

/** A side that hears of the peer's end, and goes on. */
export class HalfOpenHammerSide extends HammerSide {
  override readConnectionLost(): void | Promise<void> {
    return this.react();
  }
}
