export type { Address, InetAddress, UnixAddress } from './address.ts';
export type { BackendName } from './backend.ts';
export { type Capabilities, capabilities } from './capabilities.ts';
export type { DatagramBatch, DatagramInfo } from './datagram/datagram-batch.ts';
export {
  type Datagram,
  DatagramSocket,
  type OutgoingDatagram,
} from './datagram/datagram-socket.ts';
export type { MessageBatch } from './datagram/message-batch.ts';
export type { MessageOptions } from './datagram/message-options.ts';
export type { MessageSocket } from './datagram/message-socket.ts';
export type { MembershipOptions, MulticastSocket } from './datagram/multicast-socket.ts';
export {
  type SeqpacketMessage,
  type SeqpacketOptions,
  SeqpacketSocket,
} from './datagram/seqpacket-socket.ts';
export type { DatagramOptions } from './datagram/udp-options.ts';
export type { UnixDatagramBatch, UnixMessageBatch } from './datagram/unix-batch.ts';
export {
  type OutgoingUnixDatagram,
  type UnixDatagram,
  type UnixDatagramOptions,
  UnixDatagramSocket,
} from './datagram/unix-datagram-socket.ts';
export { type ClockOptions, type DelayOptions, delay, timeout } from './delay.ts';
export {
  type ClientConnectionMessage,
  type ClientFailureMessage,
  type ClientMessage,
  type ConnectionMessage,
  type DiagnosedConnection,
  type DiagnosedLoop,
  type DiagnosedServer,
  type DiagnosedTarget,
  type Diagnostics,
  type DiagnosticsChannel,
  type DropMessage,
  diagnostics,
  type ErrorMessage,
  type LoopMessage,
  type ServerMessage,
} from './diagnostics.ts';
export {
  AbortError,
  IOLoopError,
  type IOLoopErrorCode,
  LimitError,
  SystemError,
  TimeoutError,
} from './errors.ts';
export type { Handler } from './handler.ts';
export { Interest, Ready } from './interest.ts';
export { IOLoop, type LoopMetrics, type LoopOptions, type WaitOptions } from './ioloop.ts';
export type { BaseServer, ServingOptions } from './net/base-server.ts';
export type { ListenOptions } from './net/bind-sockets.ts';
export type { ConnectionHandler, ConnectionServer } from './net/connection-server.ts';
export type { DatagramDropReason, DatagramServerOptions } from './net/datagram-options.ts';
export type { DatagramRequest, UDPRequest, UnixDatagramRequest } from './net/datagram-request.ts';
export { DatagramRequestHandler } from './net/datagram-request-handler.ts';
export type { DatagramHandler, DatagramServer } from './net/datagram-server.ts';
export { type InheritedFd, listenFds } from './net/listen-fds.ts';
export { BaseRequestHandler, type RequestHandlerClass } from './net/request-handler.ts';
export {
  type SeqpacketHandler,
  SeqpacketServer,
  type SeqpacketServerOptions,
} from './net/seqpacket-server.ts';
export type { ConnectionServerOptions, DropReason, ServerOptions } from './net/server-options.ts';
export { StreamRequestHandler } from './net/stream-request-handler.ts';
export { type StreamHandler, StreamServer } from './net/stream-server.ts';
export { TCPServer } from './net/tcp-server.ts';
export {
  type UDPHandler,
  type UDPListenOptions,
  UDPServer,
  type UDPServerOptions,
} from './net/udp-server.ts';
export {
  type UnixDatagramHandler,
  UnixDatagramServer,
  type UnixDatagramServerOptions,
} from './net/unix-datagram-server.ts';
export type { UnixListenOptions } from './net/unix-listeners.ts';
export { UnixServer } from './net/unix-server.ts';
export { OwnedFd } from './owned-fd.ts';
export type { PeerCredentials } from './peer-credentials.ts';
export { PeriodicCallback } from './periodic-callback.ts';
export * from './protocol/index.ts';
export type { Bytes } from './stream/base-stream.ts';
export { type StreamDuplex, toDuplex } from './stream/duplex.ts';
export { encodeProxyHeader, type ProxyHeaderOptions } from './stream/encode-proxy-header.ts';
export {
  type ConnectOptions,
  type ConnectTarget,
  IOStream,
  type StartTlsOptions,
  StreamClosedError,
} from './stream/io-stream.ts';
export { PipeIOStream } from './stream/pipe-stream.ts';
export {
  type ProxyDetails,
  type ProxyHeader,
  ProxyHeaderError,
  type ProxySsl,
  type ProxyTlv,
} from './stream/proxy-header.ts';
export { ProxyHeaderParser } from './stream/proxy-header-parser.ts';
export type { Chunk } from './stream/read-buffer.ts';
export type { SocketOptions } from './stream/socket-option-table.ts';
export { type StandardIOOptions, StandardIOStream } from './stream/standard-io-stream.ts';
export type { StreamOptions } from './stream/stream-options.ts';
export type { TcpInfo } from './tcp-info.ts';
export type { TimerHandle } from './timer.ts';
export { Waker, type WakerHandle } from './waker.ts';
