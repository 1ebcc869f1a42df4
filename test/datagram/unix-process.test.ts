import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import * as assert from 'uvu/assert';

import { closeFd, listenSocket } from '../../src/raw.ts';
import { type RunningChild, startSource } from '../support/child.ts';
import { textsOf } from '../support/datagrams.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { fill, take, UnixSockets } from '../support/unix-sockets.ts';
import { within } from '../support/within.ts';

const LIMIT_MS = 20_000;

/** Starts `source` in a child that knows `path`, and the package as `ioloop`. */
function start({ defer }: TestContext, path: string, source: string, openFiles?: number): RunningChild {
  const child = startSource(
    `import * as ioloop from './src/index.ts';
     const path = ${JSON.stringify(path)};
     const { SeqpacketSocket, UnixDatagramSocket } = ioloop;
     ${source}`,
    openFiles === undefined ? {} : { openFiles },
  );
  child.process.stdin?.end();
  defer(() => child.process.kill('SIGKILL'));
  return child;
}

/** How `child` ends, and what it has said. */
async function endOf(child: RunningChild) {
  const { code, stdout, stderr } = await within(LIMIT_MS, child.result, 'the end of the child');
  return { code, stderr, stdout: stdout.trim() };
}

/** Sixteen descriptors are sent to a process that has room for two. */
const scarce = (pair: string): string => `
  import { closeSync, openSync } from 'node:fs';
  const [one, other] = ${pair}({ receiveFds: true });
  const fill = () => {
    const fds = [];
    try {
      for (;;) fds.push(openSync('/dev/null'));
    } catch (error) {
      if (error.code !== 'EMFILE') throw error;
    }
    return fds;
  };
  const sent = openSync('/dev/null');
  const filled = fill();
  for (const fd of filled.splice(0, 16)) closeSync(fd);
  await one.sendFds(Array(16).fill(sent), 'too many');
  await one.send('after');
  filled.push(...fill());
  for (const fd of filled.splice(0, 2)) closeSync(fd);
  const told = [];
  for await (const { data, fds, fdsTruncated } of other) {
    told.push([String(data), fds.length, fdsTruncated]);
    for (const fd of fds) fd.close();
    if (told.length === 2) break;
  }
  // The two places are free again.
  console.log(JSON.stringify([...told, fill().length]));
  process.exit();`;

suite('a process with Unix sockets that keep borders', { limitMs: 30_000 }, (test) => {
  const leaving: Readonly<Record<string, string>> = {
    'nobody reads from it': `const socket = new UnixDatagramSocket(); await socket.bind();`,
    'nobody reads from a connection': `SeqpacketSocket.pair();`,
    'it is unreferenced': `
      for (const pair of [SeqpacketSocket.pair(), UnixDatagramSocket.pair()]) pair[0].unref().onMessages(() => {});`,
    'it has received what it wanted': `
      const [one, other] = SeqpacketSocket.pair(); await one.send('x'); await other.receive();`,
    'it is closed while it is read from': `
      const [one] = SeqpacketSocket.pair(); const received = one.receive(); one.close(); await received;`,
    'its peer ends': `
      const [one, other] = SeqpacketSocket.pair(); other.onMessages(() => {}); await one.end();`,
    'a connection is given up': `
      const refused = (error) => error.code;
      if (await SeqpacketSocket.connect({ path: path + 'x' }).catch(refused) !== 'ENOENT') process.exit(1);`,
  };
  for (const [why, source] of Object.entries(leaving))
    test(`ends by itself when ${why}`, async (context) => {
      const ended = await endOf(start(context, new UnixSockets(context).path(), source));
      assert.equal(ended, { code: 0, stdout: '', stderr: '' });
    });

  test('stays while a socket is read from', async (context) => {
    const receiver = await new UnixSockets(context).bind();
    const child = start(
      context,
      receiver.local.path,
      `const socket = new UnixDatagramSocket();
       const { path: name } = await socket.bind(path + '.child');
       await socket.send('here', path);
       for await (const { data } of socket) { console.log(String(data)); break; }
       await socket.close();`,
    );
    const [hello] = await take(receiver, 1);
    await receiver.send('and gone', hello?.path);
    assert.equal(await endOf(child), { code: 0, stdout: 'and gone', stderr: '' });
  });

  for (const connects of [false, true])
    test(`stays until what waits is sent, ${connects ? 'connected' : 'by path'}, and no longer`, async (context) => {
      const sockets = new UnixSockets(context);
      const receiver = await sockets.bind();
      const filler = sockets.open();
      await filler.connect(receiver.local.path);
      const filled = fill(filler, (data) => filler.send(data));
      const child = start(
        context,
        receiver.local.path,
        `const socket = new UnixDatagramSocket().unref();
         if (${connects}) await socket.connect(path);
         void socket.send('last words', ${connects} ? undefined : path);
         console.log(socket.bytesQueued);`,
      );
      assert.ok(child.process.stdout !== null);
      const [said] = await within(LIMIT_MS, once(child.process.stdout, 'data'), 'the word of the child');
      assert.is(String(said).trim(), '10', 'it waits');
      // The filler's last one waits, too: either may come first.
      assert.ok(textsOf(await take(receiver, filled + 1)).includes('last words'));
      const ended = await endOf(child);
      assert.equal([ended.code, ended.stderr], [0, '']);
    });

  test('sends its last replies when it exits in the listener', async (context) => {
    const receiver = await new UnixSockets(context).bind();
    const child = start(
      context,
      receiver.local.path,
      `const socket = new UnixDatagramSocket();
       await socket.bind(path + '.child');
       socket.onMessages((batch) => { batch.reply(0, 'last'); batch.reply(0, 'words'); process.exit(3); });
       await socket.send('here', path);`,
    );
    const [hello] = await take(receiver, 1);
    await receiver.send('go', hello?.path);
    assert.equal(textsOf(await take(receiver, 2)), ['last', 'words']);
    assert.is((await endOf(child)).code, 3);
  });

  for (const pair of ['SeqpacketSocket.pair', 'UnixDatagramSocket.pair'])
    test(`loses descriptors that it has no room for, and says so: ${pair}()`, async (context) => {
      const { stdout, stderr } = await endOf(start(context, '', scarce(pair), 512));
      const [first, second, room]: [unknown[], unknown[], number] = JSON.parse(stdout || '[[], [], 0]');
      const [, received] = first;
      // Two places, and those that Node has given back since.
      assert.ok(typeof received === 'number' && received >= 2 && received < 16 && room >= received, stdout);
      assert.equal(
        [first, second],
        [
          ['too many', received, true],
          ['after', 0, false],
        ],
        stderr,
      );
    });

  test('serves where another one has listened', async (context) => {
    const sockets = new UnixSockets(context);
    const listener = sockets.listen();
    const served = listenSocket({ port: 0, host: '127.0.0.1' });
    const child = start(
      context,
      listener.path,
      `const parent = await SeqpacketSocket.connect({ path }, { receiveFds: true });
       const { fds: [listener] } = await parent.receive();
       const server = new ioloop.TCPServer((stream) => stream.write(String(process.pid)));
       const { port } = await server.listenFd(listener.take());
       await parent.send(String(port));
       await parent.receive();
       await server.close();
       console.log(process.pid);`,
    );
    let channel = listener.accept();
    while (channel === null) {
      await new Promise(setImmediate);
      channel = listener.accept();
    }
    const sent = channel.sendFds([served], 'listen');
    closeFd(served);
    await sent;
    const [ready] = await take(channel, 1);
    const client = connect(Number(ready?.data), '127.0.0.1').setEncoding('utf8');
    context.defer(() => client.destroy());
    const [text] = await within(LIMIT_MS, once(client, 'data'), 'the answer');
    assert.is((client.address() as AddressInfo).address, '127.0.0.1');
    client.destroy();
    await channel.close();
    assert.equal(await endOf(child), { code: 0, stdout: text, stderr: '' });
  });
});
