import type { DiagnosedConnection } from '../diagnostics.ts';

// What a server asks of its connections. The published declarations have none of these members: there any
// connection will do.

/** What a server can end. */
export interface OwnedConnection {
  /** @internal Whether nothing is under way. */
  readonly isIdle: boolean;
  /** @internal Delivers what is queued, then closes. */
  close(error?: Error): Promise<void>;
  /** @internal Closes at once. */
  abort(): void;
}

/** A connection, as its server sees it. */
export interface ServedConnection extends OwnedConnection, DiagnosedConnection {
  /** @internal Whether it sends no more. */
  readonly closed: boolean;
  /** @internal Who looks after it. */
  readonly owner: object | null;
  /** @internal Whether somebody reads, or will be told of what comes. */
  readonly isRead: boolean;
  /** @internal Keeps it from closing by itself while a handler is at work. */
  hold(): void;
  /** @internal The end of {@link hold}. */
  release(): void;
}
