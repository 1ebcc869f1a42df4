import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';

import { DatagramSocket, IOLoop } from '../../src/index.ts';
import { startPython } from '../support/peers.ts';
import { suite } from '../support/suite.ts';
import { within } from '../support/within.ts';

/**
 * For each line that it reads, sends two datagrams with a wrong checksum (RFC 768), then the good one that
 * the line may ask for. Linux looks at shorter ones when they come, at these when somebody receives them.
 */
const SPOILER = `
import socket, struct, sys
port = int(sys.argv[1])
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
good = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print('ready')
for line in sys.stdin:
    for _ in range(2):
        raw.sendto(struct.pack('>4H', 1024, port, 208, 0xdead) + bytes(200), ('127.0.0.1', 0))
    if 'good' in line:
        good.sendto(b'good', ('127.0.0.1', port))`;

/** What the kernel has refused for its checksum since it was started: proc(5). */
function checksumErrors(): number {
  const [names = '', values = ''] = readFileSync('/proc/net/snmp', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('Udp: '));
  return Number(values.split(' ')[names.split(' ').indexOf('InCsumErrors')]);
}

for (const backend of IOLoop.backends)
  suite(`a datagram with a wrong checksum on ${backend}`, { backend }, (test) => {
    // A non-blocking socket is readable until somebody looks: poll(2), BUGS of select(2).
    test('is readiness without a message, and counted as dropped', async ({ loop, defer }) => {
      const heard: string[] = [];
      let onGood = (): void => {};
      const socket = new DatagramSocket({ type: 'udp4', loop });
      defer(() => socket.close());
      socket.onMessages((batch) => {
        for (let i = 0; i < batch.length; i++) heard.push(batch.data(i).toString());
        onGood();
      });
      const { port } = await socket.bind(0, '127.0.0.1');
      const spoiler = startPython(defer, SPOILER, `${port}`);
      await spoiler.said(/ready/);
      const before = checksumErrors();
      spoiler.tell('bad\n');
      while (checksumErrors() < before + 2) await new Promise((resolve) => setImmediate(resolve));
      assert.equal([heard, socket.dropped], [[], 2]);
      const good = new Promise<void>((resolve) => {
        onGood = resolve;
      });
      spoiler.tell('good\n');
      await within(5_000, good, 'a good datagram');
      assert.equal([heard, socket.dropped], [['good'], 4]);
      assert.ok(checksumErrors() >= before + 4);
      // At rest: nothing is left that would wake the loop again and again.
      const { turns } = loop.metrics();
      for (let pass = 0; pass < 100; pass++) await new Promise((resolve) => setImmediate(resolve));
      assert.ok(loop.metrics().turns - turns < 5);
    });
  });
