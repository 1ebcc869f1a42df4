/**
 * A program written against the published interface of protocols. It is compiled, never run: what it says
 * about types is the test. Our own declarations may be richer, never poorer.
 */
import type { ConnectionOptions, TlsOptions } from 'node:tls';

import {
  type Address,
  type Bytes,
  ClientFactory,
  ConnectionAborted,
  ConnectionDone,
  ConnectionLost,
  type Connector,
  connectTcp,
  connectTls,
  connectUnix,
  Factory,
  IOLoop,
  type IOStream,
  type ListeningPort,
  listenTcp,
  listenTls,
  listenUnix,
  type Producer,
  Protocol,
  type Reason,
  type Transport,
} from '../../src/index.ts';
import * as protocols from '../../src/protocol/index.ts';
import { exactly } from './exactly.ts';

/** The least that a protocol is. */
class Quiet extends Protocol {}

/** All that a protocol can override. */
class Talkative extends Protocol {
  override makeConnection(transport: Transport): void {
    void super.makeConnection(transport);
  }

  override connectionMade(): void {
    exactly<Transport>()(this.transport);
    super.connectionMade();
  }

  override dataReceived(data: Buffer): void {
    exactly<Buffer>()(data);
    super.dataReceived(data);
  }

  override connectionLost(reason: Reason): void {
    super.connectionLost(reason);
    if (reason instanceof ConnectionLost || reason instanceof ConnectionAborted) {
      exactly<unknown>()(reason.cause);
    } else {
      exactly<ConnectionDone>()(reason);
    }
  }

  override readConnectionLost(): void {}

  override writeConnectionLost(): void {}
}

/** Methods may be async. */
export class Async extends Protocol {
  override async connectionMade(): Promise<void> {}
  override async dataReceived(data: Buffer): Promise<void> {
    this.transport.write(data);
  }
}

export function reasons(): readonly Reason[] {
  const errors: readonly Error[] = [new ConnectionDone(), new ConnectionLost(), new ConnectionAborted()];
  exactly<number>()(errors.length);
  return [new ConnectionDone(), new ConnectionLost(), new ConnectionAborted()];
}

export function transports(transport: Transport, tls: TlsOptions & ConnectionOptions): void {
  const data: readonly Bytes[] = [
    'text',
    new Uint8Array(1),
    Buffer.alloc(1),
    [Buffer.alloc(1), new Uint8Array(1)],
  ];
  for (const bytes of data) exactly<void>()(transport.write(bytes));
  // @ts-expect-error no single number is a text
  transport.write(1);
  exactly<void>()(transport.writeSequence([new Uint8Array(1), Buffer.alloc(1)]));
  exactly<void>()(transport.writeSequence(new Set([new Uint8Array(1)])));
  // @ts-expect-error views alone
  transport.writeSequence(['text']);
  exactly<void>()(transport.loseConnection());
  exactly<void>()(transport.abortConnection());
  exactly<void>()(transport.loseWriteConnection());
  exactly<void>()(transport.startTls(tls));
  exactly<void>()(transport.startTls({ server: true, key: '', cert: '', timeoutMs: 1 }));
  const options: Parameters<IOStream['startTls']>[0] = { servername: 'example.org' };
  exactly<void>()(transport.startTls(options));
  exactly<Address>()(transport.getHost());
  exactly<Address>()(transport.getPeer());
  exactly<void>()(transport.setTcpNoDelay(true));
  exactly<void>()(transport.setTcpKeepAlive(false));
  exactly<boolean>()(transport.disconnecting);
  // @ts-expect-error it says so, and is not told
  transport.disconnecting = true;
}

export function producing(transport: Transport): Producer {
  class Numbers implements Producer {
    pauseProducing(): void {}
    resumeProducing(): void {}
    stopProducing(): void {}
  }
  const producer = new Numbers();
  exactly<void>()(transport.registerProducer(producer, true));
  exactly<void>()(transport.registerProducer(producer, false));
  exactly<void>()(transport.unregisterProducer());
  // @ts-expect-error whether it streams has to be said
  transport.registerProducer(producer);
  // @ts-expect-error a producer can be stopped
  transport.registerProducer({ pauseProducing() {}, resumeProducing() {} }, true);
  exactly<void>()(transport.pauseProducing());
  exactly<void>()(transport.resumeProducing());
  exactly<void>()(transport.stopProducing());
  // A transport is one: a proxy registers each end with the other.
  transport.registerProducer(transport, true);
  return transport;
}

/** All that a factory can override. */
class Counting extends Factory {
  ports = 0;
  override buildProtocol(address: Address): Protocol | null {
    exactly<Address>()(address);
    return this.ports > 1 ? null : super.buildProtocol(address);
  }

  override startFactory(): void {
    this.ports++;
  }

  override stopFactory(): void {
    this.ports--;
  }
}

/** All that a client's factory can override. */
class Client extends ClientFactory {
  override buildProtocol(): Protocol {
    return new Quiet();
  }

  override startedConnecting(connector: Connector): void {
    exactly<Address>()(connector.getDestination());
  }

  override clientConnectionFailed(connector: Connector, reason: Error): void {
    exactly<Error>()(reason);
    exactly<void>()(connector.connect());
  }

  override clientConnectionLost(connector: Connector, reason: Reason): void {
    exactly<Reason>()(reason);
    exactly<void>()(connector.stopConnecting());
    exactly<void>()(connector.disconnect());
  }
}

export function factories(): readonly Factory[] {
  exactly<Factory>()(Factory.forProtocol(Quiet));
  return [Factory.forProtocol(Talkative), new Counting(), new Client(), new ClientFactory(), new Factory()];
}

export async function listening(factory: Factory, tls: TlsOptions): Promise<ListeningPort> {
  exactly<Promise<ListeningPort>>()(listenTcp(0, factory));
  exactly<Promise<ListeningPort>>()(
    listenTcp(0, factory, {
      interface: '127.0.0.1',
      backlog: 1,
      reusePort: true,
      ipv6Only: false,
      maxConnections: 1,
      idleTimeoutMs: 1,
      tls,
      loop: IOLoop.current(),
      verifyRequest: (address) => address.family !== 'Unix',
      onError: (error, stream) => {
        exactly<unknown>()(error);
        exactly<IOStream>()(stream);
      },
    }),
  );
  exactly<Promise<ListeningPort>>()(listenTls(0, factory, { tls }));
  exactly<Promise<ListeningPort>>()(listenUnix('/run/x', factory, { mode: 0o660 }));
  const port = await listenUnix('/run/x', factory);
  exactly<Address>()(port.getHost());
  exactly<Promise<void>>()(port.stopListening());
  return port;
}

export function connecting(factory: Client, signal: AbortSignal): readonly Connector[] {
  // @ts-expect-error who connects hears how that goes
  connectTcp('localhost', 1, new Counting());
  return [
    connectTcp('localhost', 1, factory),
    connectTcp('localhost', 1, factory, { timeoutMs: 1, signal, noDelay: false, tls: true }),
    connectTls('localhost', 1, factory),
    connectTls('localhost', 1, factory, { tls: { servername: 'example.org' } }),
    connectUnix('/run/x', factory),
    connectUnix('/run/x', factory, { timeoutMs: 1 }),
  ];
}

/** They are the same from the root and from 'ioloop/protocol'. */
export function sameFromBoth(): readonly (typeof Protocol | typeof Factory | typeof listenTcp)[] {
  return [protocols.Protocol, protocols.Factory, protocols.listenTcp];
}
