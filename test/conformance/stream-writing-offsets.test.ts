import * as assert from 'uvu/assert';

import { IOStream } from '../../src/index.ts';
import type { SimOptions } from '../../src/testing/sim.ts';
import { Random } from '../support/random.ts';
import { simNetwork } from '../support/sim.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { count } from '../support/tier.ts';

const KiB = 1024;

/** Sends `writes` over a network that is as `options` say; what arrives. */
async function transfer(
  context: TestContext,
  options: SimOptions,
  writes: readonly (string | Buffer | readonly Buffer[])[],
): Promise<Buffer> {
  const network = simNetwork(context, options);
  const loop = network.createLoop();
  return network.run(async () => {
    const [near, far] = network.connectPair();
    const [left, right] = [IOStream.fromFd(near, { loop }), IOStream.fromFd(far, { loop })];
    const received: Buffer[] = [];
    const reading = (async () => {
      for await (const chunk of right) received.push(chunk);
    })();
    let number = 0;
    for (const data of writes) {
      const written = left.write(data);
      // Some turns have one write, some have several.
      if (number++ % 3 === 2) await written;
    }
    void left.close();
    await Promise.all([reading, left.whenClosed, right.whenClosed]);
    return Buffer.concat(received);
  });
}

function flatten(writes: readonly (string | Buffer | readonly Buffer[])[]): Buffer {
  return Buffer.concat(
    writes.flatMap((data) =>
      typeof data === 'string' || Buffer.isBuffer(data) ? [Buffer.from(data)] : data,
    ),
  );
}

const MIXED = [
  'first, ',
  Buffer.from('second, '),
  [Buffer.from('third, '), Buffer.alloc(0), Buffer.from('fourth, ')],
  'fünfter, sechster',
  '',
  Buffer.from('.'),
];
const LARGE = [
  'head',
  Buffer.alloc(16 * KiB, 'large'),
  [Buffer.alloc(40 * KiB, 'larger'), Buffer.from('small'), Buffer.alloc(16 * KiB, 'x')],
  'tail',
];

suite('writes over a network that takes little', { limitMs: 60_000 }, (test) => {
  test('are whole and in order, wherever it takes no more', async (context) => {
    const expected = flatten(MIXED);
    for (let bufferSize = 1; bufferSize <= expected.length + 1; bufferSize++)
      assert.is(String(await transfer(context, { bufferSize }, MIXED)), String(expected), `${bufferSize}`);
  });

  test('are so when large ones are cut at the ends of small ones', async (context) => {
    const expected = flatten(LARGE);
    const ends = [4, 16 * KiB + 4, 56 * KiB + 4, 56 * KiB + 9, 72 * KiB + 9];
    for (const end of ends)
      for (const bufferSize of [end - 1, end, end + 1])
        assert.ok((await transfer(context, { bufferSize }, LARGE)).equals(expected), `${bufferSize}`);
  });

  test('are so when calls do little, are interrupted or would block', async (context) => {
    for (let seed = 1; seed <= count(20, 500); seed++) {
      const random = new Random(seed);
      const rough = { shortWrite: 0.7, shortRead: 0.5, spuriousAgain: 0.4, interrupt: 0.3 };
      const options = { seed, bufferSize: 1 + random.below(5_000), maxDelayMs: random.below(3), ...rough };
      const bytes = await transfer(context, options, [...MIXED, ...LARGE, ...MIXED]);
      assert.ok(bytes.equals(flatten([...MIXED, ...LARGE, ...MIXED])), `seed ${seed}`);
    }
  });
});
