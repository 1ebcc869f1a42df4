import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import * as assert from 'uvu/assert';

import { type RunningChild, startSource } from '../support/child.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { passes } from '../support/turns.ts';
import { within } from '../support/within.ts';

const MiB = 1024 * 1024;
const LIMIT_MS = 20_000;

/** What a child said on its one connection to us. */
interface Conversation {
  readonly child: RunningChild;
  readonly socket: Socket;
  /** All that it sent, at its end. */
  readonly received: Promise<Buffer>;
}

/** Runs `source` in a child, in which `stream` is connected to us and `loop` is its loop. */
async function converse({ defer }: TestContext, source: string): Promise<Conversation> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const child = startSource(
    `import * as ioloop from './src/index.ts';
     const loop = new ioloop.IOLoop();
     const stream = await ioloop.IOStream.connect({ host: '127.0.0.1', port: ${port} });
     ${source}`,
  );
  child.process.stdin?.end();
  defer(() => {
    child.process.kill('SIGKILL');
    return child.result;
  });
  const [socket] = (await within(LIMIT_MS, once(server, 'connection'), 'the connection')) as [Socket];
  server.close();
  socket.on('error', () => {});
  defer(() => socket.destroy());
  return { child, socket, received: receiveAll(socket) };
}

function receiveAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => void chunks.push(chunk));
  return new Promise((resolve) => socket.once('close', () => resolve(Buffer.concat(chunks))));
}

suite('the exit of a process with streams', { limitMs: 30_000 }, (test) => {
  const exits: Readonly<Record<string, string>> = {
    'at once': `void stream.write('last words'); process.exit(3);`,
    'inside a turn': `loop.addCallback(() => { void stream.write('last words'); process.exit(3); });`,
    'in a microtask of a turn': `
      loop.callLater(1, async () => { await stream.write('last '); void stream.write('words'); process.exit(3); });`,
    'by an exit code, and nothing more to do': `
      process.exitCode = 3; stream.unref(); void stream.write('last words');`,
    'with an error that nobody catches': `
      process.on('uncaughtException', () => process.exit(3));
      loop.addCallback(() => { void stream.write('last words'); throw new Error('uncaught'); });`,
  };
  for (const [how, source] of Object.entries(exits)) {
    test(`sends what was written: ${how}`, async (context) => {
      const { child, socket, received } = await converse(context, source);
      socket.once('end', () => socket.end());
      assert.is(String(await within(LIMIT_MS, received, 'the bytes')), 'last words');
      assert.is((await child.result).code, 3);
    });
  }

  const sends: Readonly<Record<string, string>> = {
    'flush()': `void stream.write('x'.repeat(1_000)); void stream.flush();`,
    'end()': `void stream.end('x'.repeat(1_000));`,
    'more than 64 KiB': `for (let i = 0; i < 70; i++) void stream.write('x'.repeat(1_000));`,
  };
  for (const [what, source] of Object.entries(sends)) {
    test(`does not have to come for ${what} to send, while the thread is blocked`, async (context) => {
      const blocked = `${source} Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);`;
      const { child, socket } = await converse(context, blocked);
      const [chunk] = await within(LIMIT_MS, once(socket, 'data'), 'the bytes');
      assert.is(String(chunk.subarray(0, 1_000)), 'x'.repeat(1_000));
      child.process.kill('SIGKILL');
      assert.is((await child.result).signal, 'SIGKILL');
    });
  }

  test('waits until queued bytes are sent, also those of an unreferenced stream', async (context) => {
    const source = `stream.unref(); void stream.write(Buffer.alloc(${16 * MiB}));`;
    const { child, socket, received } = await converse(context, source);
    socket.pause();
    // It cannot have sent all of that: a child that does not wait ends long before this.
    await passes(2_000);
    assert.is(child.process.exitCode, null);
    socket.resume();
    socket.once('end', () => socket.end());
    assert.is((await within(LIMIT_MS, received, 'the bytes')).length, 16 * MiB);
    assert.is((await child.result).code, 0);
  });

  test('comes when nothing referenced is left', async (context) => {
    const source = `stream.unref(); stream.onData(() => {}); process.on('exit', () => console.log('done'));`;
    const { child } = await converse(context, source);
    const { code, stdout } = await within(LIMIT_MS, child.result, 'the exit');
    assert.is(code, 0);
    assert.is(stdout, 'done\n');
  });

  test('does not come while a referenced stream is open, and does when it closes', async (context) => {
    const source = `
      stream.unref().ref();
      console.log('listening');
      process.on('exit', () => console.log('after', received));
      let received = 0;
      stream.onData((chunk) => { received += chunk.length; });`;
    const { child, socket } = await converse(context, source);
    assert.ok(child.process.stdout);
    await within(LIMIT_MS, once(child.process.stdout, 'data'), 'the child');
    socket.end('some bytes');
    const { code, stdout } = await within(LIMIT_MS, child.result, 'the exit');
    assert.is(code, 0);
    assert.is(stdout, 'listening\nafter 10\n');
  });

  test('comes when an idle stream is unreferenced later, and its timeouts keep nothing alive', async (context) => {
    const source = `
      const other = ioloop.IOStream.fromFd(stream.detach().fd, { idleTimeoutMs: 3_600_000, loop });
      other.readUntil('\\n', { timeoutMs: 3_600_000 }).catch(() => {});
      setTimeout(() => other.unref(), 1);`;
    const { child } = await converse(context, source);
    assert.is((await within(LIMIT_MS, child.result, 'the exit')).code, 0);
  });

  test('does not come by SIGPIPE, where that has its default action', async (context) => {
    const source = `
      const ignore = () => {};
      process.on('SIGPIPE', ignore).off('SIGPIPE', ignore);
      while (!stream.closed) await stream.write('x'.repeat(1_000)).then(() => new Promise(setImmediate), () => {});
      await stream.whenClosed;
      console.log(stream.error.code);`;
    const { child, socket } = await converse(context, source);
    await within(LIMIT_MS, once(socket, 'data'), 'a byte');
    socket.resetAndDestroy();
    const { code, signal, stdout, stderr } = await within(LIMIT_MS, child.result, 'the exit');
    assert.is(signal, null);
    assert.is(code, 0, stderr);
    assert.match(stdout, /^(ECONNRESET|EPIPE)\n$/);
  });
});
