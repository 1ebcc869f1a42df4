/**
 * Twisted's words: protocols and their factories, transports, connectors.
 *
 * @module
 */
export { ClientFactory, type Connector } from './client-factory.ts';
export { type ConnectTcpOptions, connectTcp, connectTls, connectUnix } from './connect.ts';
export { AbstractDatagramProtocol, DatagramProtocol, UnixDatagramProtocol } from './datagram-protocol.ts';
export type {
  DatagramTransport,
  UdpTarget,
  UdpTransport,
  UnixDatagramTransport,
  UnixTarget,
} from './datagram-transport.ts';
export {
  addReader,
  addWriter,
  type FileDescriptor,
  getReaders,
  getWriters,
  type ReadDescriptor,
  removeAll,
  removeReader,
  removeWriter,
  type WriteDescriptor,
} from './descriptors.ts';
export {
  type ListenTcpOptions,
  type ListenUnixOptions,
  listenTcp,
  listenTls,
  listenUnix,
} from './listen.ts';
export { type ListenUdpOptions, listenUdp } from './listen-udp.ts';
export {
  type ConnectUnixDatagramOptions,
  connectUnixDatagram,
  type ListenUnixDatagramOptions,
  listenUnixDatagram,
} from './listen-unix-datagram.ts';
export type { ListeningPort } from './listening-port.ts';
export { Factory, Protocol } from './protocol.ts';
export { ConnectionAborted, ConnectionDone, ConnectionLost, type Reason } from './reasons.ts';
export { ReconnectingClientFactory } from './reconnecting-client-factory.ts';
export type { Consumer, Producer, Transport } from './transport.ts';
