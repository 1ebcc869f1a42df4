/**
 * A program written against the published interface of streams and their servers. It is compiled,
 * never run: what it says about types is the test. Our own declarations may be richer, never poorer.
 */
import type { LookupFunction } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ConnectionOptions, TlsOptions } from 'node:tls';

import {
  type Address,
  type Bytes,
  type Chunk,
  type ConnectOptions,
  type InetAddress,
  IOLoop,
  type IOLoopError,
  IOStream,
  type ListenOptions,
  type OwnedFd,
  type PeerCredentials,
  PipeIOStream,
  type ServerOptions,
  type SocketOptions,
  StreamClosedError,
  type StreamHandler,
  type StreamOptions,
  StreamServer,
  TCPServer,
  type TcpInfo,
  toDuplex,
  type UnixAddress,
  UnixServer,
} from '../../src/index.ts';
import { exactly } from './exactly.ts';

export function words(stream: IOStream): void {
  const data: readonly Bytes[] = [
    'text',
    new Uint8Array(1),
    Buffer.alloc(1),
    [Buffer.alloc(1), new Uint8Array(1)],
  ];
  for (const bytes of data) exactly<Promise<void>>()(stream.write(bytes));
  // @ts-expect-error no single number is a text
  void stream.write(1);
  exactly<Buffer<ArrayBuffer>>()(Buffer.alloc(1) satisfies Chunk);
}

export function options(): StreamOptions[] {
  return [
    {},
    { loop: IOLoop.current(), noDelay: true, keepAliveMs: 1, allowHalfOpen: false },
    { maxBufferSize: 1, readAhead: 1, highWaterMark: 1, maxWriteBufferSize: 1 },
    { softWriteBufferSize: 1, softWriteTimeoutMs: 1, minReadRate: 1, minWriteRate: 1, rateGraceMs: 1 },
    { idleTimeoutMs: 1, writeTimeoutMs: 1, closeTimeoutMs: 1 },
    {
      loop: undefined,
      noDelay: undefined,
      keepAliveMs: undefined,
      allowHalfOpen: undefined,
      maxBufferSize: undefined,
      readAhead: undefined,
      highWaterMark: undefined,
      maxWriteBufferSize: undefined,
      softWriteBufferSize: undefined,
      softWriteTimeoutMs: undefined,
      minReadRate: undefined,
      minWriteRate: undefined,
      rateGraceMs: undefined,
      idleTimeoutMs: undefined,
      writeTimeoutMs: undefined,
      closeTimeoutMs: undefined,
    },
  ];
}

export async function connecting(lookup: LookupFunction, tls: ConnectionOptions): Promise<IOStream[]> {
  const { signal } = new AbortController();
  const all: ConnectOptions = { lookup, tls, signal, timeoutMs: 1, noDelay: false };
  const none: ConnectOptions = { lookup: undefined, tls: undefined, signal: undefined, timeoutMs: undefined };
  exactly<Promise<IOStream>>()(IOStream.connect({ port: 1 }));
  // @ts-expect-error a port or a path
  void IOStream.connect({ host: 'localhost' });
  const unread = new Uint8Array(1);
  exactly<IOStream>()(IOStream.fromFd(3));
  return [
    await IOStream.connect({ host: 'localhost', port: 1, localAddress: '::1', localPort: 2 }, all),
    await IOStream.connect({ host: undefined, port: 1, localAddress: undefined, localPort: undefined }, none),
    await IOStream.connect({ path: '/run/x' }, { tls: true }),
    IOStream.fromFd(3, { unread, allowHalfOpen: true }),
    IOStream.fromFd(3, { unread: undefined }),
    new PipeIOStream(0),
    new PipeIOStream(1, { highWaterMark: 1 }),
  ];
}

export async function reading(stream: IOStream, { signal }: AbortController): Promise<void> {
  exactly<Promise<Chunk>>()(stream.readUntil('\n'));
  exactly<Promise<Chunk>>()(stream.readUntil(Buffer.from('\n'), { maxBytes: 1, signal, timeoutMs: 1 }));
  exactly<Promise<Chunk>>()(stream.readUntilRegex(/\r?\n/, { maxBytes: 1, signal, timeoutMs: 1 }));
  exactly<Promise<Chunk>>()(stream.readBytes(1, { partial: true, signal, timeoutMs: 1 }));
  exactly<Promise<number>>()(stream.readInto(new Uint8Array(1), { partial: true, signal, timeoutMs: 1 }));
  exactly<Promise<Chunk>>()(stream.readUntilClose({ maxBytes: 1, signal, timeoutMs: 1 }));
  exactly<Chunk | null>()(stream.tryReadUntil('\n', { maxBytes: 1 }));
  exactly<Chunk | null>()(stream.tryReadBytes(1, { partial: undefined }));
  exactly<AsyncIterableIterator<Chunk>>()(stream[Symbol.asyncIterator]());
  for await (const chunk of stream) exactly<Chunk>()(chunk);
  const iterable: AsyncIterable<Chunk> = stream;
  void iterable;
  void new Response(await stream.readBytes(1));
  exactly<void>()(stream.pause());
  exactly<void>()(stream.resume());
  exactly<void>()(stream.unshift(new Uint8Array(1)));
}

export function listening(stream: IOStream): void {
  exactly<void>()(
    stream.onData((chunk, from) => {
      exactly<Chunk>()(chunk);
      exactly<IOStream>()(from);
    }),
  );
  stream.onData(async () => {});
  stream.onData((chunk, from) => from.write(chunk));
  stream.onData(null);
  exactly<void>()(stream.onEnd((from) => exactly<IOStream>()(from)));
  stream.onEnd(null);
  exactly<void>()(
    stream.onClose((error, from) => {
      exactly<Error | null>()(error);
      exactly<IOStream>()(from);
    }),
  );
  stream.onClose(null);
}

export async function writing(stream: IOStream, { signal }: AbortController): Promise<void> {
  exactly<Promise<number>>()(stream.sendFile('/etc/motd'));
  exactly<Promise<number>>()(stream.sendFile(3, { start: 1, end: 2, signal, timeoutMs: 1 }));
  exactly<Promise<number>>()(stream.sendFile(3, { start: undefined, end: undefined }));
  exactly<Promise<void>>()(stream.flush());
  exactly<Promise<void>>()(stream.flush({ signal, timeoutMs: 1 }));
  exactly<Promise<void>>()(stream.end());
  exactly<Promise<void>>()(stream.end('bye'));
  exactly<Promise<void>>()(stream.close());
  exactly<Promise<void>>()(stream.close(new Error('why')));
  exactly<void>()(stream.abort());
  exactly<void>()(stream.abort(new Error('why')));
  exactly<{ fd: number; unread: Chunk }>()(stream.detach());
}

export function securing(
  stream: IOStream,
  tls: TlsOptions,
  { signal }: AbortController,
): Promise<IOStream>[] {
  exactly<Promise<IOStream>>()(stream.startTls({}));
  return [
    stream.startTls({ server: true, ...tls, signal, timeoutMs: 1 }),
    stream.startTls({ server: false, servername: 'localhost', signal }),
    stream.startTls({ ca: 'PEM', ALPNProtocols: ['h2'] }),
  ];
}

export function tuning(stream: IOStream): void {
  exactly<void>()(stream.setNoDelay(true));
  exactly<void>()(stream.setKeepAlive(1));
  exactly<void>()(stream.setKeepAlive(false));
  exactly<TcpInfo>()(stream.tcpInfo());
  const numbers: Readonly<Record<string, number>> = stream.tcpInfo();
  void numbers;
  exactly<void>()(stream.setOption('SO_RCVBUF', 1));
  exactly<void>()(stream.setOption('TCP_NODELAY', true));
  exactly<void>()(stream.setOption('TCP_CONGESTION', 'cubic'));
  exactly<void>()(stream.setOption(1, 2, new Uint8Array(4)));
  exactly<number>()(stream.getOption('SO_RCVBUF'));
  exactly<string>()(stream.getOptionText('TCP_CONGESTION'));
  const names: readonly (keyof SocketOptions)[] = [
    'SO_MARK',
    'TCP_FASTOPEN',
    'IP_TOS',
    'IPV6_V6ONLY',
    'UDP_GRO',
  ];
  void names;
  const socketOptions: SocketOptions = {
    SO_MARK: 1,
    TCP_QUICKACK: true,
    TCP_CONGESTION: 'bbr',
    IP_TTL: undefined,
  };
  // @ts-expect-error a flag is no word
  socketOptions.TCP_NODELAY = 'yes';
  const connecting: ConnectOptions = { socketOptions };
  const listening: ListenOptions = { socketOptions };
  void [connecting, listening];
}

export async function passing(stream: IOStream, options: StreamOptions): Promise<number> {
  options.receiveFds = 1;
  options.receiveFds = undefined;
  const received: OwnedFd[] = stream.takeFds();
  exactly<OwnedFd[]>()(stream.takeFds(1));
  exactly<Promise<void>>()(stream.sendFds([0, ...received], 'text'));
  exactly<Promise<void>>()(stream.sendFds([0], [new Uint8Array(1)]));
  exactly<PeerCredentials>()(stream.peerCredentials());
  const { pid, uid, gid } = stream.peerCredentials();
  const [first] = received;
  if (first === undefined) return pid + uid + gid;
  using disposed = first;
  exactly<boolean>()(disposed.closed);
  exactly<number>()(disposed.fd);
  exactly<void>()(disposed.close());
  return disposed.take();
}

export async function state(stream: IOStream): Promise<number> {
  exactly<boolean>()(stream.closed);
  exactly<boolean>()(stream.ended);
  exactly<Error | null>()(stream.error);
  exactly<Promise<void>>()(stream.whenClosed);
  exactly<Address>()(stream.local);
  exactly<Address>()(stream.remote);
  exactly<number>()(stream.fd);
  exactly<IOLoop>()(stream.loop);
  exactly<boolean>()(stream.encrypted);
  exactly<string | null>()(stream.alpnProtocol);
  const same: IOStream = stream.ref().unref();
  const pipe: PipeIOStream = new PipeIOStream(0).ref().unref();
  const duplex: Duplex = toDuplex(pipe);
  void duplex;
  await using disposed = same;
  exactly<Promise<void>>()(disposed[Symbol.asyncDispose]());
  return stream.bytesRead + stream.bytesWritten + stream.bytesBuffered + stream.bytesQueued;
}

export function errors(caught: unknown): void {
  if (!(caught instanceof StreamClosedError)) return;
  const asLoopError: IOLoopError = caught;
  exactly<IOStream>()(caught.stream);
  throw asLoopError;
}

export function serving(tls: TlsOptions): StreamServer[] {
  const handlers: readonly StreamHandler[] = [
    () => {},
    async (stream, address) => {
      exactly<IOStream>()(stream);
      exactly<Address>()(address);
    },
    (stream) => stream.write('hello'),
  ];
  const settings: ServerOptions = {
    maxConnections: 1,
    verifyRequest: (address) => address.family !== 'Unix',
    tls,
    handshakeTimeoutMs: 1,
    onError: (error, stream) => {
      exactly<unknown>()(error);
      exactly<IOStream>()(stream);
    },
    onDrop: (reason, address) => {
      exactly<'connections' | 'descriptors' | 'memory' | 'refused' | 'handshake'>()(reason);
      exactly<Address | null>()(address);
    },
    idleTimeoutMs: 1,
  };
  const none: ServerOptions = {
    maxConnections: undefined,
    verifyRequest: undefined,
    tls: undefined,
    handshakeTimeoutMs: undefined,
    onError: undefined,
    onDrop: undefined,
  };
  const [handler = () => {}] = handlers;
  return [
    new TCPServer(handler),
    new TCPServer(handler, settings),
    new TCPServer(handler, { verifyRequest: async () => true }),
    new UnixServer(handler),
    new UnixServer(handler, none),
  ];
}

export async function listeningAt(server: TCPServer, unix: UnixServer): Promise<void> {
  const how: ListenOptions = { backlog: 1, reusePort: true, ipv6Only: true };
  exactly<Promise<InetAddress>>()(server.listen(0));
  exactly<Promise<InetAddress>>()(server.listen(0, 'localhost', how));
  exactly<Promise<InetAddress>>()(server.listen(0, undefined, { backlog: undefined, reusePort: undefined }));
  exactly<Promise<UnixAddress>>()(unix.listen('/run/x'));
  exactly<Promise<UnixAddress>>()(unix.listen('\0x', { mode: 0o600, backlog: 1 }));
  exactly<Promise<UnixAddress>>()(unix.listen('/run/x', { mode: undefined, backlog: undefined }));
}

export async function running(server: StreamServer, stream: IOStream, tls: TlsOptions): Promise<void> {
  exactly<readonly Address[]>()(server.addresses);
  exactly<number>()(server.connections);
  exactly<Promise<Address>>()(server.listenFd(3));
  exactly<void>()(server.adopt(stream));
  exactly<void>()(server.setTls(tls));
  exactly<void>()(server.stop());
  exactly<Promise<void>>()(server.close());
  exactly<Promise<void>>()(server.close({ graceMs: 1 }));
  exactly<Promise<void>>()(server.close({ graceMs: undefined }));
  const same: StreamServer = server.ref().unref();
  await using disposed = same;
  exactly<Promise<void>>()(disposed[Symbol.asyncDispose]());
  const servers: readonly boolean[] = [TCPServer, UnixServer].map(
    (kind) => kind.prototype instanceof StreamServer,
  );
  void servers;
}
