import * as assert from 'uvu/assert';

import type { InetAddress, UnixAddress } from '../../src/index.ts';
import {
  type AbstractDatagramProtocol,
  DatagramProtocol,
  type ListenUdpOptions,
  listenUdp,
  type UdpTransport,
  UnixDatagramProtocol,
} from '../../src/protocol/index.ts';
import { Arrivals } from './datagrams.ts';
import type { TestContext } from './suite.ts';

/** What happened to a protocol, in order. */
export class Events extends Arrivals<string> {
  /** How often `event` has happened. */
  count(event: string): number {
    return this.all.filter((happened) => happened === event).length;
  }
}

/** A UDP protocol that notes what it is told, and answers by {@link received}. */
export class NotingProtocol extends DatagramProtocol {
  readonly events: Events = new Events();
  /** What it makes of a datagram. */
  received: (data: Buffer, address: InetAddress, protocol: NotingProtocol) => void;
  /** What it does first. */
  started: (transport: UdpTransport) => void = () => {};

  constructor(received: NotingProtocol['received'] = () => {}) {
    super();
    this.received = received;
  }

  override startProtocol(): void {
    this.events.add('start');
    this.started(this.transport);
  }

  override stopProtocol(): void {
    this.events.add('stop');
  }

  override datagramReceived(data: Buffer, address: InetAddress, truncated: boolean): void {
    this.events.add(truncated ? `${data}, truncated` : String(data));
    this.received(data, address, this);
  }

  override connectionRefused(): void {
    this.events.add('refused');
  }
}

/** Sends a datagram back where it came from. */
export function echo(data: Buffer, address: InetAddress, { transport }: NotingProtocol): void {
  transport.write(data, address);
}

/** A {@link NotingProtocol} in the Unix domain. */
export class NotingUnixProtocol extends UnixDatagramProtocol {
  readonly events: Events = new Events();
  received: (data: Buffer, address: UnixAddress, protocol: NotingUnixProtocol) => void;

  constructor(received: NotingUnixProtocol['received'] = () => {}) {
    super();
    this.received = received;
  }

  override startProtocol(): void {
    this.events.add('start');
  }

  override stopProtocol(): void {
    this.events.add('stop');
  }

  override datagramReceived(data: Buffer, address: UnixAddress): void {
    this.events.add(String(data));
    this.received(data, address, this);
  }

  override connectionRefused(): void {
    this.events.add('refused');
  }
}

/** The errors that a test expects: it fails at its end when others were told. */
export class ExpectedErrors extends Arrivals<unknown> {
  /** Codes, or messages where there are none, in order; to be given as the errors are told. */
  constructor({ defer }: TestContext, ...expected: string[]) {
    super();
    defer(() => assert.equal(this.all.map(nameOf), expected, 'errors that were told'));
  }
}

/** A protocol on a port of the loopback address, stopped with the test, that tells of no error but `errors`. */
export async function listenAt<Protocol extends DatagramProtocol>(
  context: TestContext,
  protocol: Protocol,
  options: ListenUdpOptions = {},
  errors: ExpectedErrors = new ExpectedErrors(context),
): Promise<{ readonly protocol: Protocol; readonly transport: UdpTransport; readonly port: number }> {
  const transport = await listenUdp(0, protocol, {
    interface: '127.0.0.1',
    loop: context.loop,
    onError: errors.add,
    ...options,
  });
  stopWith(context, protocol);
  return { protocol, transport, port: transport.getHost().port };
}

/** Has `protocol` stop with the test. */
export function stopWith(
  { defer }: TestContext,
  protocol: AbstractDatagramProtocol<{ stopListening(): Promise<void> }, never>,
): void {
  defer(() => protocol.transport.stopListening());
}

function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return 'code' in error ? String(error.code) : error.message;
}
