import * as assert from 'uvu/assert';
import type { Contender, Question, Sample } from '../../bench/harness/question.ts';
import { runRounds, spreadOf } from '../../bench/harness/rounds.ts';
import { suite } from '../support/suite.ts';

const quiet = (): void => {};

/** A contender that answers with `costs` in turn, and notes that it was asked. */
function contender(name: string, costs: readonly number[], calls: string[], against?: string): Contender {
  const left = [...costs];
  const measure = async (): Promise<Sample> => {
    calls.push(name);
    return { cost: left.shift() ?? Number.NaN };
  };
  return { name, against, measure };
}

function questionOf(contenders: readonly Contender[]): Question {
  const cost = { key: 'cost', label: 'cost', meaning: 'what it costs', digits: 1, compared: true };
  return { title: 'cost', work: 'nothing', metrics: [cost], contenders, notes: [] };
}

suite('rounds of a bench', (test) => {
  test('measure the contenders in turn, warm-up first', async () => {
    const calls: string[] = [];
    const contenders = ['a', 'b', 'c'].map((name) => contender(name, [1, 2, 3], calls));
    await runRounds(questionOf(contenders), { rounds: 2, warmUpRounds: 1 }, quiet);
    assert.equal(calls.join(''), 'abcabcabc');
  });

  test('do not count the warm-up', async () => {
    const contenders = [contender('a', [100, 1, 1], [])];
    const [outcome] = await runRounds(questionOf(contenders), { rounds: 2, warmUpRounds: 1 }, quiet);
    assert.equal(outcome?.figures.cost, { median: 1, min: 1, max: 1 });
  });

  // A machine that is twice as slow in one round says nothing about a contender.
  test('give the median of the ratios within each round, not the ratio of the medians', async () => {
    const contenders = [contender('limit', [1, 10, 100], []), contender('b', [4, 20, 300], [])];
    const [, outcome] = await runRounds(questionOf(contenders), { rounds: 3, warmUpRounds: 0 }, quiet);
    assert.equal(outcome?.ratios.cost, { median: 3, min: 2, max: 4 });
    assert.equal(outcome?.figures.cost, { median: 20, min: 4, max: 300 });
  });

  test('hold a contender against the one that it names, else against the first', async () => {
    const contenders = [
      contender('limit', [1], []),
      contender('b', [2], []),
      contender('b+idle', [3], [], 'b'),
      contender('c+idle', [4], [], 'not measured'),
    ];
    const outcomes = await runRounds(questionOf(contenders), { rounds: 1, warmUpRounds: 0 }, quiet);
    assert.equal(
      outcomes.map(({ against, ratios }) => [against, ratios.cost?.median]),
      [
        ['limit', 1],
        ['limit', 2],
        ['b', 1.5],
        ['limit', 4],
      ],
    );
  });

  test('end with the name of the contender that gave no figure', async () => {
    const failing: Contender = { name: 'b', measure: () => Promise.reject(new Error('a wrong byte')) };
    const question = questionOf([contender('a', [1], []), failing]);
    try {
      await runRounds(question, { rounds: 1, warmUpRounds: 0 }, quiet);
    } catch (error) {
      assert.match(String(error), 'b gave no figure');
      return;
    }
    assert.unreachable('the bench went on');
  });

  test('refuse a sample that lacks a figure', async () => {
    try {
      await runRounds(questionOf([contender('a', [], [])]), { rounds: 1, warmUpRounds: 0 }, quiet);
    } catch (error) {
      assert.match(String(error), 'a sample lacks cost');
      return;
    }
    assert.unreachable('the bench went on');
  });
});

suite('the spread of figures', (test) => {
  test('has the middle one, or the mean of the two in the middle', () => {
    assert.equal(spreadOf([3, 1, 2]), { median: 2, min: 1, max: 3 });
    assert.equal(spreadOf([10, 1, 2, 4]), { median: 3, min: 1, max: 10 });
  });

  test('sorts by value, not as text', () => {
    assert.equal(spreadOf([10, 9, 100]), { median: 10, min: 9, max: 100 });
  });

  test('refuses to be of nothing', () => {
    assert.throws(() => spreadOf([]), 'no values');
  });
});
