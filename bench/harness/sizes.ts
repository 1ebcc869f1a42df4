import type { Metric, Sample } from './question.ts';

/** `metrics` for messages of each of these sizes: the columns of one table. */
export function metricsBySize(metrics: readonly Metric[], sizes: readonly number[]): Metric[] {
  return sizes.flatMap((size, index) =>
    metrics.map((metric) => ({
      ...metric,
      key: keyAt(metric.key, size),
      label: `${size} B ${metric.label}`,
      meaning: index === 0 ? metric.meaning : 'the same',
    })),
  );
}

/** One sample for {@link metricsBySize}: what `measure` finds for each size, in turn. */
export async function sampleBySize(
  sizes: readonly number[],
  measure: (size: number) => Promise<Sample>,
): Promise<Sample> {
  const figures: [string, number][] = [];
  for (const size of sizes) {
    const sample = await measure(size);
    figures.push(
      ...Object.entries(sample).map(([key, value]): [string, number] => [keyAt(key, size), value]),
    );
  }
  return Object.fromEntries(figures);
}

const keyAt = (key: string, size: number): string => `${key}At${size}B`;
