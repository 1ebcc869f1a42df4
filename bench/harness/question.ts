/** What one measurement found, by the keys of the question's metrics. */
export type Sample = Readonly<Record<string, number>>;

/** One figure of a sample. */
export interface Metric {
  readonly key: string;
  /** The column's heading, with the unit. */
  readonly label: string;
  /** One sentence: what the figure is, so that nobody reads it as something else. */
  readonly meaning: string;
  readonly digits: number;
  /** A figure to quote: shown with its ratio to the reference. The others are information. */
  readonly compared: boolean;
}

/** One way of doing the work. */
export interface Contender {
  readonly name: string;
  /** The contender whose sample of the same round it is divided by; the first one by default. */
  readonly against?: string | undefined;
  /**
   * Measures once, in processes of its own.
   *
   * Rejects when an answer was wrong: there is no figure for a run that did not do the work.
   */
  measure(): Promise<Sample>;
}

/** What a bench asks, and of whom. */
export interface Question {
  readonly title: string;
  /** The work, in a sentence. */
  readonly work: string;
  readonly metrics: readonly Metric[];
  /** In the order of a round; the first one is the reference. */
  readonly contenders: readonly Contender[];
  /** What is missing or not as it should be on this machine. */
  readonly notes: readonly string[];
}
