import * as assert from 'uvu/assert';

import type { IOStream } from '../../src/index.ts';
import { deliver, type StreamPair, streamKinds, suitePerStream, withPair } from '../support/streams.ts';
import { suite } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { within } from '../support/within.ts';

const LIMIT_MS = 30_000;
/** A simulated kernel that does all the time what a real one does rarely. */
const MOODY = { maxDelayMs: 5, shortRead: 0.5, shortWrite: 0.5, spuriousAgain: 0.3, interrupt: 0.2 };

/** Something to read: what goes over the wire, and what the reads make of it wherever it is split. */
interface ParseCase {
  readonly name: string;
  readonly wire: Buffer;
  readonly read: (stream: IOStream) => Promise<readonly Buffer[]>;
  readonly expected: readonly string[];
}

/** The messages that `wire` consists of, read by `delimiter`. */
function delimited(delimiter: string, ...messages: readonly string[]): ParseCase {
  return {
    name: `readUntil(${JSON.stringify(delimiter)}) of ${JSON.stringify(messages.join('')).slice(0, 40)}`,
    wire: Buffer.from(messages.join('')),
    read: (stream) => readEach(messages, () => stream.readUntil(delimiter)),
    expected: messages,
  };
}

function matched(pattern: RegExp, ...messages: readonly string[]): ParseCase {
  return {
    name: `readUntilRegex(${pattern})`,
    wire: Buffer.from(messages.join(''), 'latin1'),
    read: (stream) => readEach(messages, () => stream.readUntilRegex(pattern)),
    expected: messages,
  };
}

async function readEach(messages: readonly string[], read: () => Promise<Buffer>): Promise<Buffer[]> {
  const received: Buffer[] = [];
  for (const _ of messages) received.push(await read());
  return received;
}

/** `length` bytes in reads that take what there is. */
async function readPieces(length: number, read: (left: number) => Promise<Buffer>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (let left = length; left > 0; ) {
    const piece = await read(left);
    assert.ok(piece.length >= 1 && piece.length <= left, `${piece.length} bytes for a read of 1 to ${left}`);
    pieces.push(piece);
    left -= piece.length;
  }
  return Buffer.concat(pieces);
}

/** What `attempt` gives as soon as there is enough. */
async function tried(stream: IOStream, attempt: () => Buffer | null): Promise<Buffer> {
  for (;;) {
    const message = attempt();
    if (message !== null) return message;
    // A timer, since a simulated clock stands still while there is something to do.
    await new Promise<void>((resolve) => stream.loop.callLater(0.01, resolve));
  }
}

/** Adds `piece` to `pieces`: how long they are together. */
function addTo(pieces: Buffer[], piece: Buffer): number {
  pieces.push(piece);
  return pieces.reduce((length, { length: more }) => length + more, 0);
}

async function readInto(stream: IOStream, size: number, partial: boolean): Promise<Buffer> {
  const target = Buffer.alloc(size);
  const count = await stream.readInto(target, { partial });
  if (!partial) assert.is(count, size);
  return target.subarray(0, count);
}

const DELIMITER_64 = `${'ab'.repeat(31)}aa`;
const NULS = '\0\0\0';

const cases: readonly ParseCase[] = [
  delimited('\n', 'one\n', '\n', 'three\n'),
  delimited('\r\n', '\r\r\n', '\r\n', 'a\rb\nc\r\n'),
  delimited('\r\n\r\n', 'head\r\n\r\r\n\r\n', '\r\n\r\n'),
  delimited('aaab', 'aaaaab', 'aabaaab', 'aaab'),
  delimited('aab', 'aaab', 'abaab'),
  delimited('abab', 'abaabab', 'abab'),
  delimited(NULS, `x${NULS}`, `\0\0y${NULS}`),
  delimited('€', 'price 3 €', '€'),
  delimited(DELIMITER_64, `${'ab'.repeat(40)}aa`, DELIMITER_64),
  {
    name: 'readUntil(bytes)',
    wire: Buffer.from([1, 2, 255, 254, 3, 255, 254]),
    read: (stream) => readEach(['', ''], () => stream.readUntil(Uint8Array.of(255, 254))),
    expected: ['\x01\x02\xff\xfe', '\x03\xff\xfe'],
  },
  matched(/\r?\n\r?\n/, 'GET /\n\n', 'a: b\r\n\r\n'),
  matched(/;[0-9a-f]{4};/, 'xx;12;;beef;', ';0000;'),
  matched(/[\x80-\xff]!/, 'caf\xe9!', '\xff!'),
  {
    name: 'readBytes(n)',
    wire: Buffer.from('abcdefghij'),
    read: async (stream) => [await stream.readBytes(1), await stream.readBytes(6), await stream.readBytes(3)],
    expected: ['a', 'bcdefg', 'hij'],
  },
  {
    name: 'readBytes(n, partial)',
    wire: Buffer.from('abcdefghij'),
    read: async (stream) => [
      await readPieces(4, (left) => stream.readBytes(left, { partial: true })),
      await readPieces(6, (left) => stream.readBytes(left, { partial: true })),
    ],
    expected: ['abcd', 'efghij'],
  },
  {
    name: 'readInto()',
    wire: Buffer.from('abcdefghij'),
    read: async (stream) => [await readInto(stream, 7, false), await readInto(stream, 3, false)],
    expected: ['abcdefg', 'hij'],
  },
  {
    name: 'readInto(partial)',
    wire: Buffer.from('abcdefghij'),
    read: async (stream) => [
      await readPieces(3, (left) => readInto(stream, left, true)),
      await readPieces(7, (left) => readInto(stream, left, true)),
    ],
    expected: ['abc', 'defghij'],
  },
  {
    name: 'tryReadUntil() and tryReadBytes()',
    wire: Buffer.from('one\r\ntwo\r\nrest'),
    read: async (stream) => [
      await tried(stream, () => stream.tryReadUntil('\r\n')),
      await tried(stream, () => stream.tryReadUntil(Buffer.from('\r\n'))),
      await tried(stream, () => stream.tryReadBytes(4)),
    ],
    expected: ['one\r\n', 'two\r\n', 'rest'],
  },
  {
    name: 'an iteration',
    wire: Buffer.from('abcdefghij'),
    read: async (stream) => {
      const pieces: Buffer[] = [];
      for await (const piece of stream) if (addTo(pieces, piece) === 10) break;
      return [Buffer.concat(pieces)];
    },
    expected: ['abcdefghij'],
  },
  {
    name: 'onData()',
    wire: Buffer.from('abcdefghij'),
    read: async (stream) => {
      const pieces: Buffer[] = [];
      await new Promise<void>((resolve) =>
        stream.onData((piece) => {
          if (addTo(pieces, piece) === 10) resolve();
        }),
      );
      stream.onData(null);
      return [Buffer.concat(pieces)];
    },
    expected: ['abcdefghij'],
  },
  {
    name: 'unshift()',
    wire: Buffer.from('line\nnext\n'),
    read: async (stream) => {
      stream.unshift(await stream.readBytes(3));
      const line = await stream.readUntil('\n');
      stream.unshift(line);
      return [await stream.readUntilRegex(/\n/), await stream.readUntil('\n')];
    },
    expected: ['line\n', 'next\n'],
  },
  {
    name: 'each kind after the other',
    wire: Buffer.from('line\n5:hello;into--end\r\n\r\n'),
    read: async (stream) => [
      await stream.readUntil('\n'),
      await stream.readUntilRegex(/\d+:/),
      await stream.readBytes(5),
      await stream.readBytes(1, { partial: true }),
      await readInto(stream, 4, false),
      await stream.readUntil('--'),
      await stream.readUntil('\r\n\r\n'),
    ],
    expected: ['line\n', '5:', 'hello', ';', 'into', '--', 'end\r\n\r\n'],
  },
];

/** `wire` in two pieces, at each place, and byte by byte. */
function* splitsOf(wire: Buffer): Generator<readonly Buffer[]> {
  yield [wire];
  for (let at = 1; at < wire.length; at++) yield [wire.subarray(0, at), wire.subarray(at)];
  yield [...wire].map((byte) => Buffer.of(byte));
}

/** Reads while `send` delivers, and compares. */
async function check(
  { right }: StreamPair,
  { read, expected }: ParseCase,
  what: string,
  send: () => Promise<void>,
): Promise<void> {
  const reading = read(right);
  await send();
  const received = await within(LIMIT_MS, reading, what);
  assert.equal(
    received.map((message) => message.toString('latin1')),
    expected.map((message) =>
      /[^\0-\xff]/.test(message) ? Buffer.from(message).toString('latin1') : message,
    ),
    what,
  );
  assert.is(right.bytesBuffered, 0, 'bytes are left over');
}

function checkSplit(pair: StreamPair, parseCase: ParseCase, pieces: readonly Buffer[]): Promise<void> {
  const what = `the messages, split after ${pieces.map(({ length }) => length).join(', ')}`;
  return check(pair, parseCase, what, async () => {
    for (const piece of pieces) await deliver(pair, piece);
  });
}

suitePerStream('reads at every split', streamKinds, (test, kind) => {
  for (const parseCase of cases) {
    test(`${parseCase.name} gives the same, and byte by byte`, async (context) => {
      await withPair(kind, context, {}, async (pair) => {
        for (const pieces of splitsOf(parseCase.wire)) await checkSplit(pair, parseCase, pieces);
      });
    });

    test(`${parseCase.name} gives the same from the buffer`, async (context) => {
      await withPair(kind, context, {}, async (pair) => {
        await deliver(pair, parseCase.wire);
        await checkSplit(pair, parseCase, []);
      });
    });
  }
});

suite('reads from a kernel in a bad mood', (test) => {
  for (const parseCase of cases) {
    test(`${parseCase.name} gives the same`, async (context) => {
      for (let seed = 1; seed <= count(10, 500); seed++) {
        const network = { ...MOODY, seed };
        await withPair('sim', context, { network }, (pair) =>
          check(pair, parseCase, `the messages of seed ${seed}`, async () => {
            for (const byte of parseCase.wire) await pair.left.write(Buffer.of(byte));
            await pair.left.flush();
          }),
        );
      }
    });
  }
});
