import { closeSync, openSync } from 'node:fs';
import * as assert from 'uvu/assert';

import { DatagramSocket, IOLoop } from '../../src/index.ts';
import { codeOf } from '../support/datagrams.ts';
import { suite } from '../support/suite.ts';

// An fd_set of select(2) ends at FD_SETSIZE.
const FD_SETSIZE = 1024;

/** A socket that `loop`, which is on select, cannot watch: its number is too high. */
async function highSocket(loop: IOLoop): Promise<DatagramSocket> {
  const taken: number[] = [];
  try {
    do taken.push(openSync('/dev/null', 'r'));
    while ((taken.at(-1) ?? 0) < FD_SETSIZE);
    const socket = new DatagramSocket({ type: 'udp4', loop });
    await socket.bind(0, '127.0.0.1');
    return socket;
  } finally {
    for (const fd of taken) closeSync(fd);
  }
}

function refusal(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return codeOf(error);
  }
  return 'not refused';
}

if (IOLoop.backends.includes('select'))
  suite('a socket that its loop cannot watch', { backend: 'select' }, (test) => {
    test('has no reader after it has refused one', async ({ loop, defer }) => {
      const socket = await highSocket(loop);
      defer(() => socket.close());
      const attempts = [
        () => socket.onMessages(() => {}),
        () => socket[Symbol.asyncIterator](),
        () => socket[Symbol.asyncIterator](),
        () => socket.onMessages(() => {}),
      ];
      assert.equal(attempts.map(refusal), ['EINVAL', 'EINVAL', 'EINVAL', 'EINVAL']);
      assert.is(socket.isRead, false);
    });
  });
