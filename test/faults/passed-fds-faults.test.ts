import { fstatSync } from 'node:fs';
import * as assert from 'uvu/assert';

import { IOStream } from '../../src/index.ts';
import { addon, closeStream } from '../../src/native.ts';
import { Faults } from '../support/faults.ts';
import { Random } from '../support/random.ts';
import { Sockets } from '../support/sockets.ts';
import { suite } from '../support/suite.ts';
import { count } from '../support/tier.ts';

const MESSAGES = 100;
const MOST_FDS = 5;
const CALLS = ['recvmsg', 'sendmsg', 'send'] as const;

/** What descriptors have to survive: nothing of it is seen by whoever sends or takes them. */
function harmlessFaults(seed: number): Faults {
  const faults = new Faults(seed);
  for (const call of CALLS) faults.fail(call, 0.1, 'EAGAIN').fail(call, 0.1, 'EINTR').shorten(call, 0.4);
  return faults.fail('sendmsg', 0.1, 'ENOBUFS').fail('send', 0.1, 'ENOBUFS');
}

/** Which file a descriptor is of. */
const fileOf = (fd: number): number => fstatSync(fd).ino;

/** Sends descriptors, and plain bytes between them; what arrived, in order. */
async function exchange(
  left: IOStream,
  right: IOStream,
  fds: readonly number[],
  seed: number,
): Promise<void> {
  const random = new Random(seed);
  const expected: number[] = [];
  const came: number[] = [];
  const reading = (async () => {
    for (let message = 0; message < MESSAGES; message++) {
      const head = await right.readUntil('\n');
      const wanted = Number(head);
      const taken = right.takeFds(wanted);
      assert.is(taken.length, wanted, `message ${message}`);
      came.push(...taken.map(({ fd }) => fileOf(fd)));
      for (const fd of taken) fd.close();
    }
  })();
  for (let message = 0; message < MESSAGES; message++) {
    const passed = fds.slice(0, random.below(MOST_FDS + 1));
    const text = `${String(passed.length).padStart(1 + random.below(2000), ' ')}\n`;
    if (passed.length === 0) await left.write(text);
    else void left.sendFds(passed, text);
    expected.push(...passed.map(fileOf));
  }
  await reading;
  assert.equal(came, expected);
}

suite('descriptors over faulty system calls', { limitMs: 600_000 }, (test) => {
  test('arrive whole, once and in order', async (context) => {
    const sockets = new Sockets(context.defer);
    const fds = Array.from({ length: MOST_FDS }, () => sockets.pair()[0]);
    const total = { calls: 0, faults: 0 };
    for (let seed = 1; total.faults < count(5_000, 200_000); seed++) {
      const [near, far] = sockets.pairToKeep();
      const left = IOStream.fromFd(near, { loop: context.loop });
      const right = IOStream.fromFd(far, { loop: context.loop, receiveFds: 10_000 });
      const faults = harmlessFaults(seed);
      try {
        await exchange(left, right, fds, seed);
        const { calls, faults: met } = faults.count(...CALLS);
        total.calls += calls;
        total.faults += met;
      } finally {
        faults.remove();
        await Promise.all([left.close(), right.close()]);
      }
    }
    assert.ok(total.faults >= total.calls * 0.2, `only ${total.faults} of ${total.calls} calls met a fault`);
  });

  test('are closed when the call that sends them fails for good', async (context) => {
    const sockets = new Sockets(context.defer);
    const passed = addon().openSpare();
    for (const code of ['EPIPE', 'ECONNRESET', 'EBADF'] as const) {
      const [near, far] = sockets.pairToKeep();
      const left = IOStream.fromFd(near, { loop: context.loop });
      const right = IOStream.fromFd(far, { loop: context.loop, receiveFds: 8 });
      const faults = new Faults(1).fail('sendmsg', 1, code);
      await left.sendFds([passed, passed], 'x').then(
        () => assert.unreachable(),
        () => {},
      );
      faults.remove();
      assert.ok(left.closed && left.error !== null && /^send /.test(left.error.message), code);
      await right.whenClosed;
      assert.equal(right.takeFds(), []);
    }
    closeStream(passed);
  });
});
