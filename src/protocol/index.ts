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
export { TCPClientEndpoint, UnixClientEndpoint } from './endpoints/client-endpoints.ts';
export {
  type ClientEndpointMaker,
  type ClientEndpointOptions,
  clientFromString,
  registerClientEndpoint,
} from './endpoints/client-from-string.ts';
export {
  EndpointArguments,
  EndpointDescription,
  type EndpointParameters,
  quoteStringArgument,
} from './endpoints/description.ts';
export { type ClientEndpoint, connectProtocol, type ServerEndpoint } from './endpoints/endpoint.ts';
export type { EndpointMaker } from './endpoints/endpoint-types.ts';
export {
  AdoptedServerEndpoint,
  StandardIOEndpoint,
  TCPServerEndpoint,
  UnixServerEndpoint,
} from './endpoints/server-endpoints.ts';
export {
  registerServerEndpoint,
  type ServerEndpointMaker,
  type ServerEndpointOptions,
  serverFromString,
} from './endpoints/server-from-string.ts';
export { FileSender, type FileSource } from './file-sender.ts';
export { BoundedFramer, type BoundedFramerOptions } from './framing/bounded-framer.ts';
export { FixedLengthFramer } from './framing/fixed-length-framer.ts';
export { Framer, type FramerOptions } from './framing/framer.ts';
export { frames } from './framing/frames.ts';
export { LineFramer, type LineFramerOptions } from './framing/line-framer.ts';
export { encodeNetstring, NetstringFramer, NetstringParseError } from './framing/netstring-framer.ts';
export { encodePrefixed, PrefixFramer, type PrefixSize } from './framing/prefix-framer.ts';
export { type FramingState, StateFramer } from './framing/state-framer.ts';
export {
  type ListenTcpOptions,
  type ListenUnixOptions,
  listenTcp,
  listenTls,
  listenUnix,
} from './listen.ts';
export { adoptDatagramPort, type ListenUdpOptions, listenUdp } from './listen-udp.ts';
export {
  type ConnectUnixDatagramOptions,
  connectUnixDatagram,
  type ListenUnixDatagramOptions,
  listenUnixDatagram,
} from './listen-unix-datagram.ts';
export type { ListeningPort } from './listening-port.ts';
export { IdleTimer } from './policies/idle-timer.ts';
export { LimitConnectionsByPeer, type PeerLimitOptions } from './policies/limit-connections-by-peer.ts';
export { LimitTotalConnectionsFactory, type TotalLimitOptions } from './policies/limit-total-connections.ts';
export { ProtocolWrapper, type WrapperRegistry } from './policies/protocol-wrapper.ts';
export { ThrottlingFactory, type ThrottlingOptions } from './policies/throttling-factory.ts';
export { TimeoutFactory, type TimeoutOptions, TimeoutProtocol } from './policies/timeout-factory.ts';
export {
  type LoggedConnection,
  type TrafficEvent,
  type TrafficLog,
  type TrafficRecord,
  trafficLine,
} from './policies/traffic-log.ts';
export { TrafficLoggingFactory, type TrafficLoggingOptions } from './policies/traffic-logging-factory.ts';
export { WrappingFactory } from './policies/wrapping-factory.ts';
export { Factory, Protocol } from './protocol.ts';
export { ConnectionAborted, ConnectionDone, ConnectionLost, type Reason } from './reasons.ts';
export { FixedLengthReceiver } from './receivers/fixed-length-receiver.ts';
export { FramedProtocol } from './receivers/framed-protocol.ts';
export {
  Int8StringReceiver,
  Int16StringReceiver,
  Int32StringReceiver,
  IntStringReceiver,
} from './receivers/int-string-receivers.ts';
export { LineOnlyReceiver, LineReceiver } from './receivers/line-receiver.ts';
export { NetstringReceiver } from './receivers/netstring-receiver.ts';
export { StatefulProtocol } from './receivers/stateful-protocol.ts';
export { ReconnectingClientFactory } from './reconnecting-client-factory.ts';
export { connectStandardIO } from './standard-io.ts';
export type { Consumer, Producer, Transport } from './transport.ts';
