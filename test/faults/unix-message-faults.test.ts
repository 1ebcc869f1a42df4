import { closeSync, openSync } from 'node:fs';
import * as assert from 'uvu/assert';

import { SeqpacketSocket, SystemError, UnixDatagramSocket } from '../../src/index.ts';
import { codeOf } from '../support/datagrams.ts';
import { Faults, type SystemCall } from '../support/faults.ts';
import { Random } from '../support/random.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { count, long } from '../support/tier.ts';
import { numbered } from '../support/unix-sockets.ts';
import { within } from '../support/within.ts';

const PAIRS = 8;
const MESSAGES = 200;
const ROUND_LIMIT_MS = 60_000;
const CALLS: readonly SystemCall[] = ['recvmmsg', 'sendmmsg', 'recvmsg', 'sendmsg', 'epollWait'];

type End = SeqpacketSocket | UnixDatagramSocket;
type MakePair = (options: object) => [End, End];
const kinds: Readonly<Record<string, MakePair>> = {
  datagrams: (options) => UnixDatagramSocket.pair(options),
  'seqpacket messages': (options) => SeqpacketSocket.pair(options),
};

/** What nobody has to notice. */
function harmlessFaults(seed: number): Faults {
  const faults = new Faults(seed);
  for (const call of ['recvmmsg', 'sendmmsg'] as const)
    faults.fail(call, 0.15, 'EAGAIN').fail(call, 0.1, 'EINTR').shorten(call, 0.4);
  return faults.fail('epollWait', 0.1, 'EINTR').reorder('epollWait', 0.3).repeat('epollWait', 0.2);
}

/** A kernel that takes one message at a time. */
function singleFaults(seed: number): Faults {
  const faults = new Faults(seed).fail('recvmmsg', 1, 'ENOSYS').fail('sendmmsg', 1, 'ENOSYS');
  for (const call of ['recvmsg', 'sendmsg'] as const)
    faults.fail(call, 0.15, 'EAGAIN').fail(call, 0.1, 'EINTR');
  return faults;
}

/** One way between two sockets: some messages with descriptors, which follow from a seed. */
class Way {
  /** The numbers of those that were accepted, and of those that came. */
  readonly sent: number[] = [];
  readonly received: number[] = [];
  /** Why others were refused, and how reading has ended. */
  readonly refused: unknown[] = [];
  ending: unknown = null;
  readonly #from: End;
  readonly #to: End;
  readonly #file: number;
  readonly #random: Random;

  constructor(from: End, to: End, file: number, seed: number) {
    this.#from = from;
    this.#to = to;
    this.#file = file;
    this.#random = new Random(seed);
  }

  /** Settles when all is sent, and received as far as it left. */
  async run(): Promise<void> {
    const received = this.#receive();
    const results = await Promise.allSettled(
      Array.from({ length: MESSAGES }, (_, number) => this.#send(number)),
    );
    for (const [number, result] of results.entries()) {
      if (result.status === 'fulfilled') this.sent.push(number);
      else this.refused.push(codeOf(result.reason));
    }
    // An end of its own: one byte, which no other message has.
    while (!this.#from.closed && this.ending === null) {
      try {
        await this.#from.send('.');
        break;
      } catch (error) {
        if (!(error instanceof SystemError)) throw error;
      }
    }
    await received;
  }

  #send(number: number): Promise<void> {
    const data = numbered(number, 4 + this.#random.below(500));
    const fds = fdsOf(number);
    return fds === 0 ? this.#from.send(data) : this.#from.sendFds(Array(fds).fill(this.#file), data);
  }

  async #receive(): Promise<void> {
    try {
      for await (const { data, fds, fdsTruncated, truncated } of this.#to) {
        for (const fd of fds) fd.close();
        if (data.length === 1) return;
        const number = data.readUInt32BE();
        assert.equal(data, numbered(number, data.length));
        assert.equal([fds.length, fdsTruncated, truncated], [fdsOf(number), false, false]);
        this.received.push(number);
      }
      this.ending = 'end';
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.ending = error.code;
    }
  }
}

/** How many descriptors go with a message. */
function fdsOf(number: number): number {
  return number % 7 === 3 ? 1 + (number % 3) : 0;
}

/** Exchanges messages both ways over {@link PAIRS} pairs, until so many faults were met. */
async function exchangeUnder(
  makeFaults: (seed: number) => Faults,
  makePair: MakePair,
  faultsToMeet: number,
  { loop, defer }: TestContext,
  check: (way: Way) => void,
): Promise<string[]> {
  const file = openSync('/dev/null', 'r');
  defer(() => closeSync(file));
  const told: string[] = [];
  const onError = ({ code }: SystemError): void => void told.push(code);
  let met = 0;
  for (let seed = 1; met < faultsToMeet; seed++) {
    const pairs = Array.from({ length: PAIRS }, () => makePair({ loop, receiveFds: true, onError }));
    const ways = pairs.flatMap(([one, other], place) => [
      new Way(one, other, file, seed * PAIRS + place),
      new Way(other, one, file, -seed * PAIRS - place),
    ]);
    const faults = makeFaults(seed);
    try {
      const all = Promise.all(ways.map((way) => way.run()));
      await within(ROUND_LIMIT_MS, all, `the end of all messages of seed ${seed}`);
      const closed = Promise.all(pairs.flat().map((socket) => socket.close()));
      await within(ROUND_LIMIT_MS, closed, `the end of all sockets of seed ${seed}`);
      met += faults.count(...CALLS).faults;
    } finally {
      faults.remove();
    }
    for (const way of ways) check(way);
  }
  return told;
}

/** Whether `some` are among `all`, in their order. */
function isInOrder(some: readonly number[], all: readonly number[]): boolean {
  let place = -1;
  return some.every((number) => {
    const next = all.indexOf(number, place + 1);
    place = next;
    return next >= 0;
  });
}

for (const [kind, makePair] of Object.entries(kinds))
  suite(`${kind} in the Unix domain under faults`, { limitMs: long ? 3_600_000 : 300_000 }, (test) => {
    test('are lost, doubled and reordered by none that passes, nor are descriptors', async (context) => {
      const told = await exchangeUnder(harmlessFaults, makePair, count(10_000, 500_000), context, (way) => {
        assert.equal(way.refused, []);
        assert.equal(way.received, way.sent);
        assert.is(way.received.length, MESSAGES);
      });
      assert.equal(told, []);
    });

    test('need no kernel that takes many at a time', async (context) => {
      const told = await exchangeUnder(singleFaults, makePair, count(5_000, 200_000), context, (way) => {
        assert.equal(way.received, way.sent);
        assert.is(way.received.length, MESSAGES);
      });
      assert.equal(told, []);
    });

    test('are refused one by one where the kernel has no room, and told of', async (context) => {
      const codes = new Set<unknown>();
      const scarce = (seed: number): Faults =>
        harmlessFaults(seed).fail('sendmmsg', 0.05, 'ENOBUFS').fail('recvmmsg', 0.05, 'ENOMEM');
      const told = await exchangeUnder(scarce, makePair, count(5_000, 200_000), context, (way) => {
        for (const code of way.refused) codes.add(code);
        assert.equal(way.received, way.sent);
        assert.is(way.sent.length + way.refused.length, MESSAGES);
      });
      assert.equal([...codes], ['ENOBUFS']);
      assert.equal([...new Set(told)], ['ENOMEM']);
    });
  });

suite('seqpacket connections that are reset under faults', { limitMs: 300_000 }, (test) => {
  test('deliver nothing wrong before, and settle every wait', async (context) => {
    const endings = new Set<unknown>();
    const codes = new Set<unknown>();
    const resetting = (seed: number): Faults =>
      harmlessFaults(seed).fail('recvmmsg', 0.01, 'ECONNRESET').fail('sendmmsg', 0.01, 'EPIPE');
    const makePair: MakePair = (options) => SeqpacketSocket.pair(options);
    await exchangeUnder(resetting, makePair, count(5_000, 200_000), context, (way) => {
      endings.add(way.ending);
      for (const code of way.refused) codes.add(code);
      assert.ok(isInOrder(way.received, [...Array(MESSAGES).keys()]));
    });
    assert.ok(endings.has('ECONNRESET') && codes.has('EPIPE'), `${[...endings]} ${[...codes]}`);
  });
});
