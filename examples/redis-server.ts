/**
 * A little Redis: PING, SET, GET, DEL, INCR and EXPIRE, for redis-cli and redis-benchmark.
 *
 *   node --import tsx examples/redis-server.ts [--port 7005] [--host 127.0.0.1]
 *
 * The protocol is RESP2, https://redis.io/docs/latest/develop/reference/protocol-spec. A client may
 * send a thousand commands before it reads an answer: what has come is answered in one turn, by one
 * send.
 */
import { parseArgs } from 'node:util';
import {
  type Bytes,
  type Chunk,
  IOLoop,
  IOLoopError,
  type IOStream,
  SystemError,
  TCPServer,
  type TimerHandle,
} from 'ioloop';

const CRLF = Buffer.from('\r\n');
const MAX_ARGUMENTS = 1024;
const MAX_LENGTH = 512 * 1024;

/** What cannot be answered but by hanging up. */
class ProtocolError extends Error {}

/** The values, each with the timer that ends it. */
class Store {
  readonly #loop: IOLoop;
  readonly #values = new Map<string, Uint8Array>();
  readonly #expiries = new Map<string, TimerHandle>();

  constructor(loop: IOLoop) {
    this.#loop = loop;
  }

  get(key: string): Uint8Array | undefined {
    return this.#values.get(key);
  }

  /** Keeps when the value expires. */
  update(key: string, value: Uint8Array): void {
    // A copy: what was read may be a small part of a large buffer.
    this.#values.set(key, Buffer.from(value));
  }

  set(key: string, value: Uint8Array): void {
    this.delete(key);
    this.update(key, value);
  }

  delete(key: string): boolean {
    this.#expiries.get(key)?.cancel();
    this.#expiries.delete(key);
    return this.#values.delete(key);
  }

  expire(key: string, delayMs: number): boolean {
    if (!this.#values.has(key)) return false;
    this.#expiries.get(key)?.cancel();
    this.#expiries.set(key, this.#loop.callLater(delayMs, () => void this.delete(key)).unref());
    return true;
  }
}

const OK = '+OK\r\n';
const EMPTY = Buffer.alloc(0);
const NO_INTEGER = '-ERR value is not an integer or out of range\r\n';

const integer = (value: number | boolean): string => `:${Number(value)}\r\n`;
const bulk = (value: Uint8Array | undefined): Bytes =>
  value === undefined ? '$-1\r\n' : [Buffer.from(`$${value.length}\r\n`), value, CRLF];

/** The whole number that `argument` spells, or NaN. */
function toInteger(argument: Uint8Array): number {
  const text = Buffer.from(argument).toString('latin1');
  return /^-?\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
}

interface Command {
  /** How many arguments, at least and at most. */
  readonly arity: readonly [least: number, most: number];
  readonly run: (store: Store, key: string, ...values: Chunk[]) => Bytes;
}

const COMMANDS: ReadonlyMap<string, Command> = new Map<string, Command>([
  [
    'PING',
    { arity: [0, 1], run: (_, text) => (text === '' ? '+PONG\r\n' : bulk(Buffer.from(text, 'latin1'))) },
  ],
  ['GET', { arity: [1, 1], run: (store, key) => bulk(store.get(key)) }],
  ['SET', { arity: [2, 4], run: set }],
  ['DEL', { arity: [1, MAX_ARGUMENTS], run: remove }],
  ['INCR', { arity: [1, 1], run: increment }],
  ['EXPIRE', { arity: [2, 2], run: expire }],
  // Asked by redis-benchmark and redis-cli when they connect: nothing is set, nothing is documented.
  [
    'CONFIG',
    { arity: [2, 2], run: (_, _get, name = EMPTY) => `*2\r\n$${name.length}\r\n${name}\r\n$0\r\n\r\n` },
  ],
  ['COMMAND', { arity: [0, MAX_ARGUMENTS], run: () => '*0\r\n' }],
  ['QUIT', { arity: [0, 0], run: () => OK }],
]);

/** SET key value [EX seconds | PX milliseconds] */
function set(store: Store, key: string, value: Chunk, unit?: Chunk, time?: Chunk): Bytes {
  const scale = unit === undefined ? 0 : { EX: 1000, PX: 1 }[unit.toString().toUpperCase()];
  if (scale === undefined || (unit === undefined) !== (time === undefined)) return '-ERR syntax error\r\n';
  const delayMs = time === undefined ? Number.POSITIVE_INFINITY : toInteger(time) * scale;
  if (!(delayMs > 0)) return "-ERR invalid expire time in 'set' command\r\n";
  store.set(key, value);
  if (time !== undefined) store.expire(key, delayMs);
  return OK;
}

function remove(store: Store, key: string, ...more: Chunk[]): Bytes {
  const keys = [key, ...more.map((name) => name.toString('latin1'))];
  return integer(keys.filter((name) => store.delete(name)).length);
}

function increment(store: Store, key: string): Bytes {
  const value = toInteger(store.get(key) ?? Buffer.from('0')) + 1;
  if (Number.isNaN(value)) return NO_INTEGER;
  store.update(key, Buffer.from(String(value)));
  return integer(value);
}

function expire(store: Store, key: string, seconds: Chunk): Bytes {
  const delayMs = toInteger(seconds) * 1000;
  if (Number.isNaN(delayMs)) return NO_INTEGER;
  return integer(delayMs > 0 ? store.expire(key, delayMs) : store.delete(key));
}

function answer(store: Store, name: string, args: readonly Chunk[]): Bytes {
  const command = COMMANDS.get(name);
  if (command === undefined)
    return `-ERR unknown command '${name.slice(0, 128).replace(/\p{Cc}/gu, ' ')}'\r\n`;
  const { arity, run } = command;
  if (args.length < arity[0] || args.length > arity[1])
    return `-ERR wrong number of arguments for '${name.toLowerCase()}' command\r\n`;
  const [key, ...values] = args;
  return run(store, key?.toString('latin1') ?? '', ...values);
}

/** What has come already, without waiting; else what will. */
async function readLine(stream: IOStream): Promise<string> {
  const line = stream.tryReadUntil(CRLF) ?? (await stream.readUntil(CRLF));
  return line.toString('latin1', 0, line.length - CRLF.length);
}

/** The number behind `sign`, which says how much follows. */
function parseSize(line: string, sign: string, most: number): number {
  if (!line.startsWith(sign)) throw new ProtocolError(`expected '${sign}'`);
  const size = Number(line.slice(1));
  if (line.length > 1 && Number.isInteger(size) && size >= 0 && size <= most) return size;
  throw new ProtocolError('invalid length');
}

/** A command and its arguments, as an array of strings or, typed by hand, as words in a line. */
async function readCommand(stream: IOStream): Promise<Chunk[]> {
  const line = await readLine(stream);
  if (!line.startsWith('*'))
    return line
      .split(' ')
      .filter(Boolean)
      .map((word) => Buffer.from(word, 'latin1'));
  const args: Chunk[] = [];
  for (let left = parseSize(line, '*', MAX_ARGUMENTS); left > 0; left--) {
    const length = parseSize(await readLine(stream), '$', MAX_LENGTH);
    const size = length + CRLF.length;
    const bytes = stream.tryReadBytes(size) ?? (await stream.readBytes(size));
    args.push(bytes.subarray(0, length));
  }
  return args;
}

async function serve(stream: IOStream, store: Store): Promise<void> {
  try {
    for (let name = ''; name !== 'QUIT'; ) {
      const [command, ...args] = await readCommand(stream);
      if (command === undefined) continue;
      name = command.toString('latin1').toUpperCase();
      await stream.write(answer(store, name, args));
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    void stream.write(`-ERR Protocol error: ${error.message}\r\n`);
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { port: { type: 'string', default: '7005' }, host: { type: 'string', default: '127.0.0.1' } },
  });
  await using loop = new IOLoop();
  const store = new Store(loop);
  const server = new TCPServer((stream) => serve(stream, store));
  const { address, port } = await server.listen(Number(values.port), values.host);
  console.log(`redis-cli -h ${address} -p ${port}`);
  process.once('SIGINT', () => loop.stop()).once('SIGTERM', () => loop.stop());
  await loop.start();
}

main().catch((error: unknown) => {
  const known = error instanceof SystemError || error instanceof TypeError || IOLoopError.is(error);
  console.error(known ? error.message : error);
  process.exitCode = 1;
});
