/** Something whose things live on a loop: its streams, its servers. */
export interface LoopPart {
  /** The turn's microtasks have run: what it put off until then is due. */
  settle(): void;
  /** Ends its things in order; settles when they are gone, by force after `graceMs` at the latest. */
  close(graceMs: number): Promise<void>;
  /** Ends them at once. */
  abort(): void;
  /** Adds what it holds and has done to the loop's metrics. */
  measure(metrics: PartMetrics): void;
}

/** What parts have part in. */
export type PartMetrics = Record<
  'streams' | 'bytesBuffered' | 'bytesQueued' | 'acceptsShed' | 'datagramsDropped',
  number
>;
