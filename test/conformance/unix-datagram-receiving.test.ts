import * as assert from 'uvu/assert';

import { IOLoop, type SystemError, type UnixDatagramBatch, UnixDatagramSocket } from '../../src/index.ts';
import { addon } from '../../src/native.ts';
import { closeFd, connectSocket, listenSocket } from '../../src/raw.ts';
import { Arrivals, codeOf, rejection, textsOf } from '../support/datagrams.ts';
import { openFds } from '../support/fds.ts';
import { suite } from '../support/suite.ts';
import { numbered, numbersOf, take, UnixSockets, upTo } from '../support/unix-sockets.ts';
import { within } from '../support/within.ts';

const KiB = 1024;

/** Who runs these tests. */
const myself = { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() };

for (const backend of IOLoop.backends)
  suite(`a Unix datagram socket that receives, on ${backend}`, { backend }, (test) => {
    test('keeps borders, whatever the size', async (context) => {
      const sockets = new UnixSockets(context);
      const options = { maxPacketSize: 512 * KiB, sendBufferSize: 512 * KiB };
      const [one, other] = sockets.pair(options);
      const sizes = [4, 5, 4 * KiB, 65_535, 65_536, 200 * KiB, 4];
      const received = take(other, sizes.length);
      for (const [number, size] of sizes.entries()) await one.send(numbered(number, size));
      const datagrams = await received;
      assert.equal(
        datagrams.map(({ data }) => data.length),
        sizes,
      );
      assert.equal(numbersOf(datagrams), upTo(sizes.length));
      assert.ok(datagrams.every(({ truncated }) => !truncated));
    });

    test('takes a datagram of no bytes for a message, both ways', async (context) => {
      const [one, other] = new UnixSockets(context).pair();
      for (const [from, to] of [
        [one, other],
        [other, one],
      ] as const) {
        await Promise.all([from.send(''), from.send(new Uint8Array(0)), from.send('after')]);
        assert.equal(textsOf(await take(to, 3)), ['', '', 'after']);
      }
    });

    test('cuts off what is longer than maxPacketSize, but not what comes with it', async (context) => {
      const [one, other] = new UnixSockets(context).pair({ maxPacketSize: 4, receiveFds: true });
      const before = openFds().size;
      await one.sendFds([0, 0], 'too long');
      const [datagram] = await take(other, 1);
      assert.equal([String(datagram?.data), datagram?.truncated], ['too ', true]);
      assert.equal([datagram?.fds.length, datagram?.fdsTruncated, openFds().size], [2, false, before + 2]);
      for (const fd of datagram?.fds ?? []) fd.close();
    });

    test('cuts off what is longer than maxPacketSize, and says so', async (context) => {
      const [one, other] = new UnixSockets(context).pair({ maxPacketSize: 8 });
      for (const text of ['12345678', '123456789', 'x'.repeat(9_000), '1']) await one.send(text);
      const datagrams = await take(other, 4);
      assert.equal(textsOf(datagrams), ['12345678', '12345678', 'xxxxxxxx', '1']);
      assert.equal(
        datagrams.map(({ truncated }) => truncated),
        [false, true, true, false],
      );
    });

    test('comes in batches, whose memory is used again', async (context) => {
      const sockets = new UnixSockets(context);
      const receiver = await sockets.bind({ receiveBufferSize: 1024 * KiB, maxBatch: 4 });
      const sender = await sockets.bind();
      const arrivals = new Arrivals<string>();
      const batches: UnixDatagramBatch[] = [];
      await sender.connect(receiver.local.path);
      for (let number = 0; number < 10; number++) await sender.send(`${number}`);
      receiver.onMessages((batch) => {
        batches.push(batch);
        for (let i = 0; i < batch.length; i++) arrivals.add(`${batch.data(i)} ${batch.path(i)}`);
        assert.throws(() => batch.data(batch.length), /i must be/);
      });
      const expected = upTo(10).map((number) => `${number} ${sender.local.path}`);
      assert.equal(await arrivals.first(10, 'datagrams'), expected);
      assert.equal(
        batches.map(({ length }) => length),
        [4, 4, 2],
      );
      for (const use of [
        (batch: UnixDatagramBatch) => batch.data(0),
        (batch: UnixDatagramBatch) => batch.path(0),
        (batch: UnixDatagramBatch) => batch.fds(0),
        (batch: UnixDatagramBatch) => batch.reply(0, ''),
      ])
        for (const batch of batches)
          assert.throws(
            () => use(batch),
            (error: Error) => codeOf(error) === 'ERR_IOLOOP_INVALID_STATE',
          );
    });

    test('answers whoever has a name, and reports who has none', async (context) => {
      const sockets = new UnixSockets(context);
      const told: SystemError[] = [];
      const server = await sockets.bind({ onError: (error) => void told.push(error) });
      const clients = [await sockets.bind(), await sockets.bind()];
      if (process.platform === 'linux') {
        clients.push(await sockets.bind({}, `\0ioloop-${process.pid}\0`));
        const chosen = sockets.open();
        await chosen.bind();
        clients.push(chosen);
      }
      server.onMessages((batch) => {
        for (let i = 0; i < batch.length; i++) batch.reply(i, `to ${batch.data(i)}`);
      });
      await sockets.open().send('nobody', server.local.path);
      for (const [number, client] of clients.entries()) {
        await client.send(`${number}`, server.local.path);
        assert.equal(textsOf(await take(client, 1)), [`to ${number}`]);
      }
      assert.equal(told.map(codeOf), ['ENOTCONN']);
    });

    test('sends a batch back as it came', async (context) => {
      const sockets = new UnixSockets(context);
      const server = await sockets.bind();
      server.onMessages((batch) => void server.sendMany(batch));
      const clients = [await sockets.bind(), await sockets.bind()];
      for (const client of clients) await client.connect(server.local.path);
      await clients[0]?.connect(server.local.path);
      for (const number of upTo(5)) for (const client of clients) await client.send(numbered(number, 100));
      for (const client of clients) assert.equal(numbersOf(await take(client, 5)), upTo(5));
      const [one, other] = sockets.pair();
      one.onMessages((batch) => void one.sendMany(batch));
      for (const number of upTo(5)) await other.send(numbered(number));
      assert.equal(numbersOf(await take(other, 5)), upTo(5));

      // What came before connect() stays: nobody can answer the first, who has no name, and the peer gets no other's.
      const errors = new Arrivals<SystemError>();
      const late = await sockets.bind({ onError: (error) => errors.add(error) });
      await sockets.open().send(numbered(0, 200), late.local.path);
      const peer = await sockets.bind();
      for (const number of [1, 2]) await peer.send(numbered(number, 200), late.local.path);
      await late.connect(peer.local.path);
      late.onMessages((batch) => void late.sendMany(batch));
      assert.equal(numbersOf(await take(peer, 2)), [1, 2]);
      assert.is((await errors.first(1, 'error'))[0]?.code, 'EINVAL');
    });

    test('loses none of what waits for it when a send fails', async (context) => {
      const sockets = new UnixSockets(context);
      const receiver = await sockets.bind();
      const sender = sockets.open();
      const nowhere = sockets.path();
      for (const number of upTo(4)) await sender.send(numbered(number), receiver.local.path);
      assert.is(codeOf(await rejection(receiver.send('', nowhere))), 'ENOENT');
      const arrivals = new Arrivals<Buffer>();
      receiver.onMessages((batch) => {
        // In the middle of a batch as well.
        const failed = rejection(receiver.send('', nowhere));
        for (let i = 0; i < batch.length; i++) arrivals.add(Buffer.from(batch.data(i)));
        void failed;
      });
      const datagrams = await arrivals.first(4, 'datagrams');
      assert.equal(numbersOf(datagrams.map((data) => ({ data }))), upTo(4));
    });

    test('leaves to the kernel what comes while it is paused, and to the next reader', async (context) => {
      const sockets = new UnixSockets(context);
      const [one, other] = sockets.pair();
      const arrivals = new Arrivals<string>();
      other.onMessages((batch) => {
        other.pause();
        for (let i = 0; i < batch.length; i++) arrivals.add(String(batch.data(i)));
      });
      await one.send('first');
      await arrivals.first(1, 'datagram');
      await one.send('second');
      await one.send('third');
      other.onMessages(null);
      other.resume();
      assert.equal(textsOf(await take(other, 2)), ['second', 'third']);
      assert.equal(arrivals.all, ['first']);
    });

    test('counts what an iteration has no room for', async (context) => {
      const sockets = new UnixSockets(context);
      const receiver = await sockets.bind({ maxQueueLength: 3 });
      const sender = sockets.open();
      await sender.connect(receiver.local.path);
      const iteration = receiver[Symbol.asyncIterator]();
      const sent = upTo(100).map((number) => sender.send(numbered(number)));
      await within(2_000, Promise.all(sent), 'the end of sending');
      await sender.send(numbered(100));
      while (receiver.dropped < 98) await new Promise(setImmediate);
      const kept = [];
      for (let i = 0; i < 3; i++) kept.push((await iteration.next()).value);
      assert.equal(numbersOf(kept), [0, 1, 2]);
      assert.is(context.loop.metrics().datagramsDropped, 98);
      await iteration.return?.();
    });

    test('tells who has sent, if it is to be known', async (context) => {
      const sockets = new UnixSockets(context);
      const knowing = await sockets.bind({ credentials: true });
      const other = await sockets.bind();
      const sender = sockets.open();
      for (const { local } of [knowing, other]) await sender.send('who', local.path);
      assert.equal((await take(knowing, 1))[0]?.credentials, myself);
      assert.is((await take(other, 1))[0]?.credentials, null);
    });

    test('says which name it got: to be told of senders, an unnamed one gets one', async (context) => {
      const sockets = new UnixSockets(context);
      const receiver = await sockets.bind();
      const unnamed = sockets.open({ credentials: true });
      assert.is(unnamed.local.path, '');
      await unnamed.send('', receiver.local.path);
      assert.is((await take(receiver, 1))[0]?.path, unnamed.local.path);
    });

    test('knows who made a pair, and that nobody else is known', async (context) => {
      const sockets = new UnixSockets(context);
      const [one, other] = sockets.pair();
      assert.equal([one.peerCredentials(), other.peerCredentials()], [myself, myself]);
      assert.throws(
        () => sockets.open().peerCredentials(),
        (error: Error) => codeOf(error) === 'ENOTCONN',
      );
    });

    test('takes over descriptors: bound ones, connected ones, and no others', async (context) => {
      const sockets = new UnixSockets(context);
      const bound = addon().openDatagram('unix');
      const path = sockets.path();
      addon().bindDatagram(bound, path, '', 0, 0o600);
      addon().releaseStream(bound);
      const receiver = sockets.adopt(UnixDatagramSocket.fromFd(bound, { loop: context.loop }));
      assert.is(receiver.local.path, path);
      const connected = addon().openDatagram('unix');
      addon().connectDatagram(connected, path, '', 0);
      addon().releaseStream(connected);
      const sender = sockets.adopt(UnixDatagramSocket.fromFd(connected, { loop: context.loop }));
      await sender.send('inherited');
      assert.equal(textsOf(await take(receiver, 1)), ['inherited']);

      const served = sockets.path();
      const listener = listenSocket({ path: served });
      const stream = connectSocket({ path: served });
      for (const fd of [listener, stream]) {
        assert.throws(
          () => UnixDatagramSocket.fromFd(fd, { loop: context.loop }),
          (error: Error) => codeOf(error) === 'EINVAL',
        );
        closeFd(fd);
      }
      assert.throws(
        () => UnixDatagramSocket.fromFd(999_999),
        (error: Error) => codeOf(error) === 'EBADF',
      );
    });

    test('takes no descriptor when an option is refused', (context) => {
      const sockets = new UnixSockets(context);
      sockets.open();
      const refused = (make: () => unknown): void =>
        assert.throws(make, (error: Error) => codeOf(error) === 'ERR_IOLOOP_INVALID_ARGUMENT');
      for (const options of [
        { receiveFds: 1 },
        { credentials: 'yes' },
        { maxPacketSize: 0 },
        { maxBatch: 65 },
      ]) {
        refused(() => Reflect.construct(UnixDatagramSocket, [options]));
        refused(() => Reflect.apply(UnixDatagramSocket.pair, UnixDatagramSocket, [options]));
      }
    });
  });
