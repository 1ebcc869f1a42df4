import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

import { IOLoop, type SystemError, UnixServer } from '../../src/index.ts';
import { addon, closeStream } from '../../src/native.ts';
import { closeFd, listenSocket } from '../../src/raw.ts';
import { Arrivals, codeOf, rejection, textsOf } from '../support/datagrams.ts';
import { suite } from '../support/suite.ts';
import { take, UnixSockets } from '../support/unix-sockets.ts';

/** The longest path: sun_path of unix(7) less the NUL at its end. */
const LONGEST_PATH = process.platform === 'linux' ? 107 : 103;

/** A datagram socket's file that nobody is bound to, as a crash leaves it. */
function leaveFile(path: string): void {
  const fd = addon().openDatagram('unix');
  addon().bindDatagram(fd, path, '', 0, 0o600);
  closeStream(fd);
  assert.ok(lstatSync(path).isSocket());
}

for (const backend of IOLoop.backends)
  suite(`the name of a Unix datagram socket on ${backend}`, { backend }, (test) => {
    test('is a path, for its owner alone unless told otherwise', async (context) => {
      const sockets = new UnixSockets(context);
      const socket = sockets.open();
      assert.is(socket.local.path, '');
      const path = sockets.path();
      const address = await socket.bind(path);
      assert.equal([address.family, address.path, String(address)], ['Unix', path, path]);
      assert.is(socket.local.path, path);
      assert.is(statSync(path).mode & 0o777, 0o600);

      const previous = process.umask(0o077);
      context.defer(() => process.umask(previous));
      const open = sockets.path();
      await sockets.open().bind(open, { mode: 0o666 });
      assert.is(statSync(open).mode & 0o777, 0o666);
    });

    test('keeps an answer for somebody unnamed from whom it is connected to since', async (context) => {
      const sockets = new UnixSockets(context);
      const errors = new Arrivals<SystemError>();
      const server = await sockets.bind({ onError: (error) => errors.add(error) });
      const [peer, unnamed] = [await sockets.bind(), sockets.open()];
      await unnamed.send('who are you?', server.local.path);
      await server.connect(peer.local.path);
      server.onMessages((batch) => batch.reply(0, 'not for the peer'));
      assert.is((await errors.first(1, 'error'))[0]?.code, 'EINVAL');
      await server.send('for the peer');
      assert.equal(textsOf(await take(peer, 1)), ['for the peer']);
    });

    test('tells the receiver who has sent: a path, or nothing of the unnamed', async (context) => {
      const sockets = new UnixSockets(context);
      const receiver = await sockets.bind();
      const named = await sockets.bind();
      await named.send('from a path', receiver.local.path);
      await sockets.open().send('from nowhere', receiver.local.path);
      const received = await take(receiver, 2);
      assert.equal(textsOf(received), ['from a path', 'from nowhere']);
      assert.equal(
        received.map(({ path }) => path),
        [named.local.path, ''],
      );
    });

    test('goes with the socket, and with its loop', async (context) => {
      const sockets = new UnixSockets(context);
      const socket = await sockets.bind();
      const { path } = socket.local;
      await socket.close();
      assert.not(existsSync(path));
      const loop = new IOLoop({ backend });
      await sockets.bind({ loop }, path);
      await loop.close();
      assert.not(existsSync(path));
    });

    test("stays when it is somebody else's by then", async (context) => {
      const sockets = new UnixSockets(context);
      const socket = await sockets.bind();
      const { path } = socket.local;
      renameSync(path, `${path}.moved`);
      const successor = await sockets.bind({}, path);
      await socket.close();
      await sockets.open().send('to the successor', path);
      assert.equal(textsOf(await take(successor, 1)), ['to the successor']);
      renameSync(path, `${path}.moved`);
      writeFileSync(path, 'a file');
      await successor.close();
      assert.is(readFileSync(path, 'utf8'), 'a file');
    });

    test('takes the place of a file that nobody is bound to any more', async (context) => {
      const sockets = new UnixSockets(context);
      const path = sockets.path();
      leaveFile(path);
      const socket = await sockets.bind({}, path);
      await sockets.open().send('found', path);
      assert.equal(textsOf(await take(socket, 1)), ['found']);
      const stream = sockets.path();
      closeFd(listenSocket({ path: stream }));
      await sockets.bind({}, stream);
    });

    test('never takes the place of somebody, nor of what is no socket', async (context) => {
      const sockets = new UnixSockets(context);
      const socket = await sockets.bind();
      const server = new UnixServer(() => {}, { loop: context.loop });
      context.defer(() => server.close());
      const served = sockets.path();
      await server.listen(served);
      const file = sockets.path();
      writeFileSync(file, 'a file');
      const directory = sockets.path();
      mkdirSync(directory);
      const stale = sockets.path();
      leaveFile(stale);
      const link = sockets.path();
      symlinkSync(stale, link);
      for (const taken of [socket.local.path, served, file, directory, link])
        assert.is(codeOf(await rejection(sockets.open().bind(taken))), 'EADDRINUSE', taken);
      await sockets.open().send('still here', socket.local.path);
      assert.equal(textsOf(await take(socket, 1)), ['still here']);
      assert.is(readFileSync(file, 'utf8'), 'a file');
      assert.ok(lstatSync(stale).isSocket());
    });

    test('is taken once', async (context) => {
      const sockets = new UnixSockets(context);
      const socket = await sockets.bind();
      const { path } = socket.local;
      for (const again of [path, sockets.path()])
        assert.match(String(codeOf(await rejection(socket.bind(again)))), /^(EINVAL|EADDRINUSE)$/);
      assert.is(socket.local.path, path);
      await socket.close();
      assert.not(existsSync(path));
    });

    test('is at most as long as the system takes it', async (context) => {
      const sockets = new UnixSockets(context);
      const longest = sockets.path().padEnd(LONGEST_PATH, 'x');
      const receiver = await sockets.bind({}, longest);
      const sender = await sockets.bind({}, `${longest.slice(0, -1)}y`);
      await sender.send('a long way', longest);
      const [datagram] = await take(receiver, 1);
      assert.is(datagram?.path, sender.local.path);
      assert.is(codeOf(await rejection(sockets.open().bind(`${longest}x`))), 'ERR_IOLOOP_INVALID_ARGUMENT');
      assert.throws(
        () => sender.send('', `${longest}x`),
        ({ code }: { code: string }) => code === 'ERR_IOLOOP_INVALID_ARGUMENT',
      );
    });

    test('is refused when it is none', async (context) => {
      const sockets = new UnixSockets(context);
      const socket = sockets.open();
      for (const path of ['', 'a\0b', 3, null]) {
        const bound: Promise<unknown> = Reflect.apply(socket.bind, socket, [path]);
        assert.is(codeOf(await rejection(bound)), 'ERR_IOLOOP_INVALID_ARGUMENT', String(path));
      }
      for (const options of [{ mode: 0o1000 }, { mode: '600' }, 1]) {
        const bound: Promise<unknown> = Reflect.apply(socket.bind, socket, [sockets.path(), options]);
        assert.is(codeOf(await rejection(bound)), 'ERR_IOLOOP_INVALID_ARGUMENT', JSON.stringify(options));
      }
      assert.is(codeOf(await rejection(socket.bind(join(sockets.path(), 'not there')))), 'ENOENT');
      assert.is(socket.local.path, '');
    });

    if (process.platform === 'linux') {
      test('may be abstract, of exactly the length that is given', async (context) => {
        const sockets = new UnixSockets(context);
        const name = `\0ioloop-${process.pid}`;
        const names = [name, `${name}\0`, `${name}\0\0`, `${name}\0/a`, `\0${'x'.repeat(107)}`];
        const receivers = await Promise.all(names.map((each) => sockets.bind({}, each)));
        assert.equal(
          receivers.map(({ local }) => local.path),
          names,
        );
        for (const [place, receiver] of receivers.entries()) {
          await receiver.send(`${place}`, names[(place + 1) % names.length]);
        }
        for (const [place, receiver] of receivers.entries()) {
          const from = (place + names.length - 1) % names.length;
          const [datagram] = await take(receiver, 1);
          assert.is(datagram?.path, names[from]);
          assert.is(String(datagram?.data), `${from}`);
        }
        assert.not(existsSync(name.slice(1)));
        assert.is(codeOf(await rejection(sockets.open().bind(name))), 'EADDRINUSE');
        assert.is(
          codeOf(await rejection(sockets.open().bind(`\0${'x'.repeat(108)}`))),
          'ERR_IOLOOP_INVALID_ARGUMENT',
        );
      });

      test('is chosen by the system when none is given', async (context) => {
        const sockets = new UnixSockets(context);
        const [one, other] = [sockets.open(), sockets.open()];
        const { path } = await one.bind();
        assert.match(path, /^\0[0-9a-f]{5}$/);
        assert.is(one.local.path, path);
        assert.is.not((await other.bind()).path, path);
        await other.send('found', path);
        const [datagram] = await take(one, 1);
        assert.is(datagram?.path, other.local.path);
      });
    }
  });
