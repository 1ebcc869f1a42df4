import { writeFileSync } from 'node:fs';
import type { Machine } from './machine.ts';
import type { BenchOptions } from './options.ts';
import type { Metric, Question } from './question.ts';
import type { Outcome, Spread } from './rounds.ts';

/** One finished bench. */
export interface Report {
  readonly question: Question;
  readonly options: BenchOptions;
  readonly commandLine: string;
  readonly machine: Machine;
  readonly loadAverageAfter: readonly number[];
  readonly outcomes: readonly Outcome[];
}

/** The report for people: what was asked, where, the table, and what each figure means. */
export function formatReport(report: Report): string {
  const { question, options, machine } = report;
  const pinning = machine.pinned ? 'a core each for server and generator' : 'NOT PINNED';
  const load = (values: readonly number[]): string => values.map((value) => value.toFixed(2)).join(' ');
  return [
    `${question.title}: ${question.work}`,
    '',
    `  command   ${report.commandLine}`,
    `  machine   ${machine.processor}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.kernel}`,
    `  software  Node ${machine.node}, commit ${machine.commit}, ${machine.date}`,
    `  load      ${load(machine.loadAverage)} before, ${load(report.loadAverageAfter)} after; ${pinning}`,
    `  rounds    ${options.rounds} counted, contenders in turn; medians, with the least and greatest ratio`,
    ...question.notes.map((note) => `  note      ${note}`),
    '',
    ...formatTable(question, report.outcomes),
    '',
    ...question.metrics.map(({ label, meaning }) => `  ${label}: ${meaning}`),
    ...(options.quick ? ['', 'A smoke run: these figures mean nothing.'] : []),
  ].join('\n');
}

/** Writes the report for programs: every sample of every round. */
export function writeJson(file: string, report: Report): void {
  const { title, work, metrics, notes } = report.question;
  const content = { ...report, question: { title, work, metrics, notes } };
  writeFileSync(file, `${JSON.stringify(content, null, 2)}\n`);
}

function formatTable(question: Question, outcomes: readonly Outcome[]): string[] {
  const header = ['contender', ...question.metrics.flatMap(headingsOf)];
  const reference = question.contenders[0]?.name;
  const rows = outcomes.map((outcome) => [
    outcome.name,
    ...question.metrics.flatMap((metric) => cellsOf(metric, outcome, reference)),
  ]);
  const widths = header.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd();
  return [line(header), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)];
}

function headingsOf(metric: Metric): string[] {
  return metric.compared ? [metric.label, 'ratio'] : [metric.label];
}

function cellsOf(metric: Metric, outcome: Outcome, reference: string | undefined): string[] {
  const figure = outcome.figures[metric.key]?.median.toFixed(metric.digits) ?? '';
  if (!metric.compared) return [figure];
  return [figure, formatRatio(outcome.ratios[metric.key], outcome, reference)];
}

/** '1.10 (1.09-1.11)', with the name of what it was held against where that is not the first contender. */
function formatRatio(ratio: Spread | undefined, outcome: Outcome, reference: string | undefined): string {
  if (ratio === undefined) return '';
  if (outcome.name === outcome.against) return 'reference';
  const against = outcome.against === reference ? '' : ` x ${outcome.against}`;
  return `${ratio.median.toFixed(2)}${against} (${ratio.min.toFixed(2)}-${ratio.max.toFixed(2)})`;
}
