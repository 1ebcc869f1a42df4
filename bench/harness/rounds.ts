import type { BenchOptions } from './options.ts';
import type { Contender, Question, Sample } from './question.ts';

/** The middle of some figures, with the least and the greatest of them. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** All that was measured of one contender. */
export interface Outcome {
  readonly name: string;
  readonly against: string;
  /** One per counted round. */
  readonly samples: readonly Sample[];
  /** By metric. */
  readonly figures: Readonly<Record<string, Spread>>;
  /** By compared metric: of the ratios within each round, not the ratio of two medians. */
  readonly ratios: Readonly<Record<string, Spread>>;
}

/** The median, or the mean of the two in the middle. @throws RangeError for no values. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.floor((sorted.length - 1) / 2)];
  const min = sorted[0];
  const max = sorted.at(-1);
  if (upper === undefined || lower === undefined || min === undefined || max === undefined) {
    throw new RangeError('no values to take the median of');
  }
  return { median: (lower + upper) / 2, min, max };
}

/**
 * Measures every contender of `question` in turn, round by round (A B C A B C), so that what the
 * machine does meanwhile falls on all of them.
 */
export async function runRounds(
  question: Question,
  options: Pick<BenchOptions, 'rounds' | 'warmUpRounds'>,
  progress: (text: string) => void,
): Promise<Outcome[]> {
  const samples = new Map<string, Sample[]>(question.contenders.map(({ name }) => [name, []]));
  for (let round = -options.warmUpRounds; round < options.rounds; round++) {
    const title = round < 0 ? 'warm-up round' : `round ${round + 1} of ${options.rounds}`;
    for (const contender of question.contenders) {
      progress(`${title}: ${contender.name}`);
      const sample = await measureOnce(contender);
      if (round >= 0) samples.get(contender.name)?.push(sample);
    }
  }
  return question.contenders.map((contender) => outcomeOf(question, contender, samples));
}

async function measureOnce(contender: Contender): Promise<Sample> {
  try {
    return await contender.measure();
  } catch (cause) {
    throw new Error(`${contender.name} gave no figure`, { cause });
  }
}

function outcomeOf(
  question: Question,
  contender: Contender,
  samples: ReadonlyMap<string, readonly Sample[]>,
): Outcome {
  const against = referenceOf(question, contender);
  const own = samples.get(contender.name) ?? [];
  const reference = samples.get(against) ?? [];
  const figures: Record<string, Spread> = {};
  const ratios: Record<string, Spread> = {};
  for (const { key, compared } of question.metrics) {
    figures[key] = spreadOf(own.map((sample) => figureOf(sample, key)));
    if (!compared) continue;
    ratios[key] = spreadOf(
      own.map((sample, round) => figureOf(sample, key) / figureOf(reference[round] ?? {}, key)),
    );
  }
  return { name: contender.name, against, samples: own, figures, ratios };
}

/** The contender it names if that was measured, else the first one. */
function referenceOf(question: Question, contender: Contender): string {
  const named = question.contenders.find(({ name }) => name === contender.against);
  return (named ?? question.contenders[0] ?? contender).name;
}

function figureOf(sample: Sample, key: string): number {
  const value = sample[key];
  if (value === undefined || !Number.isFinite(value)) throw new Error(`a sample lacks ${key}`);
  return value;
}
