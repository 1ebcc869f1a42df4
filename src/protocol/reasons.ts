/** The connection was closed in order: by the peer, or by {@link Transport.loseConnection}. */
export class ConnectionDone extends Error {
  override readonly name = 'ConnectionDone';

  constructor(message = 'the connection was closed', options?: ErrorOptions) {
    super(message, options);
  }
}

/** The connection broke: `cause` says by what, a SystemError for what the kernel said. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost';

  constructor(message = 'the connection was lost', options?: ErrorOptions) {
    super(message, options);
  }
}

/** The connection was reset by this side: {@link Transport.abortConnection}. */
export class ConnectionAborted extends Error {
  override readonly name = 'ConnectionAborted';

  constructor(message = 'the connection was aborted', options?: ErrorOptions) {
    super(message, options);
  }
}

/** Why a connection is over. */
export type Reason = ConnectionDone | ConnectionLost | ConnectionAborted;
