import * as assert from 'uvu/assert';

import {
  type Address,
  BaseRequestHandler,
  DatagramRequestHandler,
  IOLoop,
  type IOStream,
  SeqpacketServer,
  SeqpacketSocket,
  StreamRequestHandler,
  TCPServer,
  UDPServer,
  type UnixDatagramRequest,
  UnixDatagramServer,
  UnixServer,
} from '../../src/index.ts';
import { connectTo } from '../support/clients.ts';
import { ask, heard } from '../support/datagram-servers.ts';
import { UdpSockets } from '../support/datagrams.ts';
import { until } from '../support/request-servers.ts';
import { suite, type TestContext } from '../support/suite.ts';
import { passes } from '../support/turns.ts';
import { UnixSockets } from '../support/unix-sockets.ts';
import { within } from '../support/within.ts';

/** Answers one line in capitals. */
class Lines extends StreamRequestHandler {
  async handle(): Promise<void> {
    const line = await this.request.readUntil('\n');
    void this.request.write(line.toString().toUpperCase());
  }
}

/** Steps that were taken, and the steps at which a handler throws. */
interface Story {
  readonly steps: string[];
  readonly throwsAt: readonly string[];
}

/** A class of handlers that note their steps; `isAsync`: they take a while. */
function noting({ steps, throwsAt }: Story, isAsync: boolean) {
  const take = (step: string): void | Promise<void> => {
    const note = (): void => {
      steps.push(step);
      if (throwsAt.includes(step)) throw new Error(step);
    };
    if (!isAsync) return note();
    return passes(2).then(note);
  };
  return class extends StreamRequestHandler {
    override setup(): void | Promise<void> {
      return take('setup');
    }

    handle(): void | Promise<void> {
      return take('handle');
    }

    override finish(): void | Promise<void> {
      return take('finish');
    }
  };
}

async function listenWith(
  { loop, defer }: TestContext,
  handler: ConstructorParameters<typeof TCPServer>[0],
  onError?: (error: unknown) => void,
) {
  const server = new TCPServer(handler, { loop, onError });
  defer(() => server.close({ graceMs: 0 }));
  const { port } = await server.listen(0, '127.0.0.1');
  return { server, connect: () => connectTo({ host: '127.0.0.1', port }, defer) };
}

for (const backend of IOLoop.backends)
  suite(`a request handler's class on ${backend}`, { backend }, (test) => {
    test('serves each connection with a handler of its own', async (context) => {
      const { connect } = await listenWith(context, Lines);
      const clients = ['one', 'two', 'three'].map((line) => connect().send(`${line}\n`));
      assert.equal(await Promise.all(clients.map((client) => client.all())), ['ONE\n', 'TWO\n', 'THREE\n']);
    });

    test('tells its handlers the request, the client and the server', async (context) => {
      const seen: [IOStream, IOStream, Address, unknown][] = [];
      class Handler extends StreamRequestHandler {
        handle(): void {
          seen.push([this.request, this.connection, this.clientAddress, this.server]);
        }
      }
      const { server, connect } = await listenWith(context, Handler);
      const client = connect();
      assert.is(await client.all(), '');
      const [[request, connection, address, itsServer] = []] = seen;
      assert.ok(request !== undefined && request === connection && itsServer === server);
      assert.equal(address, request.remote);
    });

    for (const isAsync of [false, true]) {
      const how = isAsync ? 'later' : 'at once';
      for (const [throwsAt, steps, errors] of [
        [[], ['setup', 'handle', 'finish'], []],
        [['setup'], ['setup'], ['Error: setup']],
        [['handle'], ['setup', 'handle', 'finish'], ['Error: handle']],
        [['finish'], ['setup', 'handle', 'finish'], ['Error: finish']],
        [['handle', 'finish'], ['setup', 'handle', 'finish'], ['Error: finish']],
      ] as const)
        test(`that throws ${how} in [${throwsAt}] takes the steps [${steps}]`, async (context) => {
          const story: Story = { steps: [], throwsAt };
          const told: unknown[] = [];
          const { server, connect } = await listenWith(context, noting(story, isAsync), (error) =>
            told.push(error),
          );
          assert.is(await connect().all(), '');
          assert.equal([story.steps, told.map(String)], [steps, errors]);
          await until(context.loop, 'the end of the connection', () => server.connections === 0);
        });
    }

    test('closes when it is done, unless somebody reads', async (context) => {
      class Echo extends StreamRequestHandler {
        handle(): void {
          this.request.onData((chunk, stream) => stream.write(chunk));
        }
      }
      const { connect } = await listenWith(context, Echo);
      const client = connect().send('one');
      await client.heard('one');
      client.end('two');
      assert.is(await client.all(), 'onetwo');
    });

    test('serves UDP: what was written is one reply', async (context) => {
      class Handler extends DatagramRequestHandler {
        handle(): void {
          if (this.packet.length === 0) return;
          this.write(`${this.clientAddress.family}:`);
          const bytes = Buffer.from(this.packet);
          this.write(bytes);
          bytes.fill(0);
        }
      }
      const server = new UDPServer(Handler, { loop: context.loop });
      context.defer(() => server.close());
      const { port } = await server.listen(0, '127.0.0.1');
      const client = new UdpSockets(context).open({ type: 'udp4' });
      await client.connect(port, '127.0.0.1');
      await client.send('');
      assert.is(await ask(client, 'one'), 'IPv4:one');
      assert.is(await ask(client, 'two'), 'IPv4:two');
    });

    test('may send more replies by the socket of a datagram', async (context) => {
      class Handler extends DatagramRequestHandler {
        handle(): Promise<void> {
          this.write('last');
          const { port, address } = this.clientAddress;
          return this.socket.send('first', port, address);
        }
      }
      const server = new UDPServer(Handler, { loop: context.loop });
      context.defer(() => server.close());
      const { port } = await server.listen(0, '127.0.0.1');
      const client = new UdpSockets(context).open({ type: 'udp4' });
      await client.connect(port, '127.0.0.1');
      assert.is(await ask(client, 'one'), 'first');
      assert.is(await heard(client), 'last');
    });

    test('serves the Unix domain: streams, datagrams and messages', async (context) => {
      const { loop, defer } = context;
      const sockets = new UnixSockets(context);
      class Datagrams extends DatagramRequestHandler<UnixDatagramRequest> {
        handle(): void {
          this.write(this.packet);
        }
      }
      class Messages extends BaseRequestHandler<SeqpacketSocket> {
        async handle(): Promise<void> {
          const message = await this.request.receive();
          if (message !== null) await this.request.send(message.data);
        }
      }
      const streams = new UnixServer(Lines, { loop });
      const datagrams = new UnixDatagramServer(Datagrams, { loop });
      const messages = new SeqpacketServer(Messages, { loop });
      const at: string[] = [];
      for (const server of [streams, datagrams, messages]) {
        defer(() => server.close());
        at.push((await server.listen(sockets.path())).path);
      }
      const [path = '', datagramPath = '', messagePath = ''] = at;
      assert.is(await connectTo({ path }, defer).send('one\n').all(), 'ONE\n');
      const client = await sockets.bind();
      await client.connect(datagramPath);
      await client.send('two');
      for await (const { data } of client) {
        assert.is(String(data), 'two');
        break;
      }
      const socket = sockets.adopt(await SeqpacketSocket.connect({ path: messagePath }, { loop }));
      await socket.send('three');
      const answer = await within(5_000, socket.receive(), 'the answer');
      assert.is(String(answer?.data), 'three');
    });
  });
