import * as assert from 'uvu/assert';

import { Arrivals, closedPort, UdpSockets } from '../support/datagrams.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { passes } from '../support/turns.ts';

/** What is printed on stderr from now on, until the test is over. */
function capture({ defer }: TestContext): Arrivals<string> {
  const lines = new Arrivals<string>();
  const { error } = console;
  defer(() => {
    console.error = error;
  });
  console.error = (line: string) => lines.add(line);
  return lines;
}

suite('a UDP socket without onError', (test) => {
  test('prints what nobody awaits, once for each code', async (context) => {
    const sockets = new UdpSockets(context);
    const port = await closedPort(sockets);
    const lines = capture(context);
    const socket = sockets.open({ onError: undefined });
    const { fd } = socket;
    const tooLong = new Uint8Array(70_000);
    for (let i = 0; i < 3; i++) void socket.send(tooLong, port);
    await lines.first(1, 'line');
    await passes(2);
    void socket.send('hello?', port);
    await lines.first(2, 'lines');
    void socket.send(tooLong, port);
    await passes(2);
    const long = `ioloop: socket ${fd}: send EMSGSIZE: message too long (70000 bytes to 127.0.0.1:${port})`;
    const refused = `ioloop: socket ${fd}: send ECONNREFUSED: connection refused (127.0.0.1:${port})`;
    assert.equal(lines.all, [long, refused]);
  });
});
