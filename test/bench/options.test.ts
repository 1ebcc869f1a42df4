import * as assert from 'uvu/assert';
import { loadOf } from '../../bench/harness/load.ts';
import { parseBenchOptions } from '../../bench/harness/options.ts';
import { suite } from '../support/suite.ts';

suite('the options of a bench', (test) => {
  test('leave to the question what was not asked for', () => {
    const load = loadOf(parseBenchOptions([]), 'lines', 16);
    assert.equal([load.connections, load.pipeline, load.size], [50, 16, 64]);
  });

  test('go before what the question asks with', () => {
    const load = loadOf(parseBenchOptions(['--pipeline=1', '--connections=7']), 'lines', 16);
    assert.equal([load.connections, load.pipeline], [7, 1]);
  });

  for (const wrong of [
    '--pipeline=0',
    '--connections=some',
    '--connections=',
    '--seconds=0',
    '--size=1.5',
    '--batch=65',
  ]) {
    test(`refuse ${wrong} by name`, () => {
      const name = wrong.slice(0, wrong.indexOf('='));
      assert.throws(
        () => parseBenchOptions([wrong]),
        (error: unknown) => error instanceof TypeError && error.message.startsWith(name),
      );
    });
  }

  test('leave the sizes and the batch of messages to the question, too', () => {
    const asked = parseBenchOptions(['--size=1', '--batch=64']);
    assert.equal([asked.size, asked.batch], [1, 64]);
    const { size, batch } = parseBenchOptions([]);
    assert.equal([size, batch], [undefined, undefined]);
  });

  test('refuse one that does not exist', () => {
    assert.throws(() => parseBenchOptions(['--protocol=echo']), /--protocol/);
  });
});
