import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

import { IOLoop, IOLoopError, IOStream, SystemError, UnixServer } from '../../src/index.ts';
import { closeFd, connectSocket, listenSocket } from '../../src/raw.ts';
import { connectTo } from '../support/clients.ts';
import { suite, type TestContext } from '../support/suite.ts';

/** Says hello, and who asked. */
const greet = (stream: IOStream): Promise<void> => stream.write('hello');

function makeServer({ loop, defer }: TestContext): UnixServer {
  const server = new UnixServer(greet, { loop });
  defer(() => server.close({ graceMs: 0 }));
  return server;
}

/** A path for a socket, in a directory that goes with the test. */
function makePath(defer: TestContext['defer']): string {
  const directory = mkdtempSync(join(tmpdir(), 'ioloop-'));
  defer(() => rmSync(directory, { recursive: true }));
  return join(directory, 's');
}

/** What `promise` rejects with: the code. */
async function refusal(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof SystemError || IOLoopError.is(error)) return error.code;
    throw error;
  }
  return 'none';
}

/** All that the server at `path` sends. */
async function readAll(path: string): Promise<string> {
  const stream = await IOStream.connect({ path });
  const text = (await stream.readUntilClose()).toString();
  await stream.whenClosed;
  return text;
}

for (const backend of IOLoop.backends)
  suite(`a Unix server on ${backend}`, { backend }, (test) => {
    test('serves at a path, for its owner alone', async (context) => {
      const path = makePath(context.defer);
      const server = makeServer(context);
      const address = await server.listen(path);
      assert.equal([address.family, address.path, String(address)], ['Unix', path, path]);
      assert.equal(server.addresses, [address]);
      assert.is(statSync(path).mode & 0o777, 0o600);
      assert.is(await connectTo({ path }, context.defer).all(), 'hello');
    });

    test('tells addresses: the server its own, the client the server, which has no name', async (context) => {
      const path = makePath(context.defer);
      const told: string[] = [];
      const server = new UnixServer(
        async (stream, address) => {
          told.push(stream.local.toString(), address.toString(), stream.remote.toString());
        },
        { loop: context.loop },
      );
      context.defer(() => server.close());
      await server.listen(path);
      const stream = await IOStream.connect({ path });
      assert.is(String(stream.remote), path);
      await stream.readUntilClose();
      await stream.whenClosed;
      assert.equal(told, [path, '', '']);
    });

    test('gives its file the mode that it is told', async (context) => {
      const path = makePath(context.defer);
      const previous = process.umask(0o077);
      context.defer(() => process.umask(previous));
      await makeServer(context).listen(path, { mode: 0o666 });
      assert.is(statSync(path).mode & 0o777, 0o666);
    });

    test('removes its file when it stops', async (context) => {
      const path = makePath(context.defer);
      const server = makeServer(context);
      await server.listen(path);
      server.stop();
      assert.not(existsSync(path));
      await server.listen(path);
      assert.ok(existsSync(path));
      await server.close();
      assert.not(existsSync(path));
    });

    test('removes it with the end of the loop, too', async (context) => {
      const path = makePath(context.defer);
      const loop = new IOLoop({ backend });
      await new UnixServer(greet, { loop }).listen(path);
      await loop.close();
      assert.not(existsSync(path));
    });

    test("does not remove what is at its path and somebody else's", async (context) => {
      const path = makePath(context.defer);
      const server = makeServer(context);
      await server.listen(path);
      renameSync(path, `${path}.moved`);
      const successor = makeServer(context);
      await successor.listen(path);
      server.stop();
      assert.is(await connectTo({ path }, context.defer).all(), 'hello');
      successor.stop();
      writeFileSync(path, 'a file');
      const third = makeServer(context);
      await third.listen(`${path}3`);
      renameSync(path, `${path}3`);
      third.stop();
      assert.is(readFileSync(`${path}3`, 'utf8'), 'a file');
    });

    test('replaces the file of a server that is gone', async (context) => {
      const path = makePath(context.defer);
      // Closed without being removed, as by a crash.
      closeFd(listenSocket({ path }));
      assert.ok(lstatSync(path).isSocket());
      await makeServer(context).listen(path);
      assert.is(await connectTo({ path }, context.defer).all(), 'hello');
    });

    test('does not take the place of a server that serves', async (context) => {
      const path = makePath(context.defer);
      const server = makeServer(context);
      await server.listen(path);
      assert.is(await refusal(makeServer(context).listen(path)), 'EADDRINUSE');
      // A full queue is no absence.
      const busy = `${path}.busy`;
      const listener = listenSocket({ path: busy, backlog: 0 });
      const waiting = connectSocket({ path: busy });
      context.defer(() => {
        for (const fd of [listener, waiting]) closeFd(fd);
      });
      assert.is(await refusal(makeServer(context).listen(busy)), 'EADDRINUSE');
      assert.is(await connectTo({ path }, context.defer).all(), 'hello');
    });

    test('never removes a file, a directory or a link', async (context) => {
      const path = makePath(context.defer);
      writeFileSync(path, 'a file');
      assert.is(await refusal(makeServer(context).listen(path)), 'EADDRINUSE');
      assert.is(readFileSync(path, 'utf8'), 'a file');
      const link = `${path}.link`;
      symlinkSync(path, link);
      assert.is(await refusal(makeServer(context).listen(link)), 'EADDRINUSE');
      assert.ok(lstatSync(link).isSymbolicLink());
      const stale = `${path}.stale`;
      closeFd(listenSocket({ path: stale }));
      symlinkSync(stale, `${link}2`);
      assert.is(await refusal(makeServer(context).listen(`${link}2`)), 'EADDRINUSE');
      assert.ok(lstatSync(stale).isSocket());
    });

    test('says what is wrong with a path', async (context) => {
      const path = makePath(context.defer);
      const server = makeServer(context);
      assert.is(await refusal(server.listen(join(path, 'not', 'there'))), 'ENOENT');
      const longest = path.padEnd(process.platform === 'linux' ? 107 : 103, 'x');
      assert.is((await server.listen(longest)).path, longest);
      for (const none of [`${longest}x`, `${path}\0x`, '', 3, undefined]) {
        const refused: Promise<unknown> = Reflect.apply(server.listen, server, [none]);
        assert.is(await refusal(refused), 'ERR_IOLOOP_INVALID_ARGUMENT', String(none));
      }
      for (const options of [{ mode: 0o1000 }, { mode: '600' }, { backlog: -1 }, 1]) {
        const refused: Promise<unknown> = Reflect.apply(server.listen, server, [path, options]);
        assert.is(await refusal(refused), 'ERR_IOLOOP_INVALID_ARGUMENT', JSON.stringify(options));
      }
      assert.not(existsSync(path));
      chmodSync(longest, 0o600);
    });

    if (process.platform === 'linux') {
      test('serves at an abstract name, which is no file', async (context) => {
        const path = `\0ioloop-test-${process.pid}`;
        const server = makeServer(context);
        const address = await server.listen(path);
        assert.is(address.path, path);
        assert.is(await refusal(makeServer(context).listen(path)), 'EADDRINUSE');
        assert.is(await readAll(path), 'hello');
        server.stop();
        await makeServer(context).listen(path);
      });

      test('has an abstract name of that length and no other', async (context) => {
        const name = `\0ioloop-length-${process.pid}`;
        const names = [name, name.padEnd(108, 'x'), `${name}\0`];
        const server = makeServer(context);
        for (const path of names) {
          assert.is((await server.listen(path)).path, path);
          assert.is(await readAll(path), 'hello');
        }
        // It shows each byte of a name, a NUL as '@' (proc(5)).
        const table = readFileSync('/proc/net/unix', 'latin1').match(/@ioloop-length\S*/g);
        assert.equal(new Set(table), new Set(names.map((path) => path.replaceAll('\0', '@'))));
        assert.is(await refusal(server.listen(name.padEnd(109, 'x'))), 'ERR_IOLOOP_INVALID_ARGUMENT');
        assert.is(await refusal(IOStream.connect({ path: name.slice(0, -1) })), 'ECONNREFUSED');
      });
    }

    test('takes over a socket that listens, and leaves its file alone', async (context) => {
      const path = makePath(context.defer);
      const server = makeServer(context);
      const address = await server.listenFd(listenSocket({ path }));
      assert.is(String(address), path);
      assert.is(await connectTo({ path }, context.defer).all(), 'hello');
      server.stop();
      assert.ok(existsSync(path));
    });
  });
