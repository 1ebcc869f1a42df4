import * as assert from 'uvu/assert';

import { type InetAddress, IOLoop } from '../../src/index.ts';
import { connectUnixDatagram, listenUnixDatagram, type UdpTransport } from '../../src/protocol/index.ts';
import { echo, listenAt, NotingProtocol, NotingUnixProtocol } from '../support/datagram-protocols.ts';
import { signal } from '../support/driven.ts';
import { startDebianPython } from '../support/peers.ts';
import { suite } from '../support/suite.ts';
import { count } from '../support/tier.ts';
import { UnixSockets } from '../support/unix-sockets.ts';
import { within } from '../support/within.ts';

/** Datagrams that are under way at a time: what a socket's buffer has room for. */
const WINDOW = 32;

/** Sends back what it gets, at a port that it says. */
const ECHO = `
from twisted.internet import protocol, reactor
class Echo(protocol.DatagramProtocol):
    def datagramReceived(self, data, address):
        self.transport.write(data, address)
port = reactor.listenUDP(0, Echo(), interface='127.0.0.1')
print(port.getHost().port)
reactor.run()
`;

/** Asks an echo by numbers, a window of them at a time, then by one that it expects to be refused. */
const ASK = `
import sys
from twisted.internet import protocol, reactor
port, total, window = map(int, sys.argv[1:])
class Ask(protocol.DatagramProtocol):
    asked = answered = 0
    def startProtocol(self):
        self.transport.connect('127.0.0.1', port)
        for _ in range(window): self.ask()
    def ask(self):
        if self.asked < total: self.transport.write(b'%d %s' % (self.asked, b'x' * (self.asked % 1000)))
        self.asked += 1
    def datagramReceived(self, data, address):
        number, filling = data.split(b' ')
        assert int(number) == self.answered and len(filling) == self.answered % 1000, data
        self.answered += 1
        self.ask()
        if self.answered == total: print('answered')
    def probe(self):
        # The second write hears what the first one is answered.
        for _ in range(2): self.transport.write(b'anybody?')
    def connectionRefused(self):
        print('refused')
        reactor.stop()
protocol = Ask()
reactor.listenUDP(0, protocol, interface='127.0.0.1')
reactor.callInThread(lambda: (sys.stdin.readline(), reactor.callFromThread(protocol.probe)))
reactor.run()
`;

/** A member of a group at a port that it says; answers by another multicast. */
const MEMBER = `
import sys
from twisted.internet import protocol, reactor
group, port = sys.argv[1], int(sys.argv[2])
class Member(protocol.DatagramProtocol):
    def startProtocol(self):
        self.transport.setOutgoingInterface('127.0.0.1')
        self.transport.joinGroup(group, '127.0.0.1').addCallback(lambda _: print(self.transport.getHost().port))
    def datagramReceived(self, data, address):
        self.transport.write(data.upper(), (group, port))
reactor.listenMulticast(0, Member())
reactor.run()
`;

/** An echo at a path, in the Unix domain. */
const UNIX_ECHO = `
import sys
from twisted.internet import protocol, reactor
class Echo(protocol.DatagramProtocol):
    def datagramReceived(self, data, path):
        self.transport.write(data, path)
reactor.listenUNIXDatagram(sys.argv[1], Echo())
print('listening')
reactor.run()
`;

/** Says one thing to a path from another one, and says what it is told. */
const UNIX_ASK = `
import sys
from twisted.internet import protocol, reactor
class Ask(protocol.ConnectedDatagramProtocol):
    def startProtocol(self):
        self.transport.write(b'hello')
    def datagramReceived(self, data):
        print(data.decode())
        reactor.stop()
reactor.connectUNIXDatagram(sys.argv[1], Ask(), bindAddress=sys.argv[2])
reactor.run()
`;

/** Asks by numbers, {@link WINDOW} of them at a time, until `total` are answered. */
class Asking extends NotingProtocol {
  readonly answered = signal();
  readonly #total: number;
  #asked = 0;
  #next = 0;

  constructor(port: number, total: number) {
    super();
    this.#total = total;
    this.started = (transport) => {
      transport.connect('127.0.0.1', port);
      for (let i = 0; i < WINDOW; i++) this.#ask(transport);
    };
  }

  override datagramReceived(data: Buffer, address: InetAddress): void {
    const next = this.#next++;
    assert.is(String(data), `${next} ${'x'.repeat(next % 1_000)}`);
    assert.is(String(address), String(this.transport.getPeer()));
    this.#ask(this.transport);
    if (next + 1 === this.#total) this.answered.fire();
  }

  #ask(transport: UdpTransport): void {
    const number = this.#asked++;
    if (number < this.#total) transport.write(`${number} ${'x'.repeat(number % 1_000)}`);
  }
}

for (const backend of IOLoop.backends)
  suite(`datagram protocols on ${backend}, with Twisted`, { backend, limitMs: 30_000 }, (test) => {
    const total = count(2_000, 50_000);

    test('are answered by its own, and refused when it is gone', async (context) => {
      const peer = startDebianPython(context.defer, ECHO);
      const port = Number(await peer.said(/^\d+\n$/));
      const { protocol, transport } = await listenAt(context, new Asking(port, total));
      await within(20_000, protocol.answered.promise, 'the last answer');
      peer.child.process.kill('SIGKILL');
      await peer.child.result;
      transport.write('anybody?');
      await protocol.events.first(2, 'events');
      await transport.stopListening();
      assert.equal(protocol.events.all, ['start', 'refused', 'stop']);
    });

    test('answer its own, and refuse them when they are gone', async (context) => {
      const { transport, port } = await listenAt(context, new NotingProtocol(echo));
      const peer = startDebianPython(context.defer, ASK, `${port}`, `${total}`, `${WINDOW}`);
      await peer.said(/^answered\n$/);
      await transport.stopListening();
      peer.tell('\n');
      assert.is(await peer.finish(), 'answered\nrefused\n');
    });

    test('meet its own in a multicast group', async (context) => {
      const group = '239.192.7.10';
      const { protocol, transport, port } = await listenAt(context, new NotingProtocol(), {
        interface: '0.0.0.0',
      });
      transport.joinGroup(group, '127.0.0.1');
      transport.setOutgoingInterface('127.0.0.1');
      const peer = startDebianPython(context.defer, MEMBER, group, `${port}`);
      const theirs = Number(await peer.said(/^\d+\n$/));
      transport.write('hello', { address: group, port: theirs });
      await protocol.events.first(2, 'events');
      assert.equal(protocol.events.all, ['start', 'HELLO']);
    });

    test('talk to its own in the Unix domain, and answer them', async (context) => {
      const { loop, defer } = context;
      const sockets = new UnixSockets(context);
      const [theirs, ours, back] = [sockets.path(), sockets.path(), sockets.path()];
      const peer = startDebianPython(defer, UNIX_ECHO, theirs);
      await peer.said(/^listening\n$/);
      const client = new NotingUnixProtocol();
      await using connected = await connectUnixDatagram(theirs, client, { loop, bindAddress: back });
      connected.write('question');
      await client.events.first(2, 'events');
      assert.equal(client.events.all, ['start', 'question']);

      const server = new NotingUnixProtocol((data, address, { transport }) => transport.write(data, address));
      await using listening = await listenUnixDatagram(ours, server, { loop });
      const asking = startDebianPython(defer, UNIX_ASK, listening.getHost().path, sockets.path());
      assert.is(await asking.finish(), 'hello\n');
    });
  });
