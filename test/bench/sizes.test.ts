import * as assert from 'uvu/assert';
import { metricsBySize, sampleBySize } from '../../bench/harness/sizes.ts';
import { suite } from '../support/suite.ts';

const cost = { key: 'cost', label: 'us', meaning: 'what it costs', digits: 1, compared: true };

suite('a bench of several sizes', (test) => {
  test('has a column for each, and explains the first', () => {
    const metrics = metricsBySize([cost], [64, 1_200]);
    assert.equal(
      metrics.map(({ label, meaning }) => [label, meaning]),
      [
        ['64 B us', 'what it costs'],
        ['1200 B us', 'the same'],
      ],
    );
  });

  test('measures them in turn, each for its own column', async () => {
    const asked: number[] = [];
    const sample = await sampleBySize([64, 1_200], async (size) => {
      asked.push(size);
      return { cost: size / 2 };
    });
    assert.equal(asked, [64, 1_200]);
    assert.equal(
      metricsBySize([cost], [64, 1_200]).map(({ key }) => sample[key]),
      [32, 600],
    );
  });
});
