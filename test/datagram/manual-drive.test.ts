import * as assert from 'uvu/assert';

import { receive, textsOf, UdpSockets } from '../support/datagrams.ts';
import { onEmptyStack } from '../support/driven.ts';
import { suite } from '../support/suite.ts';

suite('UDP sockets of a loop that somebody else drives', { drive: 'manual' }, (test) => {
  test('receive and answer in its turns, and at no other time', async (context) => {
    const { loop } = context;
    const { server, client } = await new UdpSockets(context).pair();
    const seen: string[] = [];
    server.onMessages((batch) => {
      seen.push(`question ${batch.data(0)}`);
      batch.reply(0, 'answer');
    });
    client.onMessages((batch) => void seen.push(`${batch.data(0)}`));
    await client.send('one');
    await onEmptyStack(() => {
      assert.equal(seen, []);
      loop.runOnce();
      assert.equal(seen, ['question one']);
      loop.runOnce();
      assert.equal(seen, ['question one', 'answer']);
    });
  });

  test('settle what awaits them', async (context) => {
    const { loop } = context;
    const { server, client } = await new UdpSockets(context).pair();
    const received = receive(server, 2);
    await client.send('a');
    await client.send('b');
    await onEmptyStack(() => {
      loop.runOnce();
    });
    assert.equal(textsOf(await received), ['a', 'b']);
  });
});
