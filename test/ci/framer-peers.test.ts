import { Buffer } from 'node:buffer';
import * as assert from 'uvu/assert';

import {
  ClientFactory,
  connectTcp,
  Factory,
  FixedLengthReceiver,
  Int8StringReceiver,
  Int16StringReceiver,
  Int32StringReceiver,
  IOLoop,
  LineOnlyReceiver,
  LineReceiver,
  listenTcp,
  NetstringReceiver,
  type Protocol,
} from '../../src/index.ts';
import { signal } from '../support/driven.ts';
import { startDebianPython } from '../support/peers.ts';
import { ASYNCIO, FIXED, TORNADO, TWISTED } from '../support/python-framers.ts';
import { portOf } from '../support/servers.ts';
import { suite } from '../support/suite.ts';
import { within } from '../support/within.ts';

const LIMIT_MS = 20_000;
/** How many frames go each way. */
const COUNT = 200;
/** What a receiver of ours does. */
interface Role {
  made(peer: Peer): void;
  received(frame: Buffer, peer: Peer): void;
}

/** A receiver of ours, whatever its frames. */
interface Peer extends Protocol {
  send(frame: Buffer): void;
}

class Lines extends LineReceiver implements Peer {
  readonly #role: Role;
  override delimiter: string;
  constructor(role: Role, delimiter: string) {
    super();
    this.#role = role;
    this.delimiter = delimiter;
  }
  send = (line: Buffer): void => this.sendLine(line);
  override connectionMade(): void {
    this.#role.made(this);
  }
  override lineReceived(line: Buffer): void {
    this.#role.received(line, this);
  }
}

class LinesOnly extends LineOnlyReceiver implements Peer {
  readonly #role: Role;
  constructor(role: Role) {
    super();
    this.#role = role;
  }
  send = (frame: Buffer): void => this.sendLine(frame);
  override connectionMade(): void {
    this.#role.made(this);
  }
  override lineReceived(frame: Buffer): void {
    this.#role.received(frame, this);
  }
}

class Netstrings extends NetstringReceiver implements Peer {
  readonly #role: Role;
  constructor(role: Role) {
    super();
    this.#role = role;
  }
  send = (frame: Buffer): void => this.sendString(frame);
  override connectionMade(): void {
    this.#role.made(this);
  }
  override stringReceived(frame: Buffer): void {
    this.#role.received(frame, this);
  }
}

class Int8Strings extends Int8StringReceiver implements Peer {
  readonly #role: Role;
  constructor(role: Role) {
    super();
    this.#role = role;
  }
  send = (frame: Buffer): void => this.sendString(frame);
  override connectionMade(): void {
    this.#role.made(this);
  }
  override stringReceived(frame: Buffer): void {
    this.#role.received(frame, this);
  }
}

class Int16Strings extends Int16StringReceiver implements Peer {
  readonly #role: Role;
  constructor(role: Role) {
    super();
    this.#role = role;
  }
  send = (frame: Buffer): void => this.sendString(frame);
  override connectionMade(): void {
    this.#role.made(this);
  }
  override stringReceived(frame: Buffer): void {
    this.#role.received(frame, this);
  }
}

class Int32Strings extends Int32StringReceiver implements Peer {
  readonly #role: Role;
  constructor(role: Role) {
    super();
    this.#role = role;
  }
  send = (frame: Buffer): void => this.sendString(frame);
  override connectionMade(): void {
    this.#role.made(this);
  }
  override stringReceived(frame: Buffer): void {
    this.#role.received(frame, this);
  }
}

class FixedFrames extends FixedLengthReceiver implements Peer {
  readonly #role: Role;
  override length = FIXED;
  constructor(role: Role) {
    super();
    this.#role = role;
  }
  send = (frame: Buffer): void => this.transport.write(frame);
  override connectionMade(): void {
    this.#role.made(this);
  }
  override frameReceived(frame: Buffer): void {
    this.#role.received(frame, this);
  }
}

/** Sends back what comes. */
const echo: Role = { made: () => {}, received: (frame, peer) => peer.send(frame) };

/** Sends frames, wants them back, and leaves; `done` has how many came. */
function ask(frameAt: (place: number) => Buffer): { role: Role; done: Promise<number> } {
  const done = signal<number>();
  let heard = 0;
  const made = (peer: Peer): void => {
    for (let place = 0; place < COUNT; place++) peer.send(frameAt(place));
  };
  const received = (frame: Buffer, peer: Peer): void => {
    assert.ok(frame.equals(frameAt(heard)), `frame ${heard}`);
    if (++heard < COUNT) return;
    peer.transport.loseConnection();
    done.fire(heard);
  };
  return { role: { made, received }, done: done.promise };
}

/** Whom a framing is spoken with: by whose program, and what it is called there. */
interface Framing {
  readonly create: (role: Role) => Protocol;
  readonly python: string;
  readonly kind: string;
  /** The longest frame. */
  readonly most: number;
}

const framings: Readonly<Record<string, Framing>> = {
  "lines of Twisted's LineReceiver": {
    create: (role) => new Lines(role, '\r\n'),
    python: TWISTED,
    kind: 'LineReceiver',
    most: 16_384,
  },
  "lines of Twisted's LineOnlyReceiver": {
    create: (role) => new LinesOnly(role),
    python: TWISTED,
    kind: 'LineOnlyReceiver',
    most: 3_000,
  },
  "netstrings of Twisted's": {
    create: (role) => new Netstrings(role),
    python: TWISTED,
    kind: 'NetstringReceiver',
    most: 3_000,
  },
  "Twisted's strings behind 8 bits": {
    create: (role) => new Int8Strings(role),
    python: TWISTED,
    kind: 'Int8StringReceiver',
    most: 255,
  },
  "Twisted's strings behind 16 bits": {
    create: (role) => new Int16Strings(role),
    python: TWISTED,
    kind: 'Int16StringReceiver',
    most: 65_535,
  },
  "Twisted's strings behind 32 bits": {
    create: (role) => new Int32Strings(role),
    python: TWISTED,
    kind: 'Int32StringReceiver',
    most: 99_999,
  },
  'lines of asyncio': {
    create: (role) => new Lines(role, '\n'),
    python: ASYNCIO,
    kind: 'lines',
    most: 3_000,
  },
  'frames of one length of asyncio': {
    create: (role) => new FixedFrames(role),
    python: ASYNCIO,
    kind: 'fixed',
    most: FIXED,
  },
  'lines of Tornado': {
    create: (role) => new Lines(role, '\n'),
    python: TORNADO,
    kind: 'lines',
    most: 3_000,
  },
};

/** As the programs in Python make them. */
function framesOf({ kind, most }: Framing): (place: number) => Buffer {
  return (place) =>
    Buffer.alloc(
      kind === 'fixed' ? FIXED : (place * 977) % (most + 1),
      String.fromCharCode(97 + (place % 26)),
    );
}

for (const backend of IOLoop.backends)
  suite(`frames between Python's and ours on ${backend}`, { backend, limitMs: 30_000 }, (test) => {
    for (const [name, framing] of Object.entries(framings)) {
      const { create, python, kind, most } = framing;

      test(`${name}: a server of theirs sends back those of a client of ours`, async ({ loop, defer }) => {
        const server = startDebianPython(defer, python, kind, 'server', '0', `${COUNT}`, `${most}`);
        const [, port] = /serves at (\d+)\n/.exec(await server.said(/serves at \d+\n/)) ?? [];
        const { role, done } = ask(framesOf(framing));
        const lost = signal();
        const factory = new (class extends ClientFactory {
          override buildProtocol(): Protocol {
            return create(role);
          }
          override clientConnectionLost(): void {
            lost.fire();
          }
        })();
        connectTcp('127.0.0.1', Number(port), factory, { loop });
        assert.is(await within(LIMIT_MS, done, 'the last frame'), COUNT);
        await within(LIMIT_MS, lost.promise, 'the end of the connection');
      });

      test(`${name}: a server of ours sends back those of a client of theirs`, async ({ loop, defer }) => {
        const factory = new (class extends Factory {
          override buildProtocol(): Protocol {
            return create(echo);
          }
        })();
        const port = await listenTcp(0, factory, { loop, interface: '127.0.0.1' });
        defer(() => port.close({ graceMs: 0 }));
        const number = `${portOf(port.getHost())}`;
        const client = startDebianPython(defer, python, kind, 'client', number, `${COUNT}`, `${most}`);
        assert.is(await client.finish(), `${COUNT} came back\n`);
      });
    }
  });
