import * as assert from 'uvu/assert';

import { IOLoopError } from '../../src/index.ts';
import { IOStream } from '../../src/stream/io-stream.ts';
import { Faults, type SystemCall } from '../support/faults.ts';
import { drawFrames, readFrames, writeFrames } from '../support/frames.ts';
import { Random } from '../support/random.ts';
import { Sockets } from '../support/sockets.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { count, long } from '../support/tier.ts';
import { within } from '../support/within.ts';

const PAIRS = 32;
const FRAMES = 100;
const ROUND_LIMIT_MS = 60_000;
const CALLS: readonly SystemCall[] = ['recv', 'send', 'sendmsg', 'epollWait'];

/** What streams have to survive without anybody noticing. */
function harmlessFaults(seed: number): Faults {
  const faults = new Faults(seed);
  faults.fail('recv', 0.1, 'EAGAIN').fail('recv', 0.05, 'EINTR').shorten('recv', 0.4);
  for (const call of ['send', 'sendmsg'] as const)
    faults.fail(call, 0.1, 'EAGAIN').fail(call, 0.05, 'EINTR').fail(call, 0.05, 'ENOBUFS').shorten(call, 0.4);
  return faults.fail('epollWait', 0.1, 'EINTR').reorder('epollWait', 0.3).repeat('epollWait', 0.2);
}

/** What goes over one connection: both ways at once, frames that follow from a seed. */
class Exchange {
  readonly #ends: readonly [IOStream, IOStream];
  readonly #seed: number;
  /** How often each end told of the peer's end, and of its own. */
  readonly told: { ended: number; closed: number }[] = [];

  constructor(sockets: Sockets, { loop }: TestContext, seed: number) {
    const open = (fd: number): IOStream => {
      const told = { ended: 0, closed: 0 };
      this.told.push(told);
      const stream = IOStream.fromFd(fd, { loop, allowHalfOpen: true });
      stream.onEnd(() => void told.ended++);
      stream.onClose(() => void told.closed++);
      return stream;
    };
    const [near, far] = sockets.pairToKeep();
    this.#ends = [open(near), open(far)];
    this.#seed = seed;
  }

  /** How each of the four writers and readers ended, once both streams are closed. */
  async run(): Promise<PromiseSettledResult<unknown>[]> {
    const [near, far] = this.#ends;
    const frames = (way: number) => drawFrames(new Random(this.#seed * 2 + way), FRAMES);
    const results = await Promise.allSettled([
      writeFrames(near, frames(0)),
      readFrames(far, frames(0)),
      writeFrames(far, frames(1)),
      readFrames(near, frames(1)),
    ]);
    await Promise.all(this.#ends.map((stream) => stream.close()));
    return results;
  }
}

/** Runs {@link PAIRS} exchanges at a time on real sockets until so many faults were met; `check` each when it is over. */
async function exchangeUnder(
  makeFaults: (seed: number) => Faults,
  faultsToMeet: number,
  context: TestContext,
  check: (exchange: Exchange, results: PromiseSettledResult<unknown>[]) => void,
): Promise<void> {
  const sockets = new Sockets(context.defer);
  const total = { calls: 0, faults: 0 };
  for (let round = 1; total.faults < faultsToMeet; round++) {
    const exchanges = Array.from({ length: PAIRS }, (_, pair) => {
      return new Exchange(sockets, context, round * PAIRS + pair);
    });
    const faults = makeFaults(round);
    try {
      const all = Promise.all(exchanges.map((exchange) => exchange.run()));
      const results = await within(ROUND_LIMIT_MS, all, `the end of all streams of seed ${round}`);
      for (const [pair, exchange] of exchanges.entries()) check(exchange, results[pair] ?? []);
      const { calls, faults: met } = faults.count(...CALLS);
      total.calls += calls;
      total.faults += met;
    } finally {
      faults.remove();
    }
  }
  assert.ok(total.faults >= total.calls * 0.2, `only ${total.faults} of ${total.calls} calls met a fault`);
}

suite('streams under faults', { limitMs: long ? 3_600_000 : 300_000 }, (test) => {
  test('lose, double and reorder no byte, and tell each end once', async (context) => {
    await exchangeUnder(harmlessFaults, count(200_000, 5_000_000), context, (exchange, results) => {
      for (const result of results) if (result.status === 'rejected') throw result.reason;
      assert.equal(exchange.told, [
        { ended: 1, closed: 1 },
        { ended: 1, closed: 1 },
      ]);
    });
  });

  test('that are reset in the middle deliver nothing wrong before, and settle every wait', async (context) => {
    let resets = 0;
    const fatalFaults = (seed: number): Faults =>
      harmlessFaults(seed).fail('recv', 0.001, 'ECONNRESET').fail('send', 0.001, 'EPIPE');
    await exchangeUnder(fatalFaults, count(20_000, 500_000), context, (exchange, results) => {
      for (const result of results) {
        if (result.status === 'fulfilled') continue;
        if (!IOLoopError.is(result.reason, 'ERR_IOLOOP_STREAM_CLOSED')) throw result.reason;
        resets++;
      }
      for (const { ended, closed } of exchange.told) {
        assert.is(closed, 1);
        assert.ok(ended <= 1);
      }
    });
    assert.ok(resets > 0, 'no stream was reset');
  });
});
