import * as assert from 'uvu/assert';

import {
  type Address,
  encodeProxyHeader,
  IOLoopError,
  LimitError,
  type ProxyHeader,
  ProxyHeaderError,
  type ProxyHeaderOptions,
  ProxyHeaderParser,
} from '../../src/index.ts';
import { crc32c } from '../../src/stream/crc32c.ts';
import { Random } from '../support/random.ts';
import { suite } from '../support/suite.ts';
import { count } from '../support/tier.ts';

const NOTHING = { alpn: null, authority: null, uniqueId: null, networkNamespace: null, ssl: null, tlvs: [] };
const SIGNATURE = '0d0a0d0a000d0a515549540a';
/** Of version 2, TCP over IPv4: what has 12 bytes of addresses, and `tlvs`. */
const ADDRESSES = 'c0a80001 c0a8000b dc04 01bb';

function inet(address: string, port: number): Address {
  return { family: address.includes(':') ? 'IPv6' : 'IPv4', address, port };
}

function unix(path: string): Address {
  return { family: 'Unix', path };
}

/** A header of version 2 in hexadecimal: behind the signature, with the length of `body` in its place. */
function binary(versionAndKind: string, body = ''): Buffer {
  const bytes = Buffer.from(body.replaceAll(' ', ''), 'hex');
  const length = bytes.length.toString(16).padStart(4, '0');
  return Buffer.concat([Buffer.from(SIGNATURE + versionAndKind + length, 'hex'), bytes]);
}

function tcp4(tlvs = ''): Buffer {
  return binary('2111', ADDRESSES + tlvs);
}

/** What is pushed into a parser, all at once, and what is behind the header. */
function parse(bytes: Uint8Array, maxBytes?: number): { header: ProxyHeader | null; unread: string } {
  const parser = new ProxyHeaderParser({ maxBytes });
  const header = parser.push(bytes);
  return { header, unread: Buffer.from(parser.unread).toString('latin1') };
}

/** The header, in the form that all of its addresses have in these tests. */
function plain(header: ProxyHeader | null): unknown {
  const addressOf = (address: Address | null | undefined): unknown => address && { ...address };
  return (
    header && { ...header, source: addressOf(header.source), destination: addressOf(header.destination) }
  );
}

function refuses(bytes: Buffer, message: RegExp): void {
  assert.throws(
    () => parse(bytes),
    (error: unknown) => error instanceof ProxyHeaderError && message.test(error.message),
    `${bytes.toString('hex')} is refused: ${message}`,
  );
}

const LINES: readonly (readonly [line: string, source: Address, destination: Address])[] = [
  [
    'PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n',
    inet('192.168.0.1', 56324),
    inet('192.168.0.11', 443),
  ],
  ['PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n', inet('255.255.255.255', 65535), inet('0.0.0.0', 0)],
  ['PROXY TCP6 2001:DB8::1 ::1 1 2\r\n', inet('2001:db8::1', 1), inet('::1', 2)],
  ['PROXY TCP6 ::ffff:10.0.0.1 0:0:0:0:0:0:0:0 1 2\r\n', inet('::ffff:10.0.0.1', 1), inet('::', 2)],
  [
    `PROXY TCP6 ${Array(8).fill('ffff').join(':')} ${Array(8).fill('ffff').join(':')} 65535 65535\r\n`,
    inet(Array(8).fill('ffff').join(':'), 65535),
    inet(Array(8).fill('ffff').join(':'), 65535),
  ],
];

suite('a PROXY header of version 1', (test) => {
  test('says who the client is, and what is behind it stays', () => {
    for (const [line, source, destination] of LINES)
      assert.equal(
        parse(Buffer.from(`${line}PROXY`)).unread + JSON.stringify(plain(parse(Buffer.from(line)).header)),
        `PROXY${JSON.stringify({ version: 1, command: 'PROXY', transport: 'stream', source, destination, ...NOTHING })}`,
      );
  });

  test('may not know the client, whatever else it says', () => {
    const longest = `PROXY UNKNOWN ${'x'.repeat(91)}\r\n`;
    assert.is(longest.length, 107);
    for (const line of ['PROXY UNKNOWN\r\n', 'PROXY UNKNOWN ffff:f...f:ffff 65535\r\n', longest]) {
      const { header, unread } = parse(Buffer.from(`${line}\n`));
      assert.equal([header?.command, header?.source, header?.destination], ['PROXY', null, null]);
      assert.is(unread, '\n');
    }
  });

  test('has no other form', () => {
    for (const [line, message] of [
      ['PROXY TCP4 192.168.0.01 192.168.0.11 1 2\r\n', /'192\.168\.0\.01' is no address of IPv4/],
      ['PROXY TCP4 ::1 ::1 1 2\r\n', /'::1' is no address of IPv4/],
      ['PROXY TCP6 127.0.0.1 ::1 1 2\r\n', /'127\.0\.0\.1' is no address of IPv6/],
      ['PROXY TCP6 fe80::1%lo ::1 1 2\r\n', /'fe80::1%lo' is no address of IPv6/],
      ['PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n', /is no line/],
      ['PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n', /is no line/],
      ['PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n', /65536 is no port/],
      ['PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n', /is no line/],
      ['PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n', /is no line/],
      ['PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n', /is no line/],
      ['PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n', /is no line/],
      ['PROXY UNKNOWNS\r\n', /is no line/],
      ['PROXY \r\n', /is no line/],
      ['PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n', /ends with CR and LF/],
      ['PROXY TCP4 1.2.3.4\r 1.2.3.4 1 2\n', /ends with CR and LF/],
      ['proxy TCP4', /is no PROXY header/],
      [`PROXY UNKNOWN ${'x'.repeat(92)}\r\n`, /within 107 bytes/],
      [`PROXY TCP4 ${'1'.repeat(200)}`, /within 107 bytes/],
    ] as const)
      refuses(Buffer.from(line), message);
  });
});

suite('a PROXY header of version 2', (test) => {
  test('says who the client is, and how it came', () => {
    const headers = [
      [tcp4(), 'stream', '192.168.0.1:56324', '192.168.0.11:443'],
      [binary('2112', ADDRESSES), 'datagram', '192.168.0.1:56324', '192.168.0.11:443'],
      [
        binary('2121', `20010db8${'0'.repeat(23)}1 ${'0'.repeat(31)}1 0001 ffff`),
        'stream',
        '[2001:db8::1]:1',
        '[::1]:65535',
      ],
      [
        binary('2131', `${Buffer.from('/run/a').toString('hex').padEnd(216, '0')}${'0062'.padEnd(216, '0')}`),
        'stream',
        '/run/a',
        '@b',
      ],
    ] as const;
    for (const [bytes, transport, source, destination] of headers) {
      const { header, unread } = parse(Buffer.concat([bytes, Buffer.from('GET')]));
      assert.equal([header?.version, header?.command, header?.transport], [2, 'PROXY', transport]);
      assert.equal([String(header?.source), String(header?.destination)], [source, destination]);
      assert.is(unread, 'GET');
    }
  });

  test('may be of a proxy that speaks for itself, whatever else it says', () => {
    for (const bytes of [binary('2000'), binary('2011', ADDRESSES), binary('20ff', '01 ffff 00')]) {
      const { header } = parse(bytes);
      assert.equal(plain(header), {
        ...{ version: 2, command: 'LOCAL', transport: null, source: null, destination: null },
        ...NOTHING,
      });
    }
  });

  test('may not know the client, and say something else of it', () => {
    const { header } = parse(binary('2100', '02 0003 612e62'));
    assert.equal([header?.source, header?.transport, header?.authority], [null, null, 'a.b']);
  });

  test('has more to say by types, lengths and values', () => {
    const { header } = parse(
      tcp4('01 0002 6832 02 0003 612e62 04 0002 ffff 05 0002 0102 30 0002 6e73 e0 0001 07 e0 0000'),
    );
    assert.equal(plain(header), {
      ...{ version: 2, command: 'PROXY', transport: 'stream' },
      ...{ source: inet('192.168.0.1', 56324), destination: inet('192.168.0.11', 443) },
      ...{ alpn: 'h2', authority: 'a.b', uniqueId: Buffer.of(1, 2), networkNamespace: 'ns', ssl: null },
      tlvs: [
        { type: 0xe0, value: Buffer.of(7) },
        { type: 0xe0, value: Buffer.of() },
      ],
    });
  });

  test('says how the client and the proxy have met over TLS', () => {
    const ssl = (fixed: string): ProxyHeader['ssl'] | undefined =>
      parse(tcp4(`20 0013 ${fixed} 21 0003 312e33 22 0001 41 2f 0001 00`)).header?.ssl;
    const said = {
      ...{ version: '1.3', commonName: 'A', cipher: null, signatureAlgorithm: null, keyAlgorithm: null },
      tlvs: [{ type: 0x2f, value: Buffer.of(0) }],
    };
    for (const [fixed, expected] of [
      ['07 00000000', { encrypted: true, certificate: 'connection', verified: true }],
      ['05 00000000', { encrypted: true, certificate: 'session', verified: true }],
      ['03 00000012', { encrypted: true, certificate: 'connection', verified: false }],
      ['01 00000000', { encrypted: true, certificate: null, verified: false }],
      ['00 00000001', { encrypted: false, certificate: null, verified: false }],
    ] as const)
      assert.equal(ssl(fixed), { ...expected, ...said }, fixed);
  });

  test('is checked by its checksum', () => {
    // RFC 3720, appendix B.4.
    assert.is(crc32c(Buffer.alloc(32)), 0x8a9136aa);
    assert.is(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43);
    assert.is(crc32c(Buffer.from('123456789')), 0xe3069283);
    const signed = encodeProxyHeader({
      source: inet('1.2.3.4', 5),
      destination: inet('6.7.8.9', 10),
      crc32c: true,
    });
    assert.equal([signed.length, parse(signed).header?.tlvs], [35, []]);
    for (let at = 0; at < signed.length; at++) {
      const changed = Buffer.from(signed);
      changed.writeUInt8(changed.readUInt8(at) ^ 0x20, at);
      if (at < 16) assert.throws(() => parse(Buffer.concat([changed, Buffer.alloc(0xffff)]), 0xffff + 16));
      else if (at < 28 || at > 30) refuses(changed, /the checksum \(CRC32C\) is wrong/);
    }
  });

  test('has no other form', () => {
    for (const [bytes, message] of [
      [binary('3111', ADDRESSES), /version 3 is not known/],
      [binary('0111', ADDRESSES), /version 0 is not known/],
      [binary('2211', ADDRESSES), /command 2 is not known/],
      [binary('2141', ADDRESSES), /family and transport 0x41/],
      [binary('2110', ADDRESSES), /family and transport 0x10/],
      [binary('2101', ADDRESSES), /family and transport 0x01/],
      [binary('2113', ADDRESSES), /family and transport 0x13/],
      [binary('2111', 'c0a80001 c0a8000b dc04 01'), /11 bytes do not hold addresses of 12/],
      [binary('2121', ADDRESSES), /12 bytes do not hold addresses of 36/],
      [binary('2131', ADDRESSES), /12 bytes do not hold addresses of 216/],
      [tcp4('01'), /a TLV does not fit into the 1 bytes left/],
      [tcp4('01 00'), /does not fit into the 2 bytes/],
      [tcp4('e0 0002 00'), /does not fit into the 4 bytes/],
      [tcp4('e0 ffff'), /does not fit into the 3 bytes/],
      [tcp4('02 0001 61 02 0001 62'), /two TLVs of type 2/],
      [tcp4('03 0003 000000'), /the checksum has 3 bytes/],
      [tcp4(`05 0081 ${'00'.repeat(129)}`), /the unique ID has 129 bytes/],
      [tcp4('20 0004 00000000'), /4 bytes say of TLS/],
      [tcp4('20 0007 0000000000 21 00'), /does not fit into the 2 bytes/],
    ] as const)
      refuses(bytes, message);
  });

  test('is no longer than the parser allows, which says so as soon as it can', () => {
    const parseStart = (length: number, maxBytes?: number): unknown => {
      const start = tcp4().subarray(0, 16);
      start.writeUInt16BE(length, 14);
      return parse(start, maxBytes).header;
    };
    assert.is(parseStart(4080), null);
    assert.is(parseStart(0xffff, 65_551), null);
    for (const [length, maxBytes] of [
      [4081, 4096],
      [12, 16],
      [0xffff, 65_550],
    ] as const)
      assert.throws(
        () => parseStart(length, maxBytes),
        (error: unknown) => error instanceof LimitError && error.limit === maxBytes,
      );
    const large = tcp4(`e0 ffe0 ${'07'.repeat(0xffe0)}`);
    assert.is(parse(large, 65_551).header?.tlvs[0]?.value.length, 0xffe0);
  });
});

/** One of each kind: what has to come back from the encoder's bytes. */
const HEADERS: readonly ProxyHeaderOptions[] = [
  ...LINES.map(([, source, destination]) => ({ version: 1 as const, source, destination })),
  { version: 1 },
  {},
  { command: 'LOCAL' },
  { source: inet('10.0.0.1', 1), destination: inet('10.0.0.2', 2), transport: 'datagram' },
  { source: unix('/run/client'), destination: unix('\0abstract'), crc32c: true },
  { source: unix(''), destination: unix(`/${'x'.repeat(107)}`) },
  {
    ...{ source: inet('2001:db8::1', 65535), destination: inet('::', 0), crc32c: true },
    ...{
      alpn: 'h2',
      authority: 'b\u00fccher.example',
      uniqueId: Buffer.alloc(128, 1),
      networkNamespace: 'blue',
    },
    ssl: {
      ...{ encrypted: true, certificate: 'session', verified: true, version: 'TLSv1.3', commonName: 'A' },
      ...{
        cipher: 'C',
        signatureAlgorithm: 'S',
        keyAlgorithm: 'K',
        tlvs: [{ type: 0x2f, value: Buffer.of(1) }],
      },
    },
    tlvs: [{ type: 0xe1, value: Buffer.from('mine') }],
  },
];

suite('the encoder of PROXY headers', (test) => {
  test('writes what the parser reads', () => {
    for (const options of HEADERS) {
      const { crc32c: _, ...said } = options;
      const bytes = encodeProxyHeader(options);
      const { header } = parse(bytes);
      assert.ok(header !== null);
      const transport = header.source === null ? null : 'stream';
      assert.equal(plain(header), {
        ...{ version: 2, command: 'PROXY', transport, source: null, destination: null },
        ...NOTHING,
        ...said,
      });
      assert.equal(parse(encodeProxyHeader(header)).header, header);
    }
  });

  test('writes what the specification shows', () => {
    const [source, destination] = [inet('192.168.0.1', 56324), inet('192.168.0.11', 443)];
    assert.equal(encodeProxyHeader({ source, destination }), tcp4());
    assert.is(
      encodeProxyHeader({ version: 1, source, destination }).toString(),
      'PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n',
    );
  });

  test('maps IPv4 beside IPv6, leaves zones out, and says UNKNOWN for what version 1 has no word for', () => {
    const line = (source: Address, destination: Address, command: 'PROXY' | 'LOCAL' = 'PROXY'): string =>
      encodeProxyHeader({ version: 1, source, destination, command }).toString();
    assert.is(line(inet('10.0.0.1', 1), inet('::1', 2)), 'PROXY TCP6 ::ffff:10.0.0.1 ::1 1 2\r\n');
    assert.is(line(inet('fe80::1%eth0', 1), inet('fe80::2', 2)), 'PROXY TCP6 fe80::1 fe80::2 1 2\r\n');
    assert.is(line(unix('/run/a'), unix('')), 'PROXY UNKNOWN\r\n');
    assert.is(line(inet('10.0.0.1', 1), inet('10.0.0.2', 2), 'LOCAL'), 'PROXY UNKNOWN\r\n');
  });

  test('refuses what cannot be said', () => {
    const [source, destination] = [inet('10.0.0.1', 1), inet('10.0.0.2', 2)];
    for (const options of [
      { source },
      { destination },
      { source, destination: unix('/run/a') },
      { source: unix(`/${'x'.repeat(108)}`), destination: unix('') },
      { source: inet('nobody', 1), destination },
      { version: 3 },
      { version: 1, alpn: 'h2' },
      { version: 1, crc32c: true },
      { version: 1, tlvs: [{ type: 0xe0, value: Buffer.of() }] },
      { version: 1, transport: 'datagram' },
      { command: 'REMOTE' },
      { transport: 'seqpacket' },
      { crc32c: 1 },
      { uniqueId: Buffer.alloc(129) },
      { tlvs: [{ type: 256, value: Buffer.of() }] },
      { tlvs: [{ type: 0xe0, value: Buffer.alloc(65_536) }] },
      { tlvs: [{ type: 0xe0, value: Buffer.alloc(65_530) }], crc32c: true },
      null,
    ])
      assert.throws(
        () => Reflect.apply(encodeProxyHeader, null, [options]),
        (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'),
        JSON.stringify(options),
      );
  });
});

suite('the parser of PROXY headers', (test) => {
  test('takes a header in two pieces at any border, and one byte at a time', () => {
    for (const options of HEADERS) {
      const bytes = encodeProxyHeader(options);
      const expected = parse(bytes).header;
      const stream = Buffer.concat([bytes, Buffer.from('rest')]);
      for (let split = 0; split <= stream.length; split++) {
        const parser = new ProxyHeaderParser();
        const first = parser.push(stream.subarray(0, split));
        if (split >= bytes.length) assert.equal(first, expected);
        else assert.equal([first, parser.push(stream.subarray(split))], [null, expected]);
        assert.is(
          Buffer.from(parser.unread).toString(),
          split < bytes.length ? 'rest' : 'rest'.slice(0, split - bytes.length),
        );
      }
      const parser = new ProxyHeaderParser();
      for (const byte of bytes.subarray(0, -1)) assert.is(parser.push(Buffer.of(byte)), null);
      assert.equal([parser.push(bytes.subarray(-1)), parser.unread.length], [expected, 0]);
    }
  });

  test('wants no byte of what is behind a header whose length it knows', () => {
    const parser = new ProxyHeaderParser();
    const large = tcp4(`e0 0100 ${'00'.repeat(256)}`);
    assert.is(parser.push(large.subarray(0, 15)), null);
    assert.is(parser.wanted, 92);
    assert.is(parser.push(large.subarray(15, 16)), null);
    assert.is(parser.wanted, large.length - 16);
  });

  test('knows by the first wrong byte what is no header', () => {
    for (const beginning of ['PROXY ', Buffer.from(SIGNATURE, 'hex').toString('latin1')])
      for (let at = 0; at < beginning.length; at++) {
        const bytes = Buffer.from(beginning.slice(0, at + 1), 'latin1');
        assert.is(parse(bytes).header, null);
        bytes.writeUInt8(bytes.readUInt8(at) ^ 0x80, at);
        refuses(bytes, /is no PROXY header/);
      }
    refuses(Buffer.from('GET / HTTP/1.1\r\n'), /^"GET \/ HTTP\/1\.1\\r\\n" is no PROXY header$/);
  });

  test('is spent after a header, and after an error', () => {
    const spent = (error: unknown): boolean => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_STATE');
    const parser = new ProxyHeaderParser();
    parser.push(tcp4());
    assert.throws(() => parser.push(tcp4()), spent);
    const broken = new ProxyHeaderParser();
    assert.throws(() => broken.push(Buffer.from('x')), /is no PROXY header/);
    assert.throws(() => broken.push(tcp4()), spent);
  });

  test('refuses wrong arguments', () => {
    for (const maxBytes of [15, 65_552, 1.5, '4096'])
      assert.throws(
        () => Reflect.construct(ProxyHeaderParser, [{ maxBytes }]),
        (error: unknown) => IOLoopError.is(error, 'ERR_IOLOOP_INVALID_ARGUMENT'),
      );
    assert.throws(
      () => Reflect.apply(ProxyHeaderParser.prototype.push, new ProxyHeaderParser(), ['PROXY']),
      /data must be/,
    );
  });

  test(
    'finds a header, none, or what it documents in anything, however it is split',
    () => {
      const random = new Random(77);
      let parsed = 0;
      let refused = 0;
      const rounds = count(20_000, 200_000);
      for (let round = 0; round < rounds; round++) {
        const bytes = mutate(encodeProxyHeader(HEADERS[random.below(HEADERS.length)] ?? {}), random);
        const whole = outcome([bytes]);
        const at = random.below(bytes.length + 1);
        assert.equal(outcome([bytes.subarray(0, at), bytes.subarray(at)]), whole, `seed 77, round ${round}`);
        if (whole.startsWith('{')) parsed++;
        else if (whole.startsWith('refused')) refused++;
      }
      // Most mutations break a header, and many do not: both are met.
      assert.ok(parsed > rounds / 50 && refused > rounds / 5, `${parsed} parsed, ${refused} refused`);
    },
    { limitMs: 120_000 },
  );
});

/** `bytes` with some of them changed, taken away, or doubled. */
function mutate(bytes: Buffer, random: Random): Buffer {
  const parts = [bytes];
  for (let times = random.below(4); times > 0; times--) {
    const whole = Buffer.concat(parts.splice(0));
    const at = random.below(whole.length + 1);
    const behind = Math.min(whole.length, at + random.below(8));
    const replaced = Buffer.from(Array.from({ length: random.below(4) }, () => random.below(256)));
    parts.push(whole.subarray(0, at), replaced, whole.subarray(random.below(2) === 0 ? at : behind));
  }
  return Buffer.concat(parts);
}

/** What the parser makes of `pieces`, as a text. */
function outcome(pieces: readonly Uint8Array[]): string {
  const parser = new ProxyHeaderParser();
  try {
    for (const piece of pieces) {
      const header = parser.push(piece);
      if (header !== null) return JSON.stringify(header);
    }
    return 'more';
  } catch (error) {
    if (error instanceof ProxyHeaderError || error instanceof LimitError) return `refused: ${error.name}`;
    throw error;
  }
}
