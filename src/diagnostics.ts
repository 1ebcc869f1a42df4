import { channel } from 'node:diagnostics_channel';
import type { Address } from './address.ts';
import type { BackendName } from './backend.ts';

/** A channel of `node:diagnostics_channel` that has messages of one shape. */
export interface DiagnosticsChannel<Message> {
  /** As `node:diagnostics_channel` knows it. */
  readonly name: string | symbol;
  /** Whether anybody listens; if not, there are no messages. */
  readonly hasSubscribers: boolean;
  /** Calls `listener` with each message, within the call that it tells of. What it throws is an uncaughtException. */
  subscribe(listener: (message: Message, name: string | symbol) => void): void;
  /** The end of {@link subscribe}. */
  unsubscribe(listener: (message: Message, name: string | symbol) => void): void;
  /** @internal */
  publish(message: Message): void;
}

/** The {@link IOLoop} of a message. */
export interface DiagnosedLoop {
  readonly backend: BackendName;
  readonly drive: 'node' | 'manual';
}

/** The server of a message: a {@link TCPServer}, {@link UDPServer} ... */
export interface DiagnosedServer {
  readonly addresses: readonly Address[];
}

/** The connection of a message: an {@link IOStream} or a {@link SeqpacketSocket}, in all messages the same object. */
export interface DiagnosedConnection {
  readonly fd: number;
  /** Bytes that came and left, on the wire; of sockets that count no bytes, nothing. */
  readonly bytesRead?: number;
  readonly bytesWritten?: number;
  /** What ended it; null: nothing went wrong. */
  readonly error?: Error | null;
}

/** Whom a client connects to: the target that {@link IOStream.connect} was given. */
export type DiagnosedTarget =
  | { readonly host?: string | undefined; readonly port: number }
  | { readonly path: string };

/** A loop was made, or has ended. */
export interface LoopMessage {
  readonly loop: DiagnosedLoop;
}

/** A server listens at `address`, or does so no more. */
export interface ServerMessage {
  readonly server: DiagnosedServer;
  readonly address: Address;
}

/** A connection that a server has accepted or adopted, and who is at its other end. */
export interface ConnectionMessage extends ServerMessage {
  /** Below TLS, if it was accepted by the server that speaks that. */
  readonly connection: DiagnosedConnection;
}

/** A client whom a server does not serve, or no longer. */
export interface DropMessage {
  readonly server: DiagnosedServer;
  /** As `onDrop` is told. */
  readonly reason: string;
  readonly address: Address | null;
}

/** What user code threw or rejected with, when it goes to `onError`, or becomes an uncaughtException without one. */
export interface ErrorMessage {
  readonly error: unknown;
  /** null: it was a handler, timer or callback of the loop. */
  readonly server: DiagnosedServer | null;
  /** Whom the server served; of a datagram, nothing. */
  readonly connection: DiagnosedConnection | null;
}

/** A client connects: {@link IOStream.connect}, and what goes by that. */
export interface ClientMessage {
  readonly target: DiagnosedTarget;
}

/** A client is connected, TLS included, or was. */
export interface ClientConnectionMessage extends ClientMessage {
  readonly connection: DiagnosedConnection;
}

/** A client could not connect. */
export interface ClientFailureMessage extends ClientMessage {
  readonly error: unknown;
}

/** What loops, servers and clients of this thread tell, each by the channel of its name. */
export interface Diagnostics {
  /** `ioloop.loop.created` */
  readonly loopCreated: DiagnosticsChannel<LoopMessage>;
  /** `ioloop.loop.closed`: its descriptors are being closed. */
  readonly loopClosed: DiagnosticsChannel<LoopMessage>;
  /** `ioloop.server.listening` */
  readonly serverListening: DiagnosticsChannel<ServerMessage>;
  /** `ioloop.server.stopped`: it accepts no more there. */
  readonly serverStopped: DiagnosticsChannel<ServerMessage>;
  /** `ioloop.connection.opened`: before the TLS handshake and a `verifyRequest` that takes its time. */
  readonly connectionOpened: DiagnosticsChannel<ConnectionMessage>;
  /** `ioloop.connection.closed`: its descriptor is gone, or another's. */
  readonly connectionClosed: DiagnosticsChannel<ConnectionMessage>;
  /** `ioloop.connection.dropped` */
  readonly connectionDropped: DiagnosticsChannel<DropMessage>;
  /** `ioloop.datagram.dropped`: no handler got it. */
  readonly datagramDropped: DiagnosticsChannel<DropMessage>;
  /** `ioloop.client.connecting` */
  readonly clientConnecting: DiagnosticsChannel<ClientMessage>;
  /** `ioloop.client.connected` */
  readonly clientConnected: DiagnosticsChannel<ClientConnectionMessage>;
  /** `ioloop.client.failed` */
  readonly clientFailed: DiagnosticsChannel<ClientFailureMessage>;
  /** `ioloop.client.closed`, of those that somebody listened to when they were connected. */
  readonly clientClosed: DiagnosticsChannel<ClientConnectionMessage>;
  /** `ioloop.error` */
  readonly error: DiagnosticsChannel<ErrorMessage>;
}

/** A channel that only this package publishes on, which is how its messages have their shape. */
function open<Message>(name: string): DiagnosticsChannel<Message> {
  return channel(name) as DiagnosticsChannel<Message>;
}

/**
 * The channels of `node:diagnostics_channel` on which this package tells what happens; their names are
 * part of the interface. A channel that nobody listens to costs a look.
 */
export const diagnostics: Diagnostics = {
  loopCreated: open('ioloop.loop.created'),
  loopClosed: open('ioloop.loop.closed'),
  serverListening: open('ioloop.server.listening'),
  serverStopped: open('ioloop.server.stopped'),
  connectionOpened: open('ioloop.connection.opened'),
  connectionClosed: open('ioloop.connection.closed'),
  connectionDropped: open('ioloop.connection.dropped'),
  datagramDropped: open('ioloop.datagram.dropped'),
  clientConnecting: open('ioloop.client.connecting'),
  clientConnected: open('ioloop.client.connected'),
  clientFailed: open('ioloop.client.failed'),
  clientClosed: open('ioloop.client.closed'),
  error: open('ioloop.error'),
};

/** A connection that says when it is over. */
interface ClosingConnection extends DiagnosedConnection {
  readonly whenClosed: Promise<void>;
}

/** Tells how `connecting`, a connect to `target`, fares. */
export function watchConnect<Connection extends ClosingConnection>(
  target: DiagnosedTarget,
  connecting: Promise<Connection>,
): Promise<Connection> {
  const { clientConnecting, clientConnected, clientFailed, clientClosed } = diagnostics;
  if (clientConnecting.hasSubscribers) clientConnecting.publish({ target });
  if (!clientConnected.hasSubscribers && !clientFailed.hasSubscribers && !clientClosed.hasSubscribers)
    return connecting;
  return connecting.then(
    (connection) => {
      if (clientConnected.hasSubscribers) clientConnected.publish({ target, connection });
      if (clientClosed.hasSubscribers)
        void connection.whenClosed.then(() => clientClosed.publish({ target, connection }));
      return connection;
    },
    (error: unknown) => {
      if (clientFailed.hasSubscribers) clientFailed.publish({ target, error });
      throw error;
    },
  );
}
