import * as assert from 'uvu/assert';

import { deferred } from '../../src/deferred.ts';
import { IOStream, UnixServer } from '../../src/index.ts';
import { closeFd, listenSocket, socketAddress } from '../../src/raw.ts';
import { runSource, startSource } from '../support/child.ts';
import { suite, type TestContext } from '../support/suite.ts';

/** Asks for the other's listening socket, serves there until the other leaves, then closes. */
const successor = (path: string): string => `
  import { IOStream, TCPServer } from './src/index.ts';
  const supervisor = await IOStream.connect({ path: ${JSON.stringify(path)} }, { receiveFds: 1 });
  await supervisor.readUntil('\\n');
  const [listener] = supervisor.takeFds();
  const server = new TCPServer((client) => client.write('served by ' + process.pid));
  await server.listenFd(listener.take());
  await supervisor.write('serving\\n');
  await supervisor.readUntilClose();
  await server.close();`;

/** Fills the descriptor table but for two places, and is then sent sixteen. */
const fullTable = (path: string): string => `
  import { closeSync, openSync } from 'node:fs';
  import { IOStream } from './src/index.ts';
  import { sendWithFds } from './src/native.ts';
  import { acceptSocket, connectSocket, listenSocket } from './src/raw.ts';
  const path = ${JSON.stringify(path)};
  const listener = listenSocket({ path });
  const left = connectSocket({ path });
  const right = IOStream.fromFd(acceptSocket(listener), { receiveFds: 64 });
  const fill = () => {
    const fds = [];
    try {
      for (;;) fds.push(openSync('/dev/null'));
    } catch (error) {
      if (error.code !== 'EMFILE') throw error;
    }
    return fds;
  };
  for (const fd of fill().slice(0, 2)) closeSync(fd);
  sendWithFds(left, Buffer.from('x'), 0, 1, new Int32Array(16).fill(left));
  await right.whenClosed;
  const { code, syscall, message } = right.error;
  // The two places, and the stream's own; and those that Node has given back since.
  console.log(JSON.stringify([code, syscall, /descriptors were lost/.test(message), fill().length >= 3]));
  process.exit(0);`;

/** An abstract name of this test's own. */
const nameOf = (what: string): string => `\0ioloop-${what}-${process.pid}`;

async function clientAt(port: number, { loop, defer }: TestContext): Promise<IOStream> {
  const client = await IOStream.connect({ host: '127.0.0.1', port }, { loop });
  defer(() => client.abort());
  return client;
}

if (process.platform === 'linux')
  suite('descriptors that leave the process', { limitMs: 30_000 }, (test) => {
    test('serve on in another one, and no connection is lost', async (context) => {
      const { loop, defer } = context;
      const listener = listenSocket({ port: 0 });
      const address = socketAddress(listener);
      const port = 'port' in address ? address.port : 0;
      const early = await Promise.all([clientAt(port, context), clientAt(port, context)]);
      const serving = deferred<IOStream>();
      const server = new UnixServer(
        async (stream) => {
          await stream.sendFds([listener], 'listen\n');
          closeFd(listener);
          assert.is(String(await stream.readUntil('\n')), 'serving\n');
          serving.resolve(stream);
          await stream.whenClosed;
        },
        { loop, onError: (error) => serving.reject(error) },
      );
      defer(() => server.close({ graceMs: 0 }));
      const path = nameOf('supervisor');
      await server.listen(path);
      const child = startSource(successor(path));
      const stream = await serving.promise;
      assert.is(stream.peerCredentials().pid, child.process.pid);
      const late = await clientAt(port, context);
      for (const client of [...early, late])
        assert.is(String(await client.readUntilClose()), `served by ${child.process.pid}`);
      await stream.close();
      const { code, stderr } = await child.result;
      assert.is(code, 0, stderr);
    });

    test('find no place in a full table: EMFILE, and those that did are closed', async () => {
      const { stdout, stderr, code } = await runSource(fullTable(nameOf('full-table')), { openFiles: 512 });
      assert.is(code, 0, stderr);
      assert.equal(JSON.parse(stdout), ['EMFILE', 'recvmsg', true, true]);
    });
  });
