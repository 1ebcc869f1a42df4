/**
 * Answers DNS queries for a small zone: A, AAAA and TXT over UDP, RFC 1035.
 *
 *   node --import tsx examples/dns-responder.ts [--port 7006] [--host 127.0.0.1]
 *   dig @127.0.0.1 -p 7006 poem.test TXT
 *
 * What is no query gets no answer, or two responders would answer each other's answers for ever. Every
 * other datagram gets one: what cannot be understood is refused by a header alone.
 */
import { isIPv6 } from 'node:net';
import { parseArgs } from 'node:util';
import { DatagramSocket, IOLoop, IOLoopError, SystemError } from 'ioloop';

const HEADER_SIZE = 12;
/** Of a query (RFC 1035, 4.2.1): header and question fit, and nothing behind them is looked at. */
const MAX_QUERY = 512;
const MAX_LABEL = 63;
const MAX_NAME = 255;

const TYPE = { A: 1, TXT: 16, AAAA: 28 };
const CODE = { NO_ERROR: 0, FORMAT_ERROR: 1, NAME_ERROR: 3, NOT_IMPLEMENTED: 4, REFUSED: 5 };
const FLAG = { RESPONSE: 0x8000, OPCODE: 0x7800, AUTHORITATIVE: 0x0400, RECURSION_DESIRED: 0x0100 };
const INTERNET = 1;

const TTL_SECONDS = 60;
/** Where the question's name begins: every answer is for that one. */
const POINTER_TO_NAME = 0xc000 | HEADER_SIZE;

/** A resource record for the name that was asked for. */
function record(type: number, data: Uint8Array): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(POINTER_TO_NAME, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt16BE(INTERNET, 4);
  head.writeUInt32BE(TTL_SECONDS, 6);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

const ipv4 = (address: string): Buffer => record(TYPE.A, Buffer.from(address.split('.').map(Number)));

function ipv6(address: string): Buffer {
  const [left = [], right = []] = address.split('::').map((half) => half.split(':').filter(Boolean));
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0');
  const words = [...left, ...zeros, ...right].map((word) => word.padStart(4, '0'));
  return record(TYPE.AAAA, Buffer.from(words.join(''), 'hex'));
}

/** At most 255 bytes: longer texts are several strings. */
const txt = (text: string): Buffer =>
  record(TYPE.TXT, Buffer.concat([Buffer.of(Buffer.byteLength(text)), Buffer.from(text)]));

/** The records of each name by their type. All of one type fit into 512 bytes, with the question. */
const ZONE: ReadonlyMap<string, ReadonlyMap<number, readonly Buffer[]>> = new Map([
  [
    'poem.test',
    new Map([
      [TYPE.A, [ipv4('192.0.2.1'), ipv4('192.0.2.2')]],
      [TYPE.AAAA, [ipv6('2001:db8::1')]],
      [TYPE.TXT, [txt('"Hope" is the thing with feathers -')]],
    ]),
  ],
  ['only-ipv4.poem.test', new Map([[TYPE.A, [ipv4('192.0.2.3')]]])],
]);

/** What lies below `poem.test` and is not in the zone does not exist; all else is not for us to say. */
const isOurs = (name: string): boolean => name === 'poem.test' || name.endsWith('.poem.test');

interface Question {
  /** In small letters. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** The question as it was asked, which the answer repeats. */
  readonly bytes: Buffer;
}

/** The one question of a query; null: it is malformed. */
function parseQuestion(query: Buffer): Question | null {
  const labels: string[] = [];
  let at = HEADER_SIZE;
  for (let length = query[at]; length !== 0; length = query[at]) {
    // Longer ones are pointers to a name before this one, and there is none.
    if (length === undefined || length > MAX_LABEL) return null;
    const label = query.toString('latin1', at + 1, at + 1 + length);
    labels.push(label.toLowerCase().replaceAll('.', '\\.'));
    at += 1 + length;
  }
  at++;
  if (at - HEADER_SIZE > MAX_NAME || at + 4 > query.length) return null;
  const name = labels.join('.');
  const bytes = query.subarray(HEADER_SIZE, at + 4);
  return { name, type: query.readUInt16BE(at), class: query.readUInt16BE(at + 2), bytes };
}

/** An answer to `query`; `question`: as it is repeated. */
function respond(query: Buffer, code: number, question?: Buffer, records: readonly Buffer[] = []): Buffer {
  const header = Buffer.alloc(HEADER_SIZE);
  query.copy(header, 0, 0, 2);
  const repeated = query.readUInt16BE(2) & (FLAG.OPCODE | FLAG.RECURSION_DESIRED);
  const authority = code === CODE.NO_ERROR || code === CODE.NAME_ERROR ? FLAG.AUTHORITATIVE : 0;
  header.writeUInt16BE(FLAG.RESPONSE | repeated | authority | code, 2);
  header.writeUInt16BE(question === undefined ? 0 : 1, 4);
  header.writeUInt16BE(records.length, 6);
  return Buffer.concat([header, question ?? Buffer.alloc(0), ...records]);
}

/** What `query` gets; null: nothing, for it is none. */
function answer(query: Buffer): Buffer | null {
  if (query.length < HEADER_SIZE) return null;
  const flags = query.readUInt16BE(2);
  if ((flags & FLAG.RESPONSE) !== 0) return null;
  if ((flags & FLAG.OPCODE) !== 0) return respond(query, CODE.NOT_IMPLEMENTED);
  const question = query.readUInt16BE(4) === 1 ? parseQuestion(query) : null;
  if (question === null) return respond(query, CODE.FORMAT_ERROR);
  const { name, type, bytes } = question;
  if (question.class !== INTERNET || !isOurs(name)) return respond(query, CODE.REFUSED, bytes);
  const records = ZONE.get(name);
  if (records === undefined) return respond(query, CODE.NAME_ERROR, bytes);
  return respond(query, CODE.NO_ERROR, bytes, records.get(type));
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { port: { type: 'string', default: '7006' }, host: { type: 'string', default: '127.0.0.1' } },
  });
  await using loop = new IOLoop();
  const socket = new DatagramSocket({
    type: isIPv6(values.host) ? 'udp6' : 'udp4',
    maxPacketSize: MAX_QUERY,
  });
  socket.onMessages((batch) => {
    for (let i = 0; i < batch.length; i++) {
      const response = answer(batch.data(i));
      if (response !== null) batch.reply(i, response);
    }
  });
  console.log(`answering for poem.test on ${await socket.bind(Number(values.port), values.host)}`);
  process.once('SIGINT', () => loop.stop()).once('SIGTERM', () => loop.stop());
  await loop.start();
}

main().catch((error: unknown) => {
  const known = error instanceof SystemError || error instanceof TypeError || IOLoopError.is(error);
  console.error(known ? error.message : error);
  process.exitCode = 1;
});
