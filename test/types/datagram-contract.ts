/**
 * A program written against the published interface of datagrams and their servers. It is compiled,
 * never run: what it says about types is the test. Our own declarations may be richer, never poorer.
 */
import {
  type Address,
  type Chunk,
  type Datagram,
  type DatagramBatch,
  type DatagramOptions,
  DatagramSocket,
  type InetAddress,
  IOLoop,
  type LoopMetrics,
  type PeerCredentials,
  type SeqpacketMessage,
  SeqpacketServer,
  SeqpacketSocket,
  type SystemError,
  type UDPRequest,
  UDPServer,
  type UnixAddress,
  type UnixDatagram,
  type UnixDatagramRequest,
  UnixDatagramServer,
  UnixDatagramSocket,
} from '../../src/index.ts';
import { exactly } from './exactly.ts';

export function options(): DatagramOptions[] {
  // @ts-expect-error a family is a must
  const none: DatagramOptions = {};
  return [
    none,
    { type: 'udp4' },
    { type: 'udp6', loop: IOLoop.current(), ipv6Only: true, packetInfo: true },
    { type: 'udp4', receiveBufferSize: 1, sendBufferSize: 1, maxPacketSize: 1, maxQueueSize: 1 },
    { type: 'udp4', reuseAddress: true, reusePort: true, onError: (error) => exactly<SystemError>()(error) },
    {
      type: 'udp4',
      receiveBufferSize: undefined,
      sendBufferSize: undefined,
      maxPacketSize: undefined,
      maxQueueSize: undefined,
      reuseAddress: undefined,
      reusePort: undefined,
      ipv6Only: undefined,
      packetInfo: undefined,
      loop: undefined,
      onError: undefined,
    },
  ];
}

export async function opening(): Promise<DatagramSocket> {
  const socket = DatagramSocket.fromFd(3, { packetInfo: true });
  exactly<DatagramSocket>()(DatagramSocket.fromFd(3));
  exactly<Promise<InetAddress>>()(socket.bind());
  exactly<Promise<InetAddress>>()(socket.bind(0));
  exactly<Promise<InetAddress>>()(socket.bind(1, 'localhost'));
  exactly<Promise<void>>()(socket.connect(1, 'localhost'));
  // @ts-expect-error nobody is connected to a port of nowhere
  void socket.connect(1);
  exactly<void>()(socket.disconnect());
  exactly<InetAddress>()(socket.local);
  await using disposed = new DatagramSocket({ type: 'udp4' });
  exactly<Promise<void>>()(disposed[Symbol.asyncDispose]());
  exactly<Promise<void>>()(disposed.close());
  const same: DatagramSocket = socket.ref().unref();
  return same;
}

export function sending(socket: DatagramSocket, batch: DatagramBatch): void {
  const data = new Uint8Array(1);
  exactly<Promise<void>>()(socket.send('text'));
  exactly<Promise<void>>()(socket.send(data, 1));
  exactly<Promise<void>>()(socket.send(data, 1, '::1'));
  exactly<Promise<void>>()(socket.sendMany(batch));
  const messages = [{ data }, { data, port: 1 }, { data, port: 1, address: '::1' }] as const;
  exactly<Promise<void>>()(socket.sendMany(messages));
  exactly<number>()(socket.bytesQueued);
}

export async function receiving(socket: DatagramSocket): Promise<void> {
  exactly<void>()(
    socket.onMessages((batch) => {
      const asPublished: DatagramBatch = batch;
      reading(asPublished);
    }),
  );
  socket.onMessages(null);
  exactly<AsyncIterableIterator<Datagram>>()(socket[Symbol.asyncIterator]());
  const iterable: AsyncIterable<Datagram> = socket;
  for await (const { data, address, port, truncated } of iterable) {
    exactly<Chunk>()(data);
    exactly<string>()(address);
    exactly<number>()(port);
    exactly<boolean>()(truncated);
  }
  exactly<void>()(socket.pause());
  exactly<void>()(socket.resume());
  exactly<number>()(socket.dropped);
  exactly<number>()(socket.fd);
  exactly<boolean>()(socket.closed);
}

function reading(batch: DatagramBatch): void {
  exactly<number>()(batch.length);
  exactly<Buffer>()(batch.data(0));
  exactly<string>()(batch.address(0));
  exactly<number>()(batch.port(0));
  exactly<boolean>()(batch.truncated(0));
  exactly<void>()(batch.reply(0, 'text'));
  exactly<void>()(batch.reply(0, new Uint8Array(1)));
  const info = batch.info(0);
  if (info === null) return;
  exactly<string>()(info.localAddress);
  exactly<number>()(info.ecn);
  exactly<number>()(info.ttl);
  exactly<bigint>()(info.timestampNs);
}

export function tuning(socket: DatagramSocket): void {
  exactly<void>()(socket.addMembership('239.0.0.1'));
  exactly<void>()(socket.addMembership('232.0.0.1', { interface: 'lo', source: '127.0.0.1' }));
  exactly<void>()(socket.dropMembership('239.0.0.1', { interface: 'lo' }));
  exactly<void>()(socket.setOption('SO_RCVBUF', 1));
  exactly<void>()(socket.setOption('SO_BROADCAST', true));
  exactly<void>()(socket.setOption('SO_BINDTODEVICE', 'lo'));
  exactly<void>()(socket.setOption(1, 2, new Uint8Array(4)));
  exactly<number>()(socket.getOption('SO_RCVBUF'));
}

export function metrics({ datagramsDropped }: LoopMetrics): void {
  exactly<number>()(datagramsDropped);
}

export async function unix(datagrams: UnixDatagramSocket, messages: SeqpacketSocket): Promise<void> {
  exactly<Promise<UnixAddress>>()(datagrams.bind('/run/x'));
  exactly<Promise<void>>()(datagrams.connect('/run/x'));
  exactly<Promise<void>>()(datagrams.send('text', '/run/x'));
  exactly<Promise<void>>()(datagrams.sendMany([{ data: new Uint8Array(1), path: '/run/x' }]));
  for await (const datagram of datagrams) exactly<UnixDatagram>()(datagram);
  exactly<Promise<SeqpacketSocket>>()(SeqpacketSocket.connect({ path: '/run/x' }));
  exactly<Promise<SeqpacketMessage | null>>()(messages.receive());
  exactly<PeerCredentials>()(messages.peerCredentials());
  exactly<UnixDatagramSocket>()(UnixDatagramSocket.fromFd(3));
}

export function serving(): (UDPServer | UnixDatagramServer | SeqpacketServer)[] {
  const none = { maxConcurrent: undefined, verifyRequest: undefined, onError: undefined, onDrop: undefined };
  return [
    new UDPServer(() => {}),
    new UDPServer((request) => request.reply(request.data), none),
    new UDPServer(() => {}, {
      maxConcurrent: 1,
      maxPacketSize: 1,
      verifyRequest: (address, request) => {
        exactly<InetAddress>()(address);
        exactly<UDPRequest>()(request);
        return true;
      },
      onError: (error, request) => {
        exactly<unknown>()(error);
        exactly<UDPRequest | null>()(request);
      },
      onDrop: (reason, address) => {
        exactly<'concurrent' | 'refused'>()(reason);
        exactly<InetAddress>()(address);
      },
    }),
    new UnixDatagramServer(() => {}),
    new UnixDatagramServer(async () => {}, { ...none, verifyRequest: async ({ path }) => path !== '' }),
    new SeqpacketServer(() => {}),
    new SeqpacketServer(
      async (socket, address) => {
        exactly<SeqpacketSocket>()(socket);
        exactly<Address>()(address);
      },
      {
        maxConnections: 1,
        receiveFds: true,
        verifyRequest: () => true,
        onError: (error, socket) => {
          exactly<unknown>()(error);
          exactly<SeqpacketSocket>()(socket);
        },
        onDrop: (reason) => exactly<'connections' | 'descriptors' | 'refused'>()(reason),
      },
    ),
  ];
}

export function requests(udp: UDPRequest, unixRequest: UnixDatagramRequest): void {
  exactly<Chunk>()(udp.data);
  exactly<InetAddress>()(udp.address);
  exactly<boolean>()(udp.truncated);
  exactly<DatagramSocket>()(udp.socket);
  exactly<Promise<void>>()(udp.reply('text'));
  exactly<Promise<void>>()(udp.reply(new Uint8Array(1)));
  exactly<UnixAddress>()(unixRequest.address);
  exactly<UnixDatagramSocket>()(unixRequest.socket);
  exactly<PeerCredentials | null>()(unixRequest.credentials);
}

export async function listening(udp: UDPServer, unixServer: UnixDatagramServer, messages: SeqpacketServer) {
  exactly<Promise<InetAddress>>()(udp.listen(0));
  exactly<Promise<InetAddress>>()(udp.listen(0, 'localhost', { reusePort: true, ipv6Only: true }));
  exactly<Promise<InetAddress>>()(udp.listen(0, undefined, { reuseAddress: undefined, lookup: undefined }));
  exactly<Promise<UnixAddress>>()(unixServer.listen('/run/x', { mode: 0o666 }));
  exactly<Promise<UnixAddress>>()(messages.listen('/run/x', { mode: undefined, backlog: 1 }));
  exactly<readonly InetAddress[]>()(udp.addresses);
  exactly<number>()(udp.requests + udp.dropped + messages.connections);
  for (const server of [udp, unixServer, messages]) {
    exactly<Promise<Address>>()(server.listenFd(3));
    exactly<void>()(server.stop());
    exactly<Promise<void>>()(server.close());
    exactly<Promise<void>>()(server.close({ graceMs: undefined }));
    exactly<Promise<void>>()(server[Symbol.asyncDispose]());
  }
  const same: UDPServer = udp.ref().unref();
  return same;
}
