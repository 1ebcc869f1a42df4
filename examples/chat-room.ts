/**
 * A chat room of protocols within policies: your first line is your name, every further one goes to everybody.
 *
 *   node --import tsx examples/chat-room.ts [--port 7011] [--host 127.0.0.1] [--idle-ms 600000]
 *     [--bytes-per-second 1000] [--guests-per-peer 5]
 *   nc 127.0.0.1 7011
 *
 * The room knows guests and lines, and nothing of the limits, which are wrapped around it: guests who say and
 * hear nothing are ended, those who say too much are read slowly, and one address has so many and no more.
 */
import { parseArgs } from 'node:util';
import { IOLoop } from 'ioloop';
import {
  ConnectionDone,
  Factory,
  LimitConnectionsByPeer,
  LineReceiver,
  listenTcp,
  type Reason,
  ThrottlingFactory,
  TimeoutFactory,
} from 'ioloop/protocol';

/** A guest who reads slowly is out when more than this is queued. */
const MAX_QUEUED = 1024 * 1024;

/** A guest, who has no name at first. */
class Guest extends LineReceiver {
  declare factory: ChatRoom;
  override delimiter = '\n';
  override maxLength = 1000;
  name = '';
  /** The idle timeout ends the connection without a word; who else does says why. */
  #why = 'said and heard nothing for too long';

  override connectionMade(): void {
    this.transport.write('Your name: ');
  }

  override lineReceived(line: Buffer): void {
    // The line's end, and what would play with the others' terminals.
    const text = line.toString().replace(/\p{Cc}/gu, '');
    if (this.name !== '') this.factory.tell(`${this.name}: ${text}`);
    else if (!/^\p{L}[\p{L}\d_-]{0,19}$/u.test(text)) this.transport.write('Up to 20 letters, please: ');
    else if (!this.factory.enter(text, this)) this.transport.write(`${text} is here already. Your name: `);
  }

  override lineLengthExceeded(): void {
    this.leave(`wrote a line of more than ${this.maxLength} bytes`);
  }

  override readConnectionLost(): void {
    this.leave('hung up');
  }

  /** Ends the connection, and says why. */
  leave(why: string): void {
    if (this.transport.disconnecting) return;
    this.#why = why;
    this.sendLine(`* You left: ${why}`);
    this.transport.loseConnection();
  }

  override connectionLost(reason: Reason): void {
    this.factory.left(this, reason instanceof ConnectionDone ? this.#why : reason.message);
  }
}

/** Those who are here. */
class ChatRoom extends Factory {
  override protocol = Guest;
  readonly #guests = new Map<string, Guest>();

  /** Whether `name` was free, and is the guest's now. */
  enter(name: string, guest: Guest): boolean {
    if (this.#guests.has(name)) return false;
    guest.name = name;
    this.#guests.set(name, guest);
    this.tell(`* ${name} came`);
    return true;
  }

  /** To everybody. */
  tell(line: string): void {
    for (const guest of this.#guests.values()) guest.sendLine(line);
  }

  left(guest: Guest, why: string): void {
    if (this.#guests.delete(guest.name)) this.tell(`* ${guest.name} left: ${why}`);
  }

  override stopFactory(): void {
    for (const guest of this.#guests.values()) guest.leave('the room was closed');
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '7011' },
      host: { type: 'string', default: '127.0.0.1' },
      'idle-ms': { type: 'string', default: '600000' },
      'bytes-per-second': { type: 'string', default: '1000' },
      'guests-per-peer': { type: 'string', default: '5' },
    },
  });
  await using loop = new IOLoop();
  const readLimit = Number(values['bytes-per-second']);
  const throttled = new ThrottlingFactory(new ChatRoom(), { readLimit, perConnection: true });
  const timed = new TimeoutFactory(throttled, { timeoutMs: Number(values['idle-ms']) });
  const limited = new LimitConnectionsByPeer(timed, {
    maxConnectionsPerPeer: Number(values['guests-per-peer']),
  });
  const port = await listenTcp(Number(values.port), limited, {
    interface: values.host,
    maxWriteBufferSize: MAX_QUEUED,
  });
  console.log(`chatting on ${port.getHost()}`);
  loop.onStop(() => port.stopListening());
  process.once('SIGINT', () => loop.stop()).once('SIGTERM', () => loop.stop());
  await loop.start();
}

main().catch((error: unknown) => {
  const known = error instanceof Error && 'code' in error;
  console.error(known ? error.message : error);
  process.exitCode = 1;
});
