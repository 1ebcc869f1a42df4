// What the peers use of Bun, so that they are checked with the rest.

export interface BunSocket<Data> {
  /** The server's own, per connection. */
  data: Data;
  /** Bytes taken; -1 when the socket is closed. */
  write(data: Uint8Array): number;
  pause(): void;
  resume(): void;
}

export interface BunHandlers<Data> {
  open(socket: BunSocket<Data>): void;
  data(socket: BunSocket<Data>, data: Uint8Array): void;
  drain(socket: BunSocket<Data>): void;
  error(socket: BunSocket<Data>, error: Error): void;
}

export interface BunSink {
  start(options: { asUint8Array: true; stream: true }): void;
  write(data: Uint8Array): number;
  flush(): Uint8Array;
}

export interface BunUdpSocket {
  readonly port: number;
  /** False: the kernel has no room, and the datagram was not sent. */
  send(data: Uint8Array | string, port: number, address: string): boolean;
}

export interface BunUdpHandlers {
  data(socket: BunUdpSocket, data: Buffer, port: number, address: string): void;
}

/** The global `Bun`. */
export interface BunRuntime {
  listen<Data>(options: { hostname: string; port: number; socket: BunHandlers<Data> }): {
    readonly port: number;
  };
  udpSocket(options: { hostname: string; port: number; socket: BunUdpHandlers }): Promise<BunUdpSocket>;
  readonly ArrayBufferSink: new () => BunSink;
}
