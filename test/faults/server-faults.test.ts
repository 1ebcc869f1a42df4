import * as assert from 'uvu/assert';

import type { IOLoop } from '../../src/index.ts';
import { TCPServer } from '../../src/net/tcp-server.ts';
import { IOStream } from '../../src/stream/io-stream.ts';
import { Faults } from '../support/faults.ts';
import { suite } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { within } from '../support/within.ts';

const AT_A_TIME = 50;

/** Whether a client was answered; false: it was closed before. */
async function ask(loop: IOLoop, port: number): Promise<boolean> {
  const stream = await IOStream.connect({ host: '127.0.0.1', port }, { loop });
  try {
    void stream.write('a line\n');
    return (await stream.readUntil('\n')).toString() === 'a line\n';
  } catch {
    return false;
  } finally {
    await stream.close();
  }
}

suite('a server under faults', { limitMs: 300_000 }, (test) => {
  test('answers or closes every client, and accepts again when they are over', async ({ loop, defer }) => {
    let shed = 0;
    const onDrop = (reason: string): void => {
      if (reason === 'descriptors') shed++;
    };
    const echo = async (stream: IOStream): Promise<void> => {
      await stream.write(await stream.readUntil('\n'));
    };
    const server = new TCPServer(echo, { loop, onDrop });
    defer(() => server.close({ graceMs: 0 }));
    const { port } = await server.listen(0, '127.0.0.1');
    const faults = new Faults(1);
    defer(() => faults.remove());
    faults.fail('accept4', 0.1, 'EMFILE').fail('accept4', 0.05, 'ECONNABORTED');
    faults.fail('accept4', 0.05, 'EAGAIN').fail('accept4', 0.05, 'EINTR').fail('epollWait', 0.1, 'EINTR');
    const clients = count(2_000, 50_000);
    let answered = 0;
    for (let asked = 0; asked < clients; asked += AT_A_TIME) {
      const batch = Promise.all(Array.from({ length: AT_A_TIME }, () => ask(loop, port)));
      const answers = await within(30_000, batch, `the answers to clients ${asked} and on`);
      answered += answers.filter(Boolean).length;
    }
    assert.ok(shed > 0, 'nobody was shed');
    assert.is(answered + shed, clients);
    faults.remove();
    assert.ok(await within(10_000, ask(loop, port), 'an answer without faults'));
  });
});
