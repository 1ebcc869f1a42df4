import { connect } from 'node:net';
import * as assert from 'uvu/assert';

import { IOLoop } from '../../src/index.ts';
import { signal } from '../support/driven.ts';
import { serve } from '../support/servers.ts';
import { suite } from '../support/suite.ts';
import { within } from '../support/within.ts';

for (const backend of IOLoop.backends)
  suite(`views of what is received on ${backend}`, { backend }, (test) => {
    test('may be written, however much of them has to wait', async (context) => {
      const served = await serve(context, (stream) => {
        stream.onViews((view) => void stream.write(view));
      });
      const socket = connect(served.port, '127.0.0.1').pause();
      context.defer(() => socket.destroy());
      const sent = Buffer.alloc(14 * 1024 * 1024);
      for (let at = 0; at < sent.length; at += 4) sent.writeUInt32LE(at, at);
      const taken = signal();
      socket.write(sent, () => taken.fire());
      await within(5_000, taken.promise, 'the server to take what is sent');
      socket.end();
      const received: Buffer[] = [];
      for await (const chunk of socket) received.push(Buffer.from(chunk));
      assert.ok(Buffer.concat(received).equals(sent));
    });
  });
