import { existsSync, openSync, statSync } from 'node:fs';
import * as assert from 'uvu/assert';

import {
  IOLoop,
  type UnixDatagramRequest,
  UnixDatagramServer,
  type UnixDatagramServerOptions,
} from '../../src/index.ts';
import { addon } from '../../src/native.ts';
import { closeFd } from '../../src/raw.ts';
import { Told } from '../support/datagram-servers.ts';
import { Arrivals, codeOf, rejection } from '../support/datagrams.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { numbered, numbersOf, take, UnixSockets, upTo } from '../support/unix-sockets.ts';

const echo = (request: UnixDatagramRequest): Promise<void> => request.reply(request.data);

/** A server at a path, what it tells, and whoever may send to it. */
class Served extends Told {
  readonly server: UnixDatagramServer;
  readonly sockets: UnixSockets;
  readonly path: string;

  constructor(
    context: TestContext,
    handler: (request: UnixDatagramRequest) => void | Promise<void>,
    options: UnixDatagramServerOptions = {},
  ) {
    super();
    this.sockets = new UnixSockets(context);
    this.path = this.sockets.path();
    this.server = new UnixDatagramServer(handler, { loop: context.loop, ...this.options, ...options });
    context.defer(() => this.server.close({ graceMs: 0 }));
  }
}

async function serve(...given: ConstructorParameters<typeof Served>): Promise<Served> {
  const served = new Served(...given);
  await served.server.listen(served.path);
  return served;
}

for (const backend of IOLoop.backends)
  suite(`a Unix datagram server on ${backend}`, { backend }, (test) => {
    test('answers who has a name', async (context) => {
      const addresses: string[] = [];
      const { server, sockets, path } = await serve(context, (request) => {
        addresses.push(String(request.address));
        return echo(request);
      });
      assert.equal(server.addresses.map(String), [path]);
      const client = await sockets.bind();
      await client.send('hello', path);
      const [answer] = await take(client, 1);
      assert.equal([String(answer?.data), answer?.path], ['hello', path]);
      assert.equal(addresses, [client.local.path]);
    });

    test('cannot answer who has none', async (context) => {
      const served = await serve(context, echo);
      await served.sockets.open().send('hello', served.path);
      const [error] = await served.errors.first(1, 'errors');
      assert.is(codeOf(error), 'ENOTCONN');
    });

    test('serves every datagram of a burst, in order', async (context) => {
      const served = new Arrivals<UnixDatagramRequest>();
      const { sockets, path } = await serve(context, served.add);
      const client = sockets.open();
      await client.connect(path);
      await client.sendMany(upTo(2_000).map((number) => ({ data: numbered(number) })));
      assert.equal(numbersOf(await served.first(2_000, 'requests')), upTo(2_000));
    });

    test('is for its owner alone, unless it is told otherwise, and removes its file', async (context) => {
      const { server, path } = await serve(context, echo);
      assert.is(statSync(path).mode & 0o777, 0o600);
      await server.listen(`${path}-all`, { mode: 0o666 });
      assert.is(statSync(`${path}-all`).mode & 0o777, 0o666);
      server.stop();
      assert.equal([existsSync(path), existsSync(`${path}-all`)], [false, false]);
      await server.listen(path);
      await server.close();
      assert.not(existsSync(path));
    });

    test('does not take the place of one that is there', async (context) => {
      const { server, path } = await serve(context, echo);
      const other = new UnixDatagramServer(echo, { loop: context.loop });
      context.defer(() => other.close());
      assert.is(codeOf(await rejection(other.listen(path))), 'EADDRINUSE');
      assert.equal([server.addresses.length, other.addresses.length], [1, 0]);
    });

    test('is told who sent a datagram, if it asks', async (context) => {
      const requests = new Arrivals<UnixDatagramRequest>();
      const { sockets, path } = await serve(context, requests.add, { credentials: true });
      await sockets.open().send('hello', path);
      const [request] = await requests.first(1, 'requests');
      assert.equal(request?.credentials, {
        pid: process.pid,
        uid: process.getuid?.(),
        gid: process.getgid?.(),
      });
    });

    test('closes the descriptors that its handler does not take', async (context) => {
      const taken: number[] = [];
      const requests = new Arrivals<UnixDatagramRequest>();
      const take = async (request: UnixDatagramRequest): Promise<void> => {
        await Promise.resolve();
        taken.push(request.fds[0]?.take() ?? -1);
        requests.add(request);
      };
      const served = await serve(context, take, { receiveFds: true });
      const file = openSync('/dev/null', 'r');
      await served.sockets.open().sendFds([file, file], 'two', served.path);
      closeFd(file);
      const [request] = await requests.first(1, 'requests');
      await served.server.close();
      assert.equal(
        request?.fds.map(({ closed }) => closed),
        [true, true],
      );
      for (const fd of taken) closeFd(fd);
    });

    test('closes the descriptors of what it refuses', async (context) => {
      const served = await serve(context, echo, { receiveFds: true, verifyRequest: () => false });
      const file = openSync('/dev/null', 'r');
      await served.sockets.open().sendFds([file], 'one', served.path);
      closeFd(file);
      assert.equal(await served.drops.first(1, 'drops'), ['refused']);
    });

    test('holds 512 descriptors of requests at most, and serves those without', async (context) => {
      const pending: (() => void)[] = [];
      const held = new Arrivals<number>();
      const { server, sockets, path, drops } = await serve(
        context,
        ({ fds }) => {
          held.add(fds.length);
          return new Promise((resolve) => void pending.push(resolve));
        },
        { receiveFds: true },
      );
      const client = sockets.open();
      const file = openSync('/dev/null', 'r');
      context.defer(() => closeFd(file));
      const most = new Array<number>(253).fill(file);
      for (let sends = 0; sends < 3; sends++) await client.sendFds(most, 'x', path);
      assert.equal(await drops.first(1, 'drops'), ['concurrent']);
      await client.send('without', path);
      await held.first(3, 'requests');
      for (const finish of pending) finish();
      await client.sendFds(most, 'x', path);
      assert.equal(await held.first(4, 'requests'), [253, 253, 0, 253]);
      assert.is(server.dropped, 1);
      for (const finish of pending) finish();
    });

    test('takes over a socket that is bound, and leaves its file alone', async (context) => {
      const served = new Served(context, echo);
      const fd = addon().openDatagram('unix');
      addon().bindDatagram(fd, served.path, '', 0, 0o600);
      addon().releaseStream(fd);
      assert.is(String(await served.server.listenFd(fd)), served.path);
      const client = await served.sockets.bind();
      await client.send('hello', served.path);
      assert.equal(
        (await take(client, 1)).map(({ data }) => String(data)),
        ['hello'],
      );
      await served.server.close();
      assert.ok(existsSync(served.path));
    });

    if (process.platform === 'linux')
      test('serves at an abstract name', async (context) => {
        const served = new Served(context, echo);
        const name = `\0ioloop-test-${process.pid}`;
        assert.is((await served.server.listen(name)).path, name);
        const client = await served.sockets.bind();
        await client.send('hello', name);
        assert.equal(
          (await take(client, 1)).map(({ path }) => path),
          [name],
        );
      });

    test('says what is wrong with a path, a mode, an option', async (context) => {
      const { server, path } = new Served(context, echo);
      for (const given of [[''], [3], [`${path}\0`], [path, { mode: 0o1000 }], [path, 1]]) {
        const refused: Promise<unknown> = Reflect.apply(server.listen, server, given);
        assert.is(codeOf(await rejection(refused)), 'ERR_IOLOOP_INVALID_ARGUMENT', JSON.stringify(given));
      }
      assert.is(codeOf(await rejection(server.listen(`${path}/not/there`))), 'ENOENT');
      assert.not(existsSync(path));
      for (const option of ['maxConcurrent', 'receiveFds', 'credentials'])
        assert.throws(() => Reflect.construct(UnixDatagramServer, [echo, { [option]: 1.5 }]), option);
    });
  });
