import * as assert from 'uvu/assert';

import type { DatagramSocket } from '../../src/index.ts';
import { runSource, startSource } from '../support/child.ts';
import { Arrivals, receive, textsOf, UdpSockets } from '../support/datagrams.ts';
import { suite } from '../support/suite.ts';
import { within } from '../support/within.ts';

const LIMIT_MS = 20_000;

/** A program in which `socket` is bound to the loopback address, on `loop`. */
function program(source: string): string {
  return `
    import { DatagramSocket, IOLoop } from './src/index.ts';
    const loop = new IOLoop();
    // Nobody answers at port 9, and that may be heard before the end.
    const socket = new DatagramSocket({ type: 'udp4', loop, onError: () => {} });
    await socket.bind(0, '127.0.0.1');
    ${source}`;
}

/** Runs `source` in a child whose first datagram comes from `socket`: how the child ended. */
async function runBeside(parent: DatagramSocket, source: string) {
  const child = startSource(program(`await socket.send('here', ${parent.local.port}); ${source}`));
  child.process.stdin?.end();
  return child;
}

suite('the exit of a process with UDP sockets', { limitMs: 30_000 }, (test) => {
  const exits: Readonly<Record<string, string>> = {
    'in the listener': `batch.reply(0, 'last'); batch.reply(0, 'words'); process.exit(3);`,
    'in a microtask of the turn': `
      batch.reply(0, 'last'); batch.reply(0, 'words'); queueMicrotask(() => process.exit(3));`,
    'with an error that nobody catches': `
      process.on('uncaughtException', () => process.exit(3));
      batch.reply(0, 'last'); batch.reply(0, 'words'); throw new Error('uncaught');`,
    'by an exit code, with nothing more to do': `
      process.exitCode = 3; batch.reply(0, 'last'); batch.reply(0, 'words'); void socket.close();`,
  };
  for (const [how, source] of Object.entries(exits)) {
    test(`sends what is queued: ${how}`, async (context) => {
      const parent = await new UdpSockets(context).bind();
      const told = new Arrivals<string>();
      parent.onMessages((batch) => {
        for (let i = 0; i < batch.length; i++) told.add(`${batch.data(i)}`);
        if (told.all.length === 1) batch.reply(0, 'go');
      });
      const child = await runBeside(parent, `socket.onMessages((batch) => { ${source} });`);
      context.defer(() => child.process.kill('SIGKILL'));
      const { code, stderr } = await within(LIMIT_MS, child.result, 'the end of the child');
      assert.is(code, 3, stderr);
      assert.equal(await told.first(3, 'datagrams'), ['here', 'last', 'words']);
    });
  }

  const leaving: Readonly<Record<string, string>> = {
    'that nobody reads from': ``,
    'that only sends': `await socket.send('x', 9);`,
    'whose listener was taken away': `socket.onMessages(() => {}); socket.onMessages(null);`,
    'whose listener keeps nothing alive': `socket.onMessages(() => {}); socket.unref();`,
    'whose iteration was left': `const i = socket[Symbol.asyncIterator](); await i.return();`,
    'that was closed while it was read from': `socket.onMessages(() => {}); void socket.close();`,
  };
  for (const [what, source] of Object.entries(leaving)) {
    test(`comes by itself with a socket ${what}`, async () => {
      const { code, stderr } = await within(LIMIT_MS, runSource(program(source)), 'the end of the child');
      assert.equal([code, stderr], [0, '']);
    });
  }

  const staying: Readonly<Record<string, string>> = {
    'with a listener': `socket.onMessages(() => {});`,
    'with a listener that is paused': `socket.onMessages(() => {}); socket.pause();`,
    'with an iteration': `socket[Symbol.asyncIterator]();`,
    'that was referenced again': `socket.onMessages(() => {}); socket.unref().ref();`,
  };
  for (const [what, source] of Object.entries(staying)) {
    test(`waits for a socket ${what}`, async (context) => {
      const parent = await new UdpSockets(context).bind();
      const here = receive(parent, 2);
      // What keeps the process alive is the socket alone: the timer, which does not, comes first only if it stays.
      const stay = `${source} const t = setTimeout(async () => {
        await socket.send('still', ${parent.local.port}); void socket.close(); }, 50); t.unref();`;
      const child = await runBeside(parent, stay);
      context.defer(() => child.process.kill('SIGKILL'));
      const { code, stderr } = await within(LIMIT_MS, child.result, 'the end of the child');
      assert.is(code, 0, stderr);
      assert.equal(textsOf(await here), ['here', 'still']);
    });
  }
});
