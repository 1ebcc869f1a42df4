import { createSocket } from 'node:dgram';
import type { LookupFunction } from 'node:net';
import * as assert from 'uvu/assert';

import { type InetAddress, IOLoop, type UDPRequest, UDPServer } from '../../src/index.ts';
import { addon } from '../../src/native.ts';
import { closeFd, listenSocket } from '../../src/raw.ts';
import { ask, heard, serveUdp } from '../support/datagram-servers.ts';
import { codeOf, rejection } from '../support/datagrams.ts';
import { signal } from '../support/driven.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { within } from '../support/within.ts';

const echo = (request: UDPRequest): Promise<void> => request.reply(request.data);

/** What a client of Node's make is answered. */
async function askByNode(question: string, port: number, host: string, defer: TestContext['defer']) {
  const client = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  defer(() => new Promise<void>((resolve) => client.close(resolve)));
  const answered = signal<string>();
  client.once('message', (data) => answered.fire(data.toString()));
  client.send(question, port, host);
  return within(5_000, answered.promise, 'the answer');
}

/** A lookup that knows one name, of both loopback addresses. */
const lookupBoth: LookupFunction = (_host, _options, callback) =>
  callback(null, [
    { address: '127.0.0.1', family: 4 },
    { address: '::1', family: 6 },
  ]);

/** A UDP socket, bound to the loopback address, that nobody looks after. */
function boundFd(): number {
  const fd = addon().openDatagram('udp4');
  addon().bindDatagram(fd, undefined, '127.0.0.1', 0, -1);
  addon().releaseStream(fd);
  return fd;
}

for (const backend of IOLoop.backends)
  suite(`a UDP server on ${backend}`, { backend }, (test) => {
    test("answers a client of Node's make", async (context) => {
      const requests: UDPRequest[] = [];
      const { server, port } = await serveUdp(context, (request) => {
        requests.push(request);
        return echo(request);
      });
      assert.is(await askByNode('hello', port, '127.0.0.1', context.defer), 'hello');
      const [request] = requests;
      assert.equal(
        [String(request?.data), request?.truncated, request?.address.address, request?.info],
        ['hello', false, '127.0.0.1', null],
      );
      assert.equal([server.requests, server.dropped], [0, 0]);
    });

    test('is at all addresses of both families by default', async (context) => {
      const { server } = await serveUdp(context, echo);
      const { port, address } = await server.listen(0);
      assert.is(address, '::');
      assert.is(server.addresses.length, 2);
      for (const host of ['127.0.0.1', '::1'])
        assert.is(await askByNode(host, port, host, context.defer), host);
    });

    test('is at all addresses of a name, on one port', async (context) => {
      const server = new UDPServer(echo, { loop: context.loop });
      context.defer(() => server.close());
      const { port } = await server.listen(0, 'both.test', { lookup: lookupBoth });
      assert.equal(server.addresses.map(String), [`127.0.0.1:${port}`, `[::1]:${port}`]);
      for (const host of ['127.0.0.1', '::1'])
        assert.is(await askByNode(host, port, host, context.defer), host);
    });

    test('is nowhere when one address of a name is taken', async (context) => {
      const { server } = await serveUdp(context, echo);
      const { port } = await server.listen(0, '::1');
      const late = new UDPServer(echo, { loop: context.loop });
      context.defer(() => late.close());
      const refused = late.listen(port, 'both.test', { lookup: lookupBoth });
      assert.is(codeOf(await rejection(refused)), 'EADDRINUSE');
      assert.equal(late.addresses, []);
    });

    test('shares a port with those who say so, and with nobody else', async (context) => {
      const { server } = await serveUdp(context, echo);
      const { port } = await server.listen(0, '127.0.0.1', { reusePort: true });
      await server.listen(port, '127.0.0.1', { reusePort: true });
      assert.is(codeOf(await rejection(server.listen(port, '127.0.0.1'))), 'EADDRINUSE');
    });

    test('replies when it likes, from the address that it was asked at', async (context) => {
      const asked = signal<UDPRequest>();
      const served = await serveUdp(context, (request) => asked.fire(request));
      ({ port: served.port } = await served.server.listen(0, '0.0.0.0'));
      // Connected: it hears nobody else.
      const client = await served.connect('127.0.0.2');
      void client.send('question');
      const request = await within(5_000, asked.promise, 'the request');
      assert.is(served.server.requests, 0);
      await request.reply('one');
      assert.is(await heard(client), 'one');
      await request.reply('two');
      assert.is(await heard(client), 'two');
    });

    test('hands out datagrams to keep, cut off at maxPacketSize', async (context) => {
      const kept: UDPRequest[] = [];
      const keep = (request: UDPRequest): Promise<void> => {
        kept.push(request);
        return echo(request);
      };
      const served = await serveUdp(context, keep, { maxPacketSize: 4, packetInfo: true });
      const client = await served.connect();
      assert.is(await ask(client, 'first'), 'firs');
      assert.is(await ask(client, '2nd'), '2nd');
      assert.equal(
        kept.map(({ data, truncated }) => [String(data), truncated]),
        [
          ['firs', true],
          ['2nd', false],
        ],
      );
      assert.is(kept[0]?.info?.localAddress, '127.0.0.1');
    });

    test('goes on when a handler throws or rejects, and tells of it', async (context) => {
      const told: (readonly [unknown, string])[] = [];
      const served = await serveUdp(
        context,
        (request) => {
          if (String(request.data) === 'throw') throw new Error('thrown');
          if (String(request.data) === 'reject') return Promise.reject(new Error('rejected'));
          return echo(request);
        },
        { onError: (error, request) => told.push([error, String(request?.data)]) },
      );
      const client = await served.connect();
      void client.send('throw');
      void client.send('reject');
      assert.is(await ask(client, 'hello'), 'hello');
      assert.equal(told.map(String), ['Error: thrown,throw', 'Error: rejected,reject']);
      assert.is(served.server.requests, 0);
    });

    test('serves whom verifyRequest lets, and drops the others', async (context) => {
      const verdicts = new Map<string, () => boolean | Promise<boolean>>([
        ['no', () => false],
        ['no, later', async () => false],
        ['yes, later', async () => true],
        ['reject', () => Promise.reject(new Error('of the verification'))],
        [
          'throw',
          () => {
            throw new Error('of the verification');
          },
        ],
      ]);
      const addresses: InetAddress[] = [];
      const served = await serveUdp(context, echo, {
        verifyRequest: (address, { data }) => {
          addresses.push(address);
          return verdicts.get(String(data))?.() ?? true;
        },
      });
      const client = await served.connect();
      for (const question of ['no', 'no, later', 'reject', 'throw']) void client.send(question);
      assert.equal(await served.drops.first(4, 'drops'), Array(4).fill('refused'));
      assert.is(await ask(client, 'yes, later'), 'yes, later');
      assert.is(await ask(client, 'yes'), 'yes');
      assert.equal(served.errors.all.map(String), Array(2).fill('Error: of the verification'));
      assert.equal([served.server.dropped, served.server.requests], [4, 0]);
      assert.is(context.loop.metrics().datagramsDropped, 4);
      assert.equal(new Set(addresses.map(String)), new Set([String(client.local)]));
    });

    test('drops what comes while maxConcurrent handlers are at work', async (context) => {
      const gate = signal();
      const wait = async (request: UDPRequest): Promise<void> => {
        await gate.promise;
        await echo(request);
      };
      const served = await serveUdp(context, wait, { maxConcurrent: 2 });
      const client = await served.connect();
      for (const question of ['1', '2', '3', '4']) void client.send(question);
      assert.equal(await served.drops.first(2, 'drops'), ['concurrent', 'concurrent']);
      assert.equal([served.server.requests, served.server.dropped], [2, 2]);
      gate.fire();
      assert.equal([await heard(client), await heard(client)], ['1', '2']);
      assert.is(await ask(client, '5'), '5');
    });

    test('counts no handler that is done when it returns', async (context) => {
      const served = await serveUdp(context, (request) => void echo(request), { maxConcurrent: 1 });
      const client = await served.connect();
      for (const question of ['1', '2', '3']) void client.send(question);
      for (const answer of ['1', '2', '3']) assert.is(await heard(client), answer);
      assert.equal(served.drops.all, []);
    });

    test('tells of ICMP errors without a request', async (context) => {
      const asked = signal<UDPRequest>();
      const errors = signal<readonly [unknown, UDPRequest | null]>();
      const served = await serveUdp(context, asked.fire, {
        onError: (error, request) => errors.fire([error, request]),
      });
      const client = await served.connect();
      void client.send('and I am gone');
      const request = await within(5_000, asked.promise, 'the request');
      await client.close();
      void request.reply('too late');
      const [error, none] = await within(5_000, errors.promise, 'the error');
      assert.equal([codeOf(error), none], ['ECONNREFUSED', null]);
    });

    test('takes over a socket that is bound, and no other', async (context) => {
      const served = await serveUdp(context, echo);
      ({ port: served.port } = await served.server.listenFd(boundFd()));
      assert.is(await ask(await served.connect(), 'hello'), 'hello');
      const listener = listenSocket({ port: 0 });
      context.defer(() => closeFd(listener));
      assert.is(codeOf(await rejection(served.server.listenFd(listener))), 'EINVAL');
    });
  });

suite('the arguments of a UDP server', (test) => {
  test('are checked', async ({ loop, defer }) => {
    for (const options of [{ maxConcurrent: 0 }, { verifyRequest: true }, { onError: 1 }, { onDrop: 1 }, 1])
      assert.throws(() => Reflect.construct(UDPServer, [echo, options]), /ERR_IOLOOP|must be/);
    // Those of its sockets as well, before there is one.
    for (const option of ['packetInfo', 'receiveOffload', 'sendOffload', 'maxPacketSize'])
      assert.throws(() => Reflect.construct(UDPServer, [echo, { [option]: 'yes' }]), option);
    assert.throws(() => Reflect.construct(UDPServer, ['handler']), /handler must be a function/);
    const server = new UDPServer(echo, { loop });
    defer(() => server.close());
    for (const given of [
      [-1],
      [0, ''],
      [0, '::1', 1],
      [0, '::1', { ipv6Only: 1 }],
      [0, '::1', { reusePort: 1 }],
    ]) {
      const refused: Promise<unknown> = Reflect.apply(server.listen, server, given);
      assert.is(codeOf(await rejection(refused)), 'ERR_IOLOOP_INVALID_ARGUMENT', JSON.stringify(given));
    }
    for (const given of [{ graceMs: 'x' }, 'now'])
      assert.throws(() => Reflect.apply(server.close, server, [given]), /must be/);
  });
});
