import { ClientFactory, type Connector } from '../../src/protocol/client-factory.ts';
import { Factory, type Protocol } from '../../src/protocol/protocol.ts';
import type { Reason } from '../../src/protocol/reasons.ts';
import { Recorder } from './protocols.ts';

/** A factory that keeps what it makes, and notes what it is told. */
export class RecorderFactory extends Factory {
  readonly told: string[] = [];
  readonly made: Recorder[] = [];

  override startFactory(): void {
    this.told.push('start');
  }

  override stopFactory(): void {
    this.told.push('stop');
  }

  override buildProtocol(): Protocol | null {
    const protocol = new Recorder();
    this.made.push(protocol);
    return protocol;
  }
}

/** A factory of clients that notes what it is told. */
export class RecorderClients extends ClientFactory {
  readonly told: string[] = [];
  readonly made: Recorder[] = [];
  /** Why the last attempt failed, or the last connection was lost. */
  reason: Error | null = null;
  /** What it does when it was told something. */
  react: (what: string, connector: Connector) => void = () => {};

  override startFactory(): void {
    this.told.push('start');
  }

  override stopFactory(): void {
    this.told.push('stop');
  }

  override startedConnecting(connector: Connector): void {
    this.#note('connecting', connector);
  }

  override buildProtocol(): Protocol | null {
    const protocol = new Recorder();
    this.made.push(protocol);
    return protocol;
  }

  override clientConnectionFailed(connector: Connector, reason: Error): void {
    this.reason = reason;
    this.#note('failed', connector);
  }

  override clientConnectionLost(connector: Connector, reason: Reason): void {
    this.reason = reason;
    this.#note('lost', connector);
  }

  #note(what: string, connector: Connector): void {
    this.told.push(what);
    this.react(what, connector);
  }
}
