/**
 * Twisted's words: protocols and their factories, transports, connectors.
 *
 * @module
 */
export { ClientFactory, type Connector } from './client-factory.ts';
export { type ConnectTcpOptions, connectTcp, connectTls, connectUnix } from './connect.ts';
export {
  type ListenTcpOptions,
  type ListenUnixOptions,
  listenTcp,
  listenTls,
  listenUnix,
} from './listen.ts';
export type { ListeningPort } from './listening-port.ts';
export { Factory, Protocol } from './protocol.ts';
export { ConnectionAborted, ConnectionDone, ConnectionLost, type Reason } from './reasons.ts';
export { ReconnectingClientFactory } from './reconnecting-client-factory.ts';
export type { Consumer, Producer, Transport } from './transport.ts';
